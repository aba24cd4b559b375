//! Ports for servers that cannot be told to take any free one.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// The first port tried: below are those of well-known services.
const FIRST: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on, over TCP or UDP, never handed out twice by this process.
///
/// It is below the range from which the kernel gives ports to clients, so that none of them can take it before the
/// server does. The search starts where the process number says: two runs of the suite seldom meet, and where they
/// do, the port is seen to be taken.
pub fn free() -> Result<u16> {
    let range = first_ephemeral()? - FIRST;
    let start = process::id().wrapping_mul(97) % range;
    for _ in 0..range {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + (start + step) % range)?;
        let free = nobody_listens((Ipv4Addr::UNSPECIFIED, port).into())
            && nobody_listens((Ipv6Addr::UNSPECIFIED, port).into())
            && UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok();
        if free {
            return Ok(port);
        }
    }
    anyhow::bail!("no port from {FIRST} to {} is free", FIRST + range)
}

/// Found out without listening: another thread may start a program at this moment, whose process has a copy of every socket until it
/// becomes that program. A copy that listens would be in the server's way.
fn nobody_listens(address: SocketAddr) -> bool {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    bound().is_ok()
}

fn first_ephemeral() -> Result<u32> {
    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    let text = fs::read_to_string(RANGE).with_context(|| format!("cannot read {RANGE}"))?;
    let first = text.split_whitespace().next().unwrap_or_default().parse()?;
    anyhow::ensure!(first > FIRST, "{RANGE} leaves no ports from {FIRST} on for servers");
    Ok(first)
}
