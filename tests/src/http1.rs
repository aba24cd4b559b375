//! HTTP/1 messages as the clients and servers of tests read them: to their last byte, and not a byte further.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use anyhow::{Result, bail, ensure};

/// How the end of a message's content is known (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By nothing in the head: a request has no content, a response has all that comes.
    Unsaid,
    /// By its length.
    Length(u64),
    /// By its last chunk.
    Chunks,
}

/// The head of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line.
    pub start: String,
    /// What is said of the content.
    pub framing: Framing,
}

impl Head {
    /// The second word: a request's target, or a response's status.
    pub fn second<T: std::str::FromStr>(&self) -> Result<T> {
        let word = self.start.split(' ').nth(1).unwrap_or_default();
        word.parse().or_else(|_| bail!("unexpected first line: {}", self.start))
    }
}

/// Waits for the next byte; false if the stream ends.
pub fn more(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match reader.fill_buf() {
            // What `io_uring` has left to do in a thread interrupts it.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            filled => return Ok(!filled?.is_empty()),
        }
    }
}

/// Reads a head; `None` if the stream ends where one could begin.
pub fn head(reader: &mut impl BufRead) -> Result<Option<Head>> {
    let Some(start) = line(reader)? else { return Ok(None) };
    let mut framing = Framing::Unsaid;
    loop {
        let Some(field) = line(reader)? else { bail!("the connection ended within a head") };
        match field.to_ascii_lowercase().split_once(": ") {
            None if field.is_empty() => return Ok(Some(Head { start, framing })),
            Some(("content-length", length)) => framing = Framing::Length(length.parse()?),
            Some(("transfer-encoding", _)) => framing = Framing::Chunks,
            _ => {}
        }
    }
}

/// Reads content of a known end, and says how long it was.
pub fn content(reader: &mut impl BufRead, framing: Framing, to: &mut impl Write) -> Result<u64> {
    match framing {
        Framing::Unsaid => Ok(0),
        Framing::Length(length) => exactly(reader, length, to),
        Framing::Chunks => chunks(reader, to),
    }
}

fn chunks(reader: &mut impl BufRead, to: &mut impl Write) -> Result<u64> {
    let mut all = 0;
    loop {
        let length = u64::from_str_radix(&line(reader)?.unwrap_or_default(), 16)?;
        all += exactly(reader, length, to)?;
        ensure!(line(reader)?.is_some_and(|line| line.is_empty()), "a chunk is longer than it says");
        if length == 0 {
            return Ok(all);
        }
    }
}

fn exactly(reader: &mut impl BufRead, length: u64, to: &mut impl Write) -> Result<u64> {
    let copied = io::copy(&mut reader.take(length), to)?;
    ensure!(copied == length, "the connection ended after {copied} of {length} bytes");
    Ok(length)
}

fn line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_they_end() {
        let mut stream = &b"POST /7 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokPUT"[..];
        let request = head(&mut stream).unwrap().unwrap();
        assert_eq!((request.second::<String>().unwrap().as_str(), request.framing), ("/7", Framing::Chunks));
        assert_eq!(content(&mut stream, request.framing, &mut io::sink()).unwrap(), 3);
        let response = head(&mut stream).unwrap().unwrap();
        assert_eq!((response.second::<u16>().unwrap(), response.framing), (200, Framing::Length(2)));
        assert_eq!(content(&mut stream, response.framing, &mut io::sink()).unwrap(), 2);
        assert_eq!(stream, b"PUT");
        assert!(head(&mut stream).is_err());
        assert_eq!(head(&mut stream).unwrap(), None);
    }
}
