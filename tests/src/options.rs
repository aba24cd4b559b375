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
