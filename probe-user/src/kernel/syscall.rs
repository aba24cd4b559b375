//! What aya does not offer of `bpf(2)`: links and programs by their descriptors, maps of maps, and many entries of a map at
//! once.

use std::{
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::Pod;

// `enum bpf_cmd`, `enum bpf_attach_type` and `enum bpf_map_type` of `include/uapi/linux/bpf.h`.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// The part of `union bpf_attr` that `BPF_MAP_CREATE` takes.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
}

impl MapCreate {
    /// Of an array with one element of four bytes: a number, or a map like `inner`.
    const fn array(map_type: u32, inner: u32) -> Self {
        Self { map_type, key_size: 4, value_size: 4, max_entries: 1, flags: 0, inner }
    }
}

/// The part of `union bpf_attr` that `BPF_MAP_UPDATE_ELEM` takes.
#[repr(C)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that `BPF_PROG_TEST_RUN` takes, as far as kernel 5.10 has it.
#[repr(C)]
struct TestRun {
    program: u32,
    returned: u32,
    packet_length: u32,
    output_length: u32,
    packet: u64,
    output: u64,
    repeat: u32,
    duration: u32,
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET` takes.
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

/// The part of `union bpf_attr` that `BPF_MAP_LOOKUP_BATCH` takes.
#[repr(C)]
struct Batch {
    from: u64,
    behind: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Room for entries of a hash map: keys, and for each as many parts of its value.
#[derive(Debug)]
pub(super) struct Entries<K, V> {
    keys: Vec<MaybeUninit<K>>,
    values: Vec<MaybeUninit<V>>,
    parts: usize,
    /// How many the kernel has written.
    written: usize,
}

impl<K: Pod, V: Pod> Entries<K, V> {
    /// Room for so many entries, with so many parts of a value each.
    pub(super) fn with_room_for(entries: usize, parts: usize) -> Self {
        // The kernel rounds each CPU's part of a value up to eight bytes.
        const { assert!(size_of::<V>().is_multiple_of(8), "a part of a value has holes behind it") };
        let mut room =
            Self { keys: Vec::with_capacity(entries), values: Vec::new(), parts: parts.max(1), written: 0 };
        room.keys.resize_with(entries.max(1), MaybeUninit::uninit);
        room.values.resize_with(room.keys.len() * room.parts, MaybeUninit::uninit);
        room
    }

    /// For how many entries there is room.
    pub(super) fn room(&self) -> usize {
        self.keys.len()
    }

    /// The entries that were read last.
    pub(super) fn read(&self) -> impl Iterator<Item = (&K, &[V])> {
        let keys = self.keys.iter().take(self.written);
        keys.zip(self.values.chunks_exact(self.parts)).map(|(key, value)| {
            // SAFETY: the kernel has written this key and its value, and any bytes are a `Pod`; `MaybeUninit` of a type
            // has that type's layout.
            unsafe {
                let value = std::slice::from_raw_parts(value.as_ptr().cast::<V>(), value.len());
                (key.assume_init_ref(), value)
            }
        })
    }
}

/// How far a batch went.
pub(super) enum Went {
    /// To a place from which the next one goes on.
    To(u32),
    /// To the end of the map.
    ToTheEnd,
}

/// Reads entries of a hash map whose keys and values have the sizes of `K` and `V`, from where an earlier batch ended
/// (kernel 5.6).
///
/// # Errors
/// `ENOSPC` if there is not even room for a bucket of the map: nothing was read.
pub(super) fn look_up_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    entries: &mut Entries<K, V>,
) -> io::Result<Went> {
    entries.written = 0;
    let mut behind = 0_u32;
    let from_place = from.as_ref().map_or(0, |from| std::ptr::from_ref(from).addr() as u64);
    let mut attributes = Batch {
        from: from_place,
        behind: (&raw mut behind).expose_provenance() as u64,
        keys: entries.keys.as_mut_ptr().expose_provenance() as u64,
        values: entries.values.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(entries.room()).unwrap_or(u32::MAX),
        map: number(map.as_raw_fd()),
        element_flags: 0,
        flags: 0,
    };
    let went = match call_and_be_told(BPF_MAP_LOOKUP_BATCH, &mut attributes) {
        Ok(_) => Went::To(behind),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Went::ToTheEnd,
        Err(error) => return Err(error),
    };
    entries.written = (attributes.count as usize).min(entries.room());
    Ok(went)
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

/// Runs a program for packets once, over a packet that says nothing.
pub(super) fn run_once(program: BorrowedFd<'_>) -> io::Result<()> {
    // An Ethernet header, and enough behind it for any kernel to take it for a packet.
    const LENGTH: u32 = 64;
    let packet = [0_u8; LENGTH as usize];
    let mut attributes = TestRun {
        program: number(program.as_raw_fd()),
        returned: 0,
        packet_length: LENGTH,
        output_length: 0,
        packet: packet.as_ptr().expose_provenance() as u64,
        output: 0,
        repeat: 1,
        duration: 0,
    };
    call_and_be_told(BPF_PROG_TEST_RUN, &mut attributes).map(drop)
}

/// Makes an array of one number.
pub(super) fn create_array() -> io::Result<OwnedFd> {
    bpf(BPF_MAP_CREATE, &MapCreate::array(BPF_MAP_TYPE_ARRAY, 0))
}

/// Makes an array with room for one map like this.
pub(super) fn create_array_of(inner: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    bpf(BPF_MAP_CREATE, &MapCreate::array(BPF_MAP_TYPE_ARRAY_OF_MAPS, number(inner.as_raw_fd())))
}

/// Puts a map into an array for one. Every program that ran before has ended when this returns (kernel 4.18).
pub(super) fn put_map_into(outer: BorrowedFd<'_>, inner: BorrowedFd<'_>) -> io::Result<()> {
    let (first, inner) = (0_u32, number(inner.as_raw_fd()));
    let attributes = MapElement {
        map: number(outer.as_raw_fd()),
        padding: 0,
        key: (&raw const first).expose_provenance() as u64,
        value: (&raw const inner).expose_provenance() as u64,
        flags: 0,
    };
    call(BPF_MAP_UPDATE_ELEM, &attributes).map(drop)
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
    told(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) })
}

/// Calls `bpf(2)` with a command that writes into its attributes.
fn call_and_be_told<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: as above, and nobody else has them.
    told(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) })
}

fn told(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
