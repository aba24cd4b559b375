//! Programs of others on the hooks of an interface: ones that drop, redirect, or let pass, by TCX and by netlink.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{libc, net::if_::if_nametoindex};

use crate::netns::Netns;

// `enum bpf_cmd`, `enum bpf_prog_type` and `enum bpf_attach_type` of `include/uapi/linux/bpf.h`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_LINK_CREATE: libc::c_int = 28;
const SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// An instruction of BPF: code, registers, offset, immediate.
type Instruction = (u8, u8, i16, i32);

/// What a neighbour does with every packet.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Takes it away.
    Drop,
    /// Sends it out by the interface of this index: the programs behind do not see it.
    Redirect(u32),
    /// Ends the chain, and lets it pass.
    Accept,
}

/// Which packets of an interface.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Those that it receives.
    Ingress,
    /// Those that it sends.
    Egress,
}

/// A loaded program, there as long as this is held or something in the kernel holds it.
#[derive(Debug)]
pub struct Neighbour(OwnedFd);

impl Neighbour {
    /// Loads one.
    pub fn load(action: Action) -> Result<Self> {
        let instructions = instructions(action);
        let licence = CString::new("MIT")?;
        let mut name = [0; 16];
        name[..9].copy_from_slice(b"neighbour");
        let attributes = ProgramLoad {
            program_type: SCHED_CLS,
            count: u32::try_from(instructions.len())?,
            instructions: instructions.as_ptr().addr() as u64,
            licence: licence.as_ptr().addr() as u64,
            log: [0; 4],
            flags: 0,
            name,
        };
        bpf(BPF_PROG_LOAD, &attributes).map(Self).context("cannot load a neighbour's program")
    }

    /// Attaches it by TCX to an interface, behind those that are there.
    pub fn attach(&self, netns: &Netns, interface: &str, way: Way) -> Result<OwnedFd> {
        let attach_type = match way {
            Way::Ingress => TCX_INGRESS,
            Way::Egress => TCX_EGRESS,
        };
        netns.inside(|| {
            let target = if_nametoindex(interface)?;
            let attributes = LinkCreate {
                program: self.number(),
                target,
                attach_type,
                flags: 0,
                relative: 0,
                revision: 0,
            };
            bpf(BPF_LINK_CREATE, &attributes).context("cannot attach a neighbour's program")
        })
    }

    /// Pins it to a file of the BPF file system, by which `tc` takes it.
    pub fn pin(&self, name: &str) -> Result<Pin> {
        let path = Path::new("/sys/fs/bpf").join(format!("tp-test-{}-{name}", std::process::id()));
        let text = CString::new(path.to_string_lossy().as_bytes())?;
        let attributes = ObjectPin { path: text.as_ptr().addr() as u64, descriptor: self.number(), flags: 0 };
        bpf_call(BPF_OBJ_PIN, &attributes).with_context(|| format!("cannot pin to {}", path.display()))?;
        Ok(Pin(path))
    }

    fn number(&self) -> u32 {
        self.0.as_raw_fd().cast_unsigned()
    }
}

/// A file of the BPF file system, removed when dropped.
#[derive(Debug)]
pub struct Pin(PathBuf);

impl Pin {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn instructions(action: Action) -> Vec<[u8; 8]> {
    const MOVE_IMMEDIATE: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: Instruction = (0x95, 0, 0, 0);
    const REDIRECT: i32 = 23;
    let instructions: &[Instruction] = match action {
        // The verdicts are those of TC and of TCX: `TC_ACT_SHOT`, `TC_ACT_OK`.
        Action::Drop => &[(MOVE_IMMEDIATE, 0, 0, 2), EXIT],
        Action::Accept => &[(MOVE_IMMEDIATE, 0, 0, 0), EXIT],
        Action::Redirect(to) => &[
            (MOVE_IMMEDIATE, 1, 0, to.cast_signed()),
            (MOVE_IMMEDIATE, 2, 0, 0),
            (CALL, 0, 0, REDIRECT),
            EXIT,
        ],
    };
    instructions
        .iter()
        .map(|&(code, registers, offset, immediate)| {
            let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
            bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
            bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
            bytes
        })
        .collect()
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` takes here.
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    /// Level, size, and the two halves of the address of the verifier's log, which is not asked for.
    log: [u32; 4],
    /// The kernel's version, which is not looked at any more, and flags.
    flags: u64,
    name: [u8; 16],
}

/// The part that `BPF_LINK_CREATE` takes for TCX.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative: u64,
    revision: u64,
}

/// The part that `BPF_OBJ_PIN` takes.
#[repr(C)]
struct ObjectPin {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// Calls `bpf(2)` with a command that returns a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<OwnedFd> {
    let descriptor = bpf_call(command, attributes)?;
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bpf_call<T>(command: libc::c_int, attributes: &T) -> Result<RawFd> {
    // SAFETY: the attributes are those of the command, and live longer than the call; what they point to does too.
    let returned =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if returned < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(RawFd::try_from(returned)?)
}
