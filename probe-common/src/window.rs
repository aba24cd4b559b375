//! The part of a packet's payload that is being read, and where its bytes come from.

use crate::{http1::LENGTH_NAME, instruction, proxied::Proxied, swar};

/// Where the bytes of a packet's payload are: an skb, a slice, a capture.
pub trait Payload {
    /// Copies `length` bytes from `offset` of the payload into `to`, from [`CARRY`] on.
    ///
    /// # Errors
    /// [`Unreadable`] if the bytes are not there.
    fn read(&self, offset: u32, length: u32, to: &mut [u8; SIZE]) -> Result<(), Unreadable>;
}

/// The bytes of a payload could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Longest start of an unfinished line that is carried over to the next packet. The longest line that decides
/// anything, `Content-Length: 18446744073709551615`, is shorter.
pub const CARRY: usize = 40;

/// Bytes of payload that are read at a time.
pub const READ: usize = 512;

/// Indices are masked with this, so that the verifier and the compiler both see that they are in bounds.
const MASK: usize = 1023;

/// Bytes that are searched at a time.
pub const LOOK: usize = 32;

/// Size of a window: what a masked index and a look from there can reach.
pub const SIZE: usize = MASK + 1 + LOOK;

/// A stretch of payload, behind the start of a line that an earlier packet left unfinished.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Window {
    /// Offset in the payload of the byte at [`CARRY`].
    base: u32,
    /// Bytes of payload read.
    length: u32,
    /// Where [`Window::forget`] passes values through.
    passed: u64,
    /// Where the latest request line begins and ends.
    line: [u32; 2],
    bytes: [u8; SIZE],
    /// Of a connection whose client is counted by its requests: brought by the caller before the first step of a segment,
    /// and kept by it behind the last one.
    pub proxied: Proxied,
}

impl Default for Window {
    fn default() -> Self {
        Self { base: 0, length: 0, passed: 0, line: [0; 2], bytes: [0; SIZE], proxied: Proxied::default() }
    }
}

impl Window {
    /// Forgets what an earlier packet left.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.base = 0;
        self.length = 0;
    }

    /// Index of a byte of the payload, if it has been read.
    #[inline(always)]
    #[must_use]
    pub fn index_of(&self, offset: u32) -> Option<usize> {
        let ahead = offset.wrapping_sub(self.base);
        if ahead < self.length { Some(CARRY + ahead as usize) } else { None }
    }

    /// Index behind the last byte.
    #[inline(always)]
    #[must_use]
    pub fn end(&self) -> usize {
        CARRY + self.length as usize
    }

    /// Whether the payload, `total` bytes long, goes on behind the window.
    #[inline(always)]
    #[must_use]
    pub fn more_behind(&self, total: u32) -> bool {
        self.base + self.length < total
    }

    /// Reads from `offset` of a payload that is `total` bytes long.
    #[inline(always)]
    pub fn load(
        &mut self,
        payload: &(impl Payload + ?Sized),
        offset: u32,
        total: u32,
    ) -> Result<(), Unreadable> {
        let left = total.wrapping_sub(offset);
        let length = if left > READ as u32 { READ as u32 } else { left };
        self.base = offset;
        self.length = 0;
        payload.read(offset, length, &mut self.bytes)?;
        self.length = length;
        Ok(())
    }

    /// The byte at an index.
    #[inline(always)]
    #[must_use]
    pub fn byte(&self, index: usize) -> u8 {
        self.bytes[index & MASK]
    }

    /// The eight bytes from an index on, the first one lowest.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        self.ahead::<0>(index)
    }

    /// The eight bytes `OFFSET` bytes ahead of an index. With an offset that is known, one mask does for several words.
    #[inline(always)]
    fn ahead<const OFFSET: usize>(&self, index: usize) -> u64 {
        let index = index & MASK;
        let look = self.bytes[index..index + LOOK].as_array::<LOOK>();
        // There is no other case, which the compiler sees.
        look.map_or(0, instruction::word::<OFFSET, LOOK>)
    }

    /// The same value, of which the verifier knows nothing any more.
    ///
    /// It follows every way out of a loop to the end of the program, once for each number of rounds that the loop can
    /// make, unless nothing that is still needed tells the ways apart. What has been in a map's memory does not.
    #[inline(always)]
    pub fn forget(&mut self, value: u64) -> u64 {
        instruction::by_way_of(&mut self.passed, value)
    }

    /// Index of the first newline from `from` on, before the end.
    #[inline(always)]
    #[must_use]
    pub fn newline(&mut self, from: usize) -> Option<usize> {
        let newline = self.search(from);
        match self.forget(newline.unwrap_or(0) as u64) as usize {
            0 => None,
            newline => Some(newline),
        }
    }

    #[inline(always)]
    fn search(&self, from: usize) -> Option<usize> {
        let end = self.end();
        let mut at = from;
        for _ in 0..=READ.div_ceil(LOOK) {
            if at >= end {
                return None;
            }
            if let Some(newline) = self.newline_near(at) {
                return if newline < end { Some(newline) } else { None };
            }
            at += LOOK;
        }
        None
    }

    /// Notes where a request line is, for whoever wants more of it than the engine does.
    #[inline(always)]
    pub fn note_line(&mut self, start: usize, end: usize) {
        self.line = [start as u32, end as u32];
    }

    /// Indices of the first byte of the request line that was read last, and of the one behind it; it stays in the
    /// window until the next step.
    #[inline(always)]
    #[must_use]
    pub fn line(&self) -> (u32, u32) {
        (self.line[0], self.line[1])
    }

    /// Index of the first newline among the [`LOOK`] bytes from an index on.
    #[inline(always)]
    #[must_use]
    pub fn newline_near(&self, at: usize) -> Option<usize> {
        let (mut found, mut word) = (self.newlines::<0>(at), 0);
        if found == 0 {
            (found, word) = (self.newlines::<8>(at), 8);
        }
        if found == 0 {
            (found, word) = (self.newlines::<16>(at), 16);
        }
        if found == 0 {
            (found, word) = (self.newlines::<24>(at), 24);
        }
        if found == 0 { None } else { Some(at.wrapping_add(word).wrapping_add(swar::bytes_below(found))) }
    }

    /// The newlines in a word: see [`swar::zeros`].
    #[inline(always)]
    fn newlines<const OFFSET: usize>(&self, at: usize) -> u64 {
        swar::zeros(self.ahead::<OFFSET>(at) ^ swar::all(b'\n'))
    }

    /// Puts the start of an unfinished line before the bytes that were read.
    #[inline(always)]
    pub fn put_carry(&mut self, carry: &[u8; CARRY]) {
        self.bytes[..CARRY].copy_from_slice(carry);
    }

    /// Writes the name of the field that has a length before the byte at an index.
    #[inline(always)]
    pub fn put_name(&mut self, index: usize) {
        let at = index.wrapping_sub(LENGTH_NAME.len()) & MASK;
        self.bytes[at..at + LENGTH_NAME.len()].copy_from_slice(&LENGTH_NAME);
    }

    /// The bytes before `end`: the start of an unfinished line lies at their end.
    #[inline(always)]
    pub fn take_carry(&self, end: usize, carry: &mut [u8; CARRY]) {
        // Word by word: a copy of variable offset would become a call that the BPF target does not have.
        let from = end.wrapping_sub(CARRY);
        for (i, bytes) in carry.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *bytes = self.word(from.wrapping_add(8 * i)).to_le_bytes();
        }
    }
}

/// A payload in memory.
impl Payload for [u8] {
    fn read(&self, offset: u32, length: u32, to: &mut [u8; SIZE]) -> Result<(), Unreadable> {
        let (offset, length) = (offset as usize, length as usize);
        let bytes = self.get(offset..offset + length).ok_or(Unreadable)?;
        to.get_mut(CARRY..CARRY + length).ok_or(Unreadable)?.copy_from_slice(bytes);
        Ok(())
    }
}
