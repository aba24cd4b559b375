//! `iter/bpf_sk_storage_map`: every socket that has storage in a map, one after the other, whenever the agent asks. Kernel
//! 5.11 (`bpf_sk_storage_get` in tracing programs).

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_sk_storage_get;

use crate::maps::SocketStorage;

/// What the iterator hands over: `struct bpf_iter__bpf_sk_storage_map` (`net/core/bpf_sk_storage.c`), whose members are
/// eight bytes each by definition (`__bpf_md_ptr`).
#[repr(C)]
pub struct Element {
    meta: *mut c_void,
    map: *mut c_void,
    /// The socket; null behind the last.
    socket: *mut c_void,
    value: *mut c_void,
}

/// What the socket has in a map; none at the end.
///
/// Not through the context's own pointer to it: the verifier lets that be read at constant offsets only, and the place of
/// the oldest request in its ring is none.
#[inline(always)]
pub fn stored<'a, T>(element: *const Element, map: &SocketStorage<T>) -> Option<&'a mut T> {
    // SAFETY: a field of the context.
    let socket = unsafe { (*element).socket };
    if socket.is_null() {
        return None;
    }
    // SAFETY: storage of a socket; null or valid comes back.
    unsafe { bpf_sk_storage_get(map.as_ptr(), socket, ptr::null_mut(), 0).cast::<T>().as_mut() }
}
