//! Where a capture is read from.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::AsFd,
    path::Path,
    rc::Rc,
};

use super::interrupt::{Interrupt, Interruptible};

/// Opens a file, or standard input for `-`; a signal ends it.
pub(super) fn open(path: &Path, interrupt: &Rc<Interrupt>) -> io::Result<Interruptible> {
    let file = if path == Path::new("-") {
        // Not by the buffer of the library, of which nobody could say whether it has something.
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        // Opening a directory succeeds; that it cannot be read is said at the first attempt.
        File::open(path)?
    };
    Interruptible::new(file, interrupt)
}

/// Why reading failed, kept where whoever asks can find it: the parser passes on only that it did.
pub(super) type Failure = Rc<RefCell<Option<io::Error>>>;

/// A reader that fills whatever it is given, up to the end of its source. A pipe gives what it has at the moment, and
/// the parser takes the first portion for all that a header could be in.
pub(super) struct Full<R> {
    source: R,
    failure: Failure,
}

impl<R: Read> Full<R> {
    pub(super) fn new(source: R) -> (Self, Failure) {
        let failure = Failure::default();
        (Self { source, failure: Rc::clone(&failure) }, failure)
    }
}

impl<R: Read> Read for Full<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < to.len() {
            match self.source.read(&mut to[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What came before it is still worth reading; the next call fails at once.
                Err(_) if filled > 0 => break,
                Err(error) => {
                    let kind = error.kind();
                    *self.failure.borrow_mut() = Some(error);
                    return Err(kind.into());
                }
            }
        }
        Ok(filled)
    }
}
