//! A server that does on each of its connections exactly what a test says: a thread a connection.

use std::{
    io::ErrorKind,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{poll, ports, process::complain};

/// No client in a test keeps a server waiting for longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listening server. Dropped, it accepts no more and waits for its connections to end.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: Arc<Socket>,
    acceptor: Option<JoinHandle<Result<()>>>,
}

impl Server {
    /// Listens on an address of the network namespace that this thread is in, at a port that no other test has.
    pub fn start(
        address: impl Into<std::net::IpAddr>,
        serve: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start_prepared(address, |_| Ok(()), serve)
    }

    /// The same with a socket that is prepared before it listens.
    pub fn start_prepared(
        address: impl Into<std::net::IpAddr>,
        prepare: impl FnOnce(&Socket) -> Result<()>,
        serve: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let address = SocketAddr::new(address.into(), ports::free()?);
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_address(true)?;
        prepare(&listener)?;
        listener.bind(&address.into()).with_context(|| format!("cannot listen on {address}"))?;
        listener.listen(BACKLOG)?;
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let acceptor = Some(thread::spawn(move || accept_all(&accepting, &Arc::new(serve))));
        Ok(Self { address, listener, acceptor })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits until every connection has ended, and says what went wrong on one.
    pub fn finish(mut self) -> Result<()> {
        self.stop()
    }

    fn stop(&mut self) -> Result<()> {
        let Some(acceptor) = self.acceptor.take() else { return Ok(()) };
        // Which ends the call of accept.
        self.listener.shutdown(Shutdown::Both)?;
        acceptor.join().unwrap_or_else(|_| Err(anyhow!("a server panicked")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            complain(&format!("the server at {} failed: {error:#}", self.address));
        }
    }
}

fn accept_all<S>(listener: &Socket, serve: &Arc<S>) -> Result<()>
where
    S: Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
{
    let mut connections = Vec::new();
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // It was shut down.
            Err(_) => break,
        };
        socket.set_read_timeout(Some(poll::here(TIMEOUT)))?;
        socket.set_write_timeout(Some(poll::here(TIMEOUT)))?;
        socket.set_tcp_nodelay(true)?;
        let serve = Arc::clone(serve);
        connections.push(thread::spawn(move || serve(socket.into())));
    }
    // All of them, whatever went wrong on one.
    let ends: Vec<_> = connections.into_iter().map(JoinHandle::join).collect();
    for end in ends {
        end.map_err(|_| anyhow!("a connection's thread panicked"))??;
    }
    Ok(())
}
