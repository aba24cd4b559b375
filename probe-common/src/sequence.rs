//! TCP sequence numbers, which wrap (RFC 9293, section 3.4).

/// How far `to` lies ahead of `from`: negative if it lies behind.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_wrap, reason = "the sign is what modular comparison is about")]
pub const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}
