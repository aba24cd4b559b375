//! A server over UDP that says back what it is told, and what it is asked with.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{poll, ports, process::complain};

/// No answer on the loopback device takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest datagram.
const LARGEST: usize = 65_536;

/// A server that answers each datagram with the same. Dropped, it ends.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    socket: UdpSocket,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Echo {
    /// Serves at a port that no other test has.
    pub fn start(address: impl Into<IpAddr>) -> Result<Self> {
        Self::start_at(SocketAddr::new(address.into(), ports::free()?))
    }

    /// Serves at an address; one of IPv6 is for IPv4, too.
    pub fn start_at(address: SocketAddr) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into()).with_context(|| format!("cannot serve at {address}"))?;
        let socket = UdpSocket::from(socket);
        let (serving, ending) = (socket.try_clone()?, Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&ending);
        let thread = Some(thread::spawn(move || serve(&serving, &ended)));
        Ok(Self { address, socket, ending, thread })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // It says that there is no connection, and wakes who receives all the same.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(error) = ended.and_then(|end| end.unwrap_or_else(|_| Err(anyhow!("it panicked"))).err()) {
            complain(&format!("the echo at {} failed: {error:#}", self.address));
        }
    }
}

fn serve(socket: &UdpSocket, ending: &AtomicBool) -> Result<()> {
    let mut buffer = vec![0; LARGEST];
    loop {
        match socket.recv_from(&mut buffer) {
            _ if ending.load(Ordering::Acquire) => return Ok(()),
            Ok((length, client)) => {
                socket.send_to(&buffer[..length], client)?;
            }
            // A client that has gone, by ICMP.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A client's socket at an address of its own, with a port that the kernel gives.
pub fn client(address: impl Into<IpAddr>) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(address.into(), 0))?;
    socket.set_read_timeout(Some(poll::here(TIMEOUT)))?;
    Ok(socket)
}

/// Says something to a server, and waits for the answer.
pub fn ask(socket: &UdpSocket, server: SocketAddr, said: &[u8]) -> Result<()> {
    socket.send_to(said, server)?;
    answer(socket, said)
}

/// Waits for the same as was said.
pub fn answer(socket: &UdpSocket, said: &[u8]) -> Result<()> {
    let mut buffer = vec![0; LARGEST];
    let length = socket.recv(&mut buffer).context("no answer")?;
    ensure!(&buffer[..length] == said, "{} bytes were said, and another {length} came back", said.len());
    Ok(())
}
