//! A plain HTTP/1 client that does exactly what a test says, and times it.

use std::{
    io::{BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    http1::{self, Framing},
    poll,
};

/// No answer in a test takes longer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    head: String,
    body: usize,
    awaits_continue: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// From before the request was sent to the first byte of the head.
    pub first_byte: Duration,
    /// From before the request was sent to the last byte.
    pub duration: Duration,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self::of_version(method, path, "1.1").header("Host: test")
    }

    /// A request of HTTP/1.0, which has no chunks: an answer of unknown length ends with the connection.
    #[must_use]
    pub fn of_http10(method: &str, path: &str) -> Self {
        Self::of_version(method, path, "1.0")
    }

    fn of_version(method: &str, path: &str, version: &str) -> Self {
        Self { head: format!("{method} {path} HTTP/{version}\r\n"), body: 0, awaits_continue: false }
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, line: &str) -> Self {
        self.head += line;
        self.head += "\r\n";
        self
    }

    /// Adds a body of so many zeros.
    #[must_use]
    pub fn body(self, length: usize) -> Self {
        Self { body: length, ..self }.header(&format!("Content-Length: {length}"))
    }

    /// Sends the body only once the server has asked for it by 100 Continue.
    #[must_use]
    pub fn expecting_continue(self) -> Self {
        Self { awaits_continue: true, ..self }.header("Expect: 100-continue")
    }

    fn asks_for_head_only(&self) -> bool {
        self.head.starts_with("HEAD ")
    }
}

impl Client {
    /// Connects.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        Self::connect_by(server, |_| Ok(()))
    }

    /// Connects from an address of this machine.
    pub fn connect_from(source: IpAddr, server: SocketAddr) -> Result<Self> {
        Self::connect_by(server, |socket| Ok(socket.bind(&SocketAddr::new(source, 0).into())?))
    }

    /// Connects with a receive buffer of so many bytes, before the handshake: the window is scaled after it.
    pub fn connect_with_buffer(bytes: usize, server: SocketAddr) -> Result<Self> {
        Self::connect_by(server, |socket| Ok(socket.set_recv_buffer_size(bytes)?))
    }

    fn connect_by(server: SocketAddr, prepare: impl FnOnce(&Socket) -> Result<()>) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        prepare(&socket)?;
        socket.connect(&server.into()).with_context(|| format!("cannot connect to {server}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(poll::here(TIMEOUT)))?;
        socket.set_write_timeout(Some(poll::here(TIMEOUT)))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, socket.into()) })
    }

    /// Closes by a reset instead of a farewell.
    pub fn reset(self) -> Result<()> {
        Ok(SockRef::from(self.reader.get_ref()).set_linger(Some(Duration::ZERO))?)
    }

    /// Sends a request that is not waited for.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        let mut stream = self.reader.get_ref();
        stream.write_all(format!("{}\r\n", request.head).as_bytes())?;
        if request.awaits_continue {
            let (status, _) = self.head()?;
            ensure!(status == 100, "expected 100 Continue, not {status}");
        }
        let mut stream = self.reader.get_ref();
        Ok(stream.write_all(&vec![0; request.body])?)
    }

    /// Sends a request and reads the whole answer.
    pub fn exchange(&mut self, request: &Request) -> Result<Response> {
        self.exchange_at(request, None)
    }

    /// Sends the same request so often in one write, and reads all the answers.
    pub fn exchange_pipelined(&mut self, request: &Request, times: u64) -> Result<()> {
        let all = format!("{}\r\n", request.head).repeat(usize::try_from(times)?);
        let mut stream = self.reader.get_ref();
        stream.write_all(all.as_bytes())?;
        for _ in 0..times {
            self.answer(request, Instant::now(), None)?;
        }
        Ok(())
    }

    /// The same, reading so many bytes a second, evenly.
    pub fn exchange_slowly(&mut self, request: &Request, bytes_per_second: u32) -> Result<Response> {
        self.exchange_at(request, Some(f64::from(bytes_per_second)))
    }

    fn exchange_at(&mut self, request: &Request, rate: Option<f64>) -> Result<Response> {
        let started = Instant::now();
        self.send(request)?;
        self.answer(request, started, rate)
    }

    /// Reads the answer to a request that was sent at a moment.
    fn answer(&mut self, request: &Request, started: Instant, rate: Option<f64>) -> Result<Response> {
        ensure!(http1::more(&mut self.reader)?, "the server closed without an answer");
        let first_byte = started.elapsed();
        let (status, framing) = self.head()?;
        let bodiless = request.asks_for_head_only() || matches!(status, 204 | 304);
        let framing = if bodiless { Framing::Length(0) } else { framing };
        let mut body = Vec::new();
        match framing {
            Framing::Length(length) => self.read(&mut body, usize::try_from(length)?, rate)?,
            Framing::Chunks => _ = http1::content(&mut self.reader, framing, &mut body)?,
            Framing::Unsaid => _ = self.reader.read_to_end(&mut body)?,
        }
        Ok(Response { status, body, first_byte, duration: started.elapsed() })
    }

    fn head(&mut self) -> Result<(u16, Framing)> {
        let head = http1::head(&mut self.reader)?.context("the server closed without an answer")?;
        Ok((head.second()?, head.framing))
    }

    fn read(&mut self, to: &mut Vec<u8>, length: usize, rate: Option<f64>) -> Result<()> {
        const PIECE: usize = 32 << 10;
        let started = Instant::now();
        let end = to.len() + length;
        let mut done = 0;
        while to.len() < end {
            let piece = PIECE.min(end - to.len());
            let from = to.len();
            to.resize(from + piece, 0);
            self.reader.read_exact(&mut to[from..])?;
            done += piece;
            if let Some(rate) = rate {
                let due = started + Duration::from_secs_f64(done as f64 / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(())
    }
}
