//! `io_uring`: what is to be done is put into a ring that the kernel reads, and what was done comes back in another.

use std::{
    io::{Error, ErrorKind, Result},
    os::fd::{AsRawFd, BorrowedFd},
};

use anyhow::Context;
use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};

/// A pair of rings, for one operation at a time.
pub struct Ring(IoUring);

impl Ring {
    /// Sets it up; an error where the kernel refuses, since a test that goes without proves nothing.
    pub fn new() -> anyhow::Result<Self> {
        let ring = IoUring::new(4)
            .context("the kernel refuses io_uring: `sysctl kernel.io_uring_disabled` must be 0")?;
        Ok(Self(ring))
    }

    /// Sends.
    pub fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
        let length = u32::try_from(bytes.len()).map_err(Error::other)?;
        let operation = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length).build();
        // SAFETY: the bytes are borrowed until the kernel is done with them.
        unsafe { self.carry_out(&operation) }
    }

    /// Sends from the caller's memory.
    pub fn send_zero_copy(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
        let length = u32::try_from(bytes.len()).map_err(Error::other)?;
        let operation = opcode::SendZc::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length).build();
        // SAFETY: as above; what comes back last says that the memory is no longer read.
        unsafe { self.carry_out(&operation) }
    }

    /// Receives.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, to: &mut [u8]) -> Result<usize> {
        let length = u32::try_from(to.len()).map_err(Error::other)?;
        let operation = opcode::Recv::new(Fd(socket.as_raw_fd()), to.as_mut_ptr(), length).build();
        // SAFETY: the room is borrowed, by nobody else, until the kernel is done with it.
        unsafe { self.carry_out(&operation) }
    }

    /// Waits until an operation is done, and the kernel with its memory.
    ///
    /// # Safety
    /// What the operation points to must be valid until this returns.
    unsafe fn carry_out(&mut self, operation: &squeue::Entry) -> Result<usize> {
        // SAFETY: the caller's.
        unsafe { self.0.submission().push(operation) }.map_err(Error::other)?;
        let mut result = None;
        loop {
            match self.0.submit_and_wait(1) {
                // The kernel is still at it.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                submitted => submitted?,
            };
            while let Some(entry) = self.0.completion().next() {
                result = result.or(Some(entry.result()));
                if cqueue::more(entry.flags()) {
                    continue;
                }
                let result = result.unwrap_or_default();
                return usize::try_from(result).map_err(|_| Error::from_raw_os_error(-result));
            }
        }
    }
}
