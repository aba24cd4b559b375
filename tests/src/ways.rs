//! The ways in which an application can hand bytes to a socket and take them from one: each as a writer or a reader, so
//! that a conversation can be had by any of them.

use std::{
    fs::File,
    io::{Error, IoSlice, IoSliceMut, Read, Result, Write},
    net::TcpStream,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{SpliceFFlags, splice},
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        sendfile::sendfile,
        socket::{MsgFlags, MultiHeaders, recvmmsg, send, sendmmsg, sendmsg},
        uio::readv,
    },
    unistd::pipe,
};

use crate::options;

mod ring;
mod zero_copy;

pub use ring::Ring;

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// `write`
    Write,
    /// `send` with `MSG_EOR`: what is written next goes into another segment.
    Segment,
    /// `sendmsg`, of many pieces.
    SendMsg,
    /// `sendmmsg`, of several messages.
    SendMmsg,
    /// `sendfile`, from a file in memory.
    Sendfile,
    /// `splice`, from a file in memory through a pipe.
    Splice,
    /// `send` with `MSG_ZEROCOPY`.
    ZeroCopy,
    /// `io_uring`'s send.
    Ring,
    /// `io_uring`'s send without a copy.
    RingZeroCopy,
}

/// How to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// `read`
    Read,
    /// `readv`, into several pieces.
    Readv,
    /// `recvmmsg`, of several messages.
    RecvMmsg,
    /// `io_uring`'s receive.
    Ring,
}

/// Length of a piece where there are to be many.
const PIECE: usize = 100;
/// The most pieces that a call takes: `UIO_MAXIOV` is 1024.
const PIECES: usize = 512;
/// Messages of a call that takes many.
const MESSAGES: usize = 4;

/// Writes to a socket in one way.
pub struct Writer<'a> {
    way: Writing,
    socket: &'a TcpStream,
    ring: Ring,
    file: File,
    /// Where the next bytes go in the file: what is on its way to the receiver is the file's own page, not a copy.
    end: libc::off_t,
    pipe: (OwnedFd, OwnedFd),
}

impl<'a> Writer<'a> {
    /// Prepares for it.
    pub fn new(way: Writing, socket: &'a TcpStream) -> anyhow::Result<Self> {
        if way == Writing::ZeroCopy {
            options::allow_zero_copy(socket)?;
        }
        let file = memfd_create("traffic-probe-test", MFdFlags::MFD_CLOEXEC)?.into();
        Ok(Self { way, socket, ring: Ring::new()?, file, end: 0, pipe: pipe()? })
    }

    /// Puts bytes into the file, and says where.
    fn file_away(&mut self, bytes: &[u8]) -> Result<libc::off_t> {
        let start = self.end;
        self.file.write_all(bytes)?;
        self.end += libc::off_t::try_from(bytes.len()).map_err(Error::other)?;
        Ok(start)
    }

    fn sendfile(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut start = self.file_away(bytes)?;
        Ok(sendfile(self.socket, &self.file, Some(&mut start), bytes.len())?)
    }

    fn splice(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut start = self.file_away(bytes)?;
        let flags = SpliceFFlags::empty();
        let length = splice(&self.file, Some(&mut start), &self.pipe.1, None, bytes.len(), flags)?;
        let mut sent = 0;
        while sent < length {
            match splice(&self.pipe.0, None, self.socket, None, length - sent, flags) {
                Ok(more) => sent += more,
                // What is in the pipe must not be put there again.
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(length)
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.way {
            Writing::Write => (&mut &*self.socket).write(bytes),
            Writing::Segment => Ok(send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_EOR)?),
            Writing::SendMsg => {
                let pieces: Vec<_> = bytes.chunks(PIECE).take(PIECES).map(IoSlice::new).collect();
                Ok(sendmsg::<()>(self.socket.as_raw_fd(), &pieces, &[], MsgFlags::empty(), None)?)
            }
            Writing::SendMmsg => send_messages(self.socket, bytes),
            Writing::Sendfile => self.sendfile(bytes),
            Writing::Splice => self.splice(bytes),
            Writing::ZeroCopy => zero_copy::send(self.socket, bytes),
            Writing::Ring => self.ring.send(self.socket.as_fd(), bytes),
            Writing::RingZeroCopy => self.ring.send_zero_copy(self.socket.as_fd(), bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn send_messages(socket: &TcpStream, bytes: &[u8]) -> Result<usize> {
    let each = bytes.len().div_ceil(MESSAGES).max(1);
    let messages: Vec<_> = bytes.chunks(each).map(|message| [IoSlice::new(message)]).collect();
    let mut headers = MultiHeaders::<()>::preallocate(messages.len(), None);
    let addresses = vec![None; messages.len()];
    let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &messages, addresses, [], MsgFlags::empty())?;
    Ok(sent.map(|message| message.bytes).sum())
}

/// Reads from a socket in one way.
pub struct Reader<'a> {
    way: Reading,
    socket: &'a TcpStream,
    ring: Ring,
}

impl<'a> Reader<'a> {
    /// Prepares for it.
    pub fn new(way: Reading, socket: &'a TcpStream) -> anyhow::Result<Self> {
        Ok(Self { way, socket, ring: Ring::new()? })
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        match self.way {
            Reading::Read => (&mut &*self.socket).read(to),
            Reading::Readv => {
                let mut pieces: Vec<_> = to.chunks_mut(PIECE).take(PIECES).map(IoSliceMut::new).collect();
                Ok(readv(self.socket, &mut pieces)?)
            }
            Reading::RecvMmsg => receive_messages(self.socket, to),
            Reading::Ring => self.ring.receive(self.socket.as_fd(), to),
        }
    }
}

/// What comes may leave room in each of the messages: it is moved together.
fn receive_messages(socket: &TcpStream, to: &mut [u8]) -> Result<usize> {
    let each = to.len().div_ceil(MESSAGES).max(1);
    let lengths: Vec<_> = {
        let mut messages: Vec<_> = to.chunks_mut(each).map(|message| [IoSliceMut::new(message)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(messages.len(), None);
        let flags = MsgFlags::MSG_WAITFORONE;
        let came = recvmmsg(socket.as_raw_fd(), &mut headers, messages.iter_mut(), flags, None)?;
        came.map(|message| message.bytes).collect()
    };
    let mut end = 0;
    for (number, length) in lengths.into_iter().enumerate() {
        to.copy_within(number * each..number * each + length, end);
        end += length;
    }
    Ok(end)
}
