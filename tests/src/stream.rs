//! Streams that count what an application writes and reads: the truth on bytes.

use std::{
    io::{Read, Result, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::poll;

/// No server in a test keeps a client waiting for longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects, and waits for nothing without an end: neither for the connection nor, later, to read or to write.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let timeout = poll::here(TIMEOUT);
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// What went through the streams that count here.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    writes: AtomicU64,
    read: AtomicU64,
}

/// A stream that tells a tally.
#[derive(Debug)]
pub struct Counted<'a, S> {
    stream: S,
    tally: &'a Tally,
}

impl Tally {
    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Calls that wrote them.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Bytes that were read.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Counts what goes through a stream.
    pub fn of<S>(&self, stream: S) -> Counted<'_, S> {
        Counted { stream, tally: self }
    }
}

impl<S: Read> Read for Counted<'_, S> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let length = self.stream.read(to)?;
        self.tally.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl<S: Write> Write for Counted<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let length = self.stream.write(bytes)?;
        self.tally.written.fetch_add(length as u64, Ordering::Relaxed);
        self.tally.writes.fetch_add(1, Ordering::Relaxed);
        Ok(length)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}
