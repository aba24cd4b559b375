//! What aya does not offer of `bpf(2)`: an iterator over the sockets of a map, and links by their descriptors.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

// `enum bpf_cmd` and `enum bpf_attach_type` of `include/uapi/linux/bpf.h`.
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_LINK_DETACH: libc::c_int = 34;
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

/// The part of `union bpf_attr` that `BPF_OBJ_PIN` and `BPF_OBJ_GET` take.
#[repr(C)]
struct Object {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_DETACH` takes.
#[repr(C)]
struct LinkDetach {
    link: u32,
}

/// Gives an object a path on a bpffs, which holds it when nobody else does.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes =
        Object { path: path.as_ptr().addr() as u64, descriptor: number(object.as_raw_fd()), flags: 0 };
    call(BPF_OBJ_PIN, &attributes).map(drop)
}

/// Opens the object at a path on a bpffs.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Object { path: path.as_ptr().addr() as u64, descriptor: 0, flags: 0 };
    bpf(BPF_OBJ_GET, &attributes)
}

/// Takes a link's program from its hook now, whoever else holds the link (kernel 5.9). Links of tracing programs cannot.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    call(BPF_LINK_DETACH, &LinkDetach { link: number(link.as_raw_fd()) }).map(drop)
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
    let returned = call(command, attributes)?;
    let descriptor =
        RawFd::try_from(returned).map_err(|_| io::Error::other("bpf(2) returned no descriptor"))?;
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Calls `bpf(2)`.
fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are those of the command, and live longer than the call; what they point to does too.
    let returned =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(returned)
}
