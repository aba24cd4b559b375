//! What aya does not offer of `bpf(2)`: an iterator over the sockets of a map.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

// `enum bpf_cmd` and `enum bpf_attach_type` of `include/uapi/linux/bpf.h`.
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_TRACE_ITER: u32 = 28;

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` takes for an iterator.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_length: u32,
    padding: u32,
}

/// `union bpf_iter_link_info`, for an iterator over a map.
#[repr(C)]
struct IteratorInfo {
    map: u32,
}

impl IteratorInfo {
    const LENGTH: u32 = 4;
}

const _: () = assert!(size_of::<IteratorInfo>() == IteratorInfo::LENGTH as usize);

/// The part of `union bpf_attr` that `BPF_ITER_CREATE` takes.
#[repr(C)]
struct IteratorCreate {
    link: u32,
    flags: u32,
}

/// Makes an iterator of a program over a map's elements (kernel 5.9). Nothing runs yet.
pub(super) fn link_iterator(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = IteratorInfo { map: number(map.as_raw_fd()) };
    let attributes = LinkCreate {
        program: number(program.as_raw_fd()),
        target: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        info: (&raw const info).addr() as u64,
        info_length: IteratorInfo::LENGTH,
        padding: 0,
    };
    bpf(BPF_LINK_CREATE, &attributes)
}

/// Opens a run over all elements: reading it to its end runs the program once for each.
pub(super) fn open_iterator(link: BorrowedFd<'_>) -> io::Result<File> {
    let attributes = IteratorCreate { link: number(link.as_raw_fd()), flags: 0 };
    bpf(BPF_ITER_CREATE, &attributes).map(File::from)
}

fn number(descriptor: RawFd) -> u32 {
    // An open descriptor is not negative.
    descriptor.cast_unsigned()
}

/// Calls `bpf(2)` with a command that returns a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are those of the command, and live longer than the call; what they point to does too.
    let returned =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let descriptor =
        RawFd::try_from(returned).map_err(|_| io::Error::other("bpf(2) returned no descriptor"))?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
