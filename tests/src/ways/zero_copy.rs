//! `MSG_ZEROCOPY`: the kernel sends from the caller's memory, and says when it is done with it.

use std::{
    io::{Error, IoSlice, Result},
    net::TcpStream,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};

/// Milliseconds: the receiver reads all the while.
const TIMEOUT: u16 = 20_000;

/// `SO_EE_ORIGIN_ZEROCOPY` of `linux/errqueue.h`, which libc does not name.
const ZERO_COPY: u8 = 5;

/// Sends, and waits until the memory is the caller's again.
pub(super) fn send(socket: &TcpStream, bytes: &[u8]) -> Result<usize> {
    let descriptor = socket.as_raw_fd();
    let flags = MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY);
    let length = sendmsg::<()>(descriptor, &[IoSlice::new(bytes)], &[], flags, None)?;
    loop {
        match told(descriptor) {
            Err(Errno::EAGAIN | Errno::EINTR) => {
                // Errors are told without being asked for.
                let mut waited = [PollFd::new(socket.as_fd(), PollFlags::empty())];
                match poll(&mut waited, PollTimeout::from(TIMEOUT)) {
                    Ok(0) => {
                        return Err(Error::other("the kernel does not say that it is done with the memory"));
                    }
                    // What was sent must not be sent again.
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
            Ok(true) => return Ok(length),
            Ok(false) => {}
        }
    }
}

/// Whether the socket's queue of errors tells of a send that is done.
fn told(descriptor: i32) -> nix::Result<bool> {
    let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let message = recvmsg::<()>(descriptor, &mut [], Some(&mut space), MsgFlags::MSG_ERRQUEUE)?;
    Ok(message.cmsgs()?.any(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            error.ee_origin == ZERO_COPY
        }
        _ => false,
    }))
}
