//! The page of metrics while it is written: it leaves in pieces, so that what a scrape takes of memory does not grow with
//! the number of series.

/// A piece leaves when it has so many bytes. Large enough that handing it on costs nothing beside writing it.
const PIECE: usize = 64 * 1024;

/// Room beyond that for the series that crosses the edge, so that a piece never has to move while it is written.
const MARGIN: usize = 8 * 1024;

/// Whoever asked has gone: nothing more needs to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A page that is being written.
pub(super) struct Page<'a> {
    bytes: Vec<u8>,
    send: &'a mut dyn FnMut(Vec<u8>) -> Result<(), Gone>,
    gone: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(send: &'a mut dyn FnMut(Vec<u8>) -> Result<(), Gone>) -> Self {
        Self { bytes: Vec::with_capacity(PIECE + MARGIN), send, gone: false }
    }

    /// What is written of the present piece.
    pub(super) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Lets the piece go, if it is one.
    pub(super) fn send_pieces(&mut self) {
        if self.bytes.len() >= PIECE {
            self.send(PIECE + MARGIN);
        }
    }

    /// Lets the last piece go.
    pub(super) fn finish(mut self) -> Result<(), Gone> {
        self.send(0);
        if self.gone { Err(Gone) } else { Ok(()) }
    }

    fn send(&mut self, room_for_next: usize) {
        if self.gone {
            // The rest is written to nobody: cheaper than a way out of every loop.
            self.bytes.clear();
            return;
        }
        let piece = std::mem::replace(&mut self.bytes, Vec::with_capacity(room_for_next));
        self.gone = !piece.is_empty() && (self.send)(piece).is_err();
    }
}
