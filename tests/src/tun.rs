//! TUN: an interface whose packets a program reads and writes.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
};

use anyhow::{Context, Result};
use nix::libc::{self, c_int};

const DEVICE: &str = "/dev/net/tun";

nix::ioctl_write_ptr_bad!(
    /// Names the interface and gives it its kind.
    set_interface,
    nix::request_code_write!(b'T', 202, size_of::<c_int>()),
    libc::ifreq
);

/// Makes an interface in the network namespace that this thread is in. It goes with the file. A read gives a packet from
/// its IP header on, a write takes one; a read does not wait.
pub fn open(name: &str) -> Result<File> {
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file =
        options.read(true).write(true).open(DEVICE).with_context(|| format!("cannot open {DEVICE}"))?;
    // SAFETY: all zero is an `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    // SAFETY: the file is a TUN device, and the request outlives the call.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }
        .with_context(|| format!("cannot make the interface {name}"))?;
    Ok(file)
}
