//! What a step of reading came to, before its consequences are drawn: see [`super::Connection::step`].

use crate::window::Window;

/// What reading came to.
#[repr(u8)]
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// Nothing that counts.
    Nothing = 0,
    /// A request is in flight.
    Began = 1,
    /// A head is complete.
    Headed = 2,
    /// A message is complete, with the last byte that came.
    Ended = 3,
    /// So is an answer after which the connection is a stream.
    Switched = 4,
    /// The client speaks again: an answer that did not show its end is over.
    Turned = 5,
    /// The rest of this message cannot be read: its bytes are not to be had.
    Unreadable = 6,
    /// Nor can one that contradicts itself.
    Misframed = 7,
    /// A request that there is no time, or no place, for.
    TooDeep = 8,
    /// No messages that can be read.
    Opaque = 9,
}

impl Outcome {
    /// The same, of which the verifier knows nothing any more: see [`Window::forget`].
    #[inline(always)]
    pub(super) fn forget(self, window: &mut Window) -> Self {
        match window.forget(self as u64) as u8 {
            0 => Self::Nothing,
            1 => Self::Began,
            2 => Self::Headed,
            3 => Self::Ended,
            4 => Self::Switched,
            5 => Self::Turned,
            6 => Self::Unreadable,
            7 => Self::Misframed,
            8 => Self::TooDeep,
            _ => Self::Opaque,
        }
    }
}
