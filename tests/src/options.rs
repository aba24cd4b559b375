//! Options of sockets that have no name in the libraries.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result};
use nix::libc::{self, c_int};

/// A handshake is done, for a listener, only once the client has spoken: that many seconds it waits for it.
pub fn defer_accepting(listener: &impl AsFd, seconds: c_int) -> Result<()> {
    set(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds).context("TCP_DEFER_ACCEPT")
}

/// A listener takes requests that come with the handshake (RFC 7413), so many at a time.
pub fn take_fast_open(listener: &impl AsFd, queue: c_int) -> Result<()> {
    set(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue).context("TCP_FASTOPEN")
}

/// What is first written to a socket goes with its handshake.
pub fn fast_open(socket: &impl AsFd) -> Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1).context("TCP_FASTOPEN_CONNECT")
}

/// `MSG_ZEROCOPY` is meant to be heard.
pub fn allow_zero_copy(socket: &impl AsFd) -> Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).context("SO_ZEROCOPY")
}

fn set(socket: &impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: a system call that reads `length` bytes of a value that outlives it.
    let failed = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sequence numbers that a connection has come to.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Of the next byte that will be sent.
    pub sent: u32,
    /// Behind the last byte that the other end has room for.
    pub sendable: u32,
    /// Of the next byte that is expected.
    pub received: u32,
    /// Behind the last byte that there is room for.
    pub receivable: u32,
}

/// Reads them, by the way in which connections are moved from machine to machine (`TCP_REPAIR`). Nothing is sent for it.
pub fn numbers(socket: &impl AsFd) -> Result<Numbers> {
    /// `TCP_REPAIR_OFF_NO_WP` of `linux/tcp.h`: ends the repair without a probe of the window.
    const SILENTLY: c_int = -1;
    let tcp = |option, value| set(socket, libc::IPPROTO_TCP, option, value).context("TCP_REPAIR");
    let number = |queue: c_int| -> Result<u32> {
        tcp(libc::TCP_REPAIR_QUEUE, queue)?;
        Ok(u32::from_ne_bytes(get::<4>(socket, libc::TCP_QUEUE_SEQ)?))
    };
    tcp(libc::TCP_REPAIR, 1)?;
    // `TCP_RECV_QUEUE` and `TCP_SEND_QUEUE` of `linux/tcp.h`.
    let (received, sent) = (number(1)?, number(2)?);
    tcp(libc::TCP_REPAIR_QUEUE, 0)?;
    // `struct tcp_repair_window`: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup.
    let window = get::<20>(socket, libc::TCP_REPAIR_WINDOW)?;
    let word = |index: usize| {
        window[4 * index..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).context("a window's word")
    };
    let (sendable, receivable) = (sent.wrapping_add(word(1)?), word(4)?.wrapping_add(word(3)?));
    tcp(libc::TCP_REPAIR, SILENTLY)?;
    Ok(Numbers { sent, sendable, received, receivable })
}

fn get<const SIZE: usize>(socket: &impl AsFd, option: c_int) -> Result<[u8; SIZE]> {
    let (mut value, mut length) = ([0; SIZE], libc::socklen_t::try_from(SIZE)?);
    // SAFETY: a system call that writes at most `length` bytes to a value that outlives it.
    let failed = unsafe {
        let descriptor = socket.as_fd().as_raw_fd();
        libc::getsockopt(descriptor, libc::IPPROTO_TCP, option, (&raw mut value).cast(), &raw mut length)
    };
    if failed == 0 { Ok(value) } else { Err(io::Error::last_os_error()).context("TCP_REPAIR") }
}
