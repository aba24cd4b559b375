//! Trusted proxies, which say whose request or connection it is. All of this is left out by the verifier where
//! none is configured.

use core::ptr;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE},
    helpers::{bpf_sk_fullsock, generated::bpf_sk_storage_get},
    maps::lpm_trie::Key,
};
use probe_common::{
    connection::{Connection, Side},
    proxied::{Counting, Proxied},
    reason::Reason,
    user::ClientKey,
};

use crate::{
    complaint,
    maps::{EARLY, PROXIED, PROXIES, PROXIES_CONFIGURED},
    scratch::Scratch,
};

/// Whether there are any.
#[inline(always)]
pub fn are_configured() -> bool {
    PROXIES_CONFIGURED.load() != 0
}

/// Whether a proxy of that address is trusted.
#[inline(always)]
pub fn are_at(address: &[u8; 16]) -> bool {
    match PROXIES.get(Key::new(128, *address)) {
        Some(trusted) => *trusted == 1,
        None => false,
    }
}

/// Whether the clients of a connection are told by its requests.
#[inline(always)]
pub fn speak_on(connection: &Connection) -> bool {
    are_configured() && connection.counting as u8 == Counting::ByRequest as u8
}

/// How the client at the other end of a connection that was accepted is to be counted.
#[inline(always)]
pub fn counting_of(address: &[u8; 16]) -> Counting {
    if are_configured() && are_at(address) { Counting::ByRequest } else { Counting::Connected }
}

/// Makes what is kept of a proxy's connection.
///
/// # Safety
/// `sk` is a full socket, or one of a context that the kernel makes sure of.
#[inline(always)]
pub unsafe fn follow(sk: *mut core::ffi::c_void, begun: Option<&Proxied>) -> Result<(), Reason> {
    // SAFETY: as the caller promises (kernel 5.2); null or valid comes back; all zero is a `Proxied`.
    let proxied = unsafe {
        bpf_sk_storage_get(PROXIED.as_ptr(), sk, ptr::null_mut(), u64::from(BPF_SK_STORAGE_GET_F_CREATE))
            .cast::<Proxied>()
            .as_mut()
    };
    let Some(proxied) = proxied else { return Err(Reason::SocketState) };
    if let Some(begun) = begun {
        // SAFETY: both are there for the program's run.
        unsafe { copy(begun, proxied) };
    }
    Ok(())
}

/// Words of a `Proxied`.
const WORDS: usize = size_of::<Proxied>() / 8;
const _: () = assert!(size_of::<Proxied>().is_multiple_of(8), "it is copied by words");

/// Copies what is kept. By words and volatile, or the compiler would make of it a copy of bytes in a loop, each round of
/// which the verifier follows.
///
/// # Safety
/// Both are valid.
#[inline(always)]
pub unsafe fn copy(from: *const Proxied, to: *mut Proxied) {
    for word in 0..WORDS {
        // SAFETY: aligned to 8 bytes, and within both.
        unsafe { to.cast::<u64>().add(word).write_volatile(from.cast::<u64>().add(word).read_volatile()) };
    }
}

/// Forgets all that is kept.
///
/// # Safety
/// It is valid.
#[inline(always)]
pub unsafe fn clear(proxied: *mut Proxied) {
    for word in 0..WORDS {
        // SAFETY: aligned to 8 bytes, and within it; all zero is a `Proxied`.
        unsafe { proxied.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Where that is which is known of a proxy's connection.
#[derive(Clone, Copy)]
pub enum Kept {
    /// In its socket's storage.
    WithSocket,
    /// With what comes before the connection.
    Early,
}

/// What is kept of the proxy's connection that a packet belongs to; null if nothing is.
#[inline(always)]
fn state(skb: *mut __sk_buff, kept: Kept) -> *mut Proxied {
    if matches!(kept, Kept::Early) {
        let Some(early) = EARLY.get_ptr_mut(0) else { return ptr::null_mut() };
        // SAFETY: the map's value, valid for the program's run.
        return unsafe { &raw mut (*early).proxied };
    }
    // SAFETY: a field of the context; storage of a full socket (kernel 5.2).
    unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return ptr::null_mut();
        }
        let sk = bpf_sk_fullsock(sk);
        if sk.is_null() {
            return ptr::null_mut();
        }
        bpf_sk_storage_get(PROXIED.as_ptr(), sk.cast(), ptr::null_mut(), 0).cast()
    }
}

/// Brings what is known of a connection, before it is read. A function of its own that returns nothing, as is [`keep`]:
/// what a pointer or a flag tells apart in between, the verifier would follow all of the reading for.
#[inline(never)]
pub fn bring(skb: *mut __sk_buff, scratch: *mut Scratch, kept: Kept) {
    let proxied = state(skb, kept);
    // SAFETY: a slot of the caller's own, and the map's value.
    unsafe {
        let to = &raw mut (*scratch).window.proxied;
        if proxied.is_null() { clear(to) } else { copy(proxied, to) }
    }
}

/// Keeps it until the next segment.
#[inline(never)]
pub fn keep(skb: *mut __sk_buff, scratch: *mut Scratch, kept: Kept) {
    let proxied = state(skb, kept);
    if !proxied.is_null() {
        // SAFETY: as in `bring`.
        unsafe { copy(&raw const (*scratch).window.proxied, proxied) };
    }
}

/// Whether a step over what was said on this side may tell something of a client.
#[inline(always)]
pub fn may_tell(connection: &Connection, side: Side) -> bool {
    matches!(side, Side::Request) && speak_on(connection)
}

/// Draws the consequences of a step, but for a client, which is left in the scratch slot. A function of its own that returns
/// nothing: behind it the verifier goes on with one state.
#[inline(never)]
pub fn note_step(connection: &mut Connection, scratch: &mut Scratch) {
    scratch.task.asked = 0;
    let told = connection.tell_client(&mut scratch.window, are_at);
    if let Some(reason) = told.unmeasured {
        complaint::count(reason);
    }
    // What comes before its connection is entered with that.
    if let Some(address) = told.client
        && connection.introduced
    {
        scratch.client = ClientKey { address, service: connection.service };
        scratch.task.asked = 1;
    }
}
