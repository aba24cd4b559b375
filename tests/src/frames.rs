//! Frames as a program makes them, past the kernel's own protocols: with tags of VLANs, say.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::{libc, net::if_::if_nametoindex};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::netns::Netns;

const LIMIT: Duration = Duration::from_secs(5);

/// Sends frames by an interface.
#[derive(Debug)]
pub struct FrameSender(Socket);

impl FrameSender {
    /// By an interface of a namespace.
    pub fn new(netns: &Netns, interface: &str) -> Result<Self> {
        netns.inside(|| {
            // Protocol 0: it receives nothing.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.set_write_timeout(Some(LIMIT))?;
            socket.bind(&address(if_nametoindex(interface)?)?)?;
            Ok(Self(socket))
        })
    }

    /// Sends one.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.0.send(frame).context("cannot send a frame").map(drop)
    }
}

/// The address of an interface.
fn address(index: u32) -> Result<SockAddr> {
    let index = i32::try_from(index)?;
    // SAFETY: what is initialised is an address of packet(7), of the length that is set, in a storage that is all zeros.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
            (*link).sll_ifindex = index;
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
            Ok(())
        })
    }?;
    Ok(address)
}
