//! What the bytes of a path's segment say of it: does it name one thing among many?

use crate::swar::{HIGHS, LOWER, all};

/// From so many digits on hexadecimal is long.
pub const LONG: u32 = 8;

/// From so many bytes on a segment may be a token.
///
/// It is one if at three places or more a letter or digit is the fourth in a row that is no vowel (`y` is one): words are
/// not like that, whether they are written together, in camel case or with hyphens, and of random letters and digits nearly all
/// are. Of 5,000 identifiers of this length in source code 2 in 1,000 are taken for tokens; of random tokens of 20 letters and
/// digits 84 in 100 are, of 32 letters and digits 97, of 43 99.
pub const TOKEN: u32 = 20;

/// What is known of the bytes of a segment. Bits stand for bytes; those 64 bytes apart share one.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// Which are no decimal digits.
    nondecimal: u64,
    /// Which are no hexadecimal digits.
    nonhex: u64,
    /// Which are hyphens.
    hyphens: u64,
    /// Not 0 if one is a decimal digit.
    decimal: u64,
    /// Which are the fourth letter or digit in a row, or a further one, that is no vowel.
    clusters: u64,
    /// Which of the eight bytes before the next ones are a letter or digit that is no vowel.
    consonants: u64,
}

/// Where the hyphens of a UUID are.
const UUID: u64 = 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23;
/// How long it is.
const UUID_LENGTH: u32 = 36;

impl Segment {
    /// Begins anew; `zero` is 0, which the compiler must not know: it would have it set by a call.
    #[inline(always)]
    pub(super) fn begin(&mut self, zero: u64) {
        self.nondecimal = zero;
        self.nonhex = zero;
        self.hyphens = zero;
        self.decimal = zero;
        self.clusters = zero;
        self.consonants = zero;
    }

    /// Takes note of `count` bytes, eight unless they are the segment's last, behind `length` others. Gives what is not 0 if
    /// one of them is not to be printed.
    #[inline(always)]
    pub(super) fn note(&mut self, word: u64, count: u32, length: u32) -> u64 {
        // All of them are in one word, so that the bits of what is not there are those of zeros: masked away.
        let there = if count >= 8 { 0xff } else { (1 << count) - 1 };
        let (low, high) = (word & !HIGHS, word & HIGHS);
        let from = |byte: u8| low + all(0x80 - byte);
        let above = |byte: u8| low + all(0x7f - byte);
        let small = low | LOWER;
        let is = |bytes: u64, byte: u8| !((bytes ^ all(byte)) + all(0x7f));
        let up_to = |byte: u8| !(small + all(0x7f - byte));
        let decimal = from(b'0') & !above(b'9') & !high;
        let from_a = (small + all(0x80 - b'a')) & !high;
        let letter = from_a & up_to(b'f');
        let hyphen = is(low, b'-') & !high;
        let printable = from(b'!') & !above(b'~') & !high;
        // `e` and `u`, as `i` and `y`, are a bit apart.
        let paired = small & !all(0x10);
        let vowel = is(small, b'a') | is(small, b'o') | is(paired, b'e') | is(paired, b'i');
        let consonants = bits((decimal | from_a & up_to(b'z')) & !vowel) & there;
        let seen = length & 63;
        self.nondecimal |= (!bits(decimal) & there) << seen;
        self.nonhex |= (!bits(decimal | letter) & there) << seen;
        self.hyphens |= (bits(hyphen) & there) << seen;
        self.decimal |= bits(decimal) & there;
        let row = self.consonants | consonants << 8;
        let two = row & row << 1;
        self.clusters |= ((two & two << 2) >> 8 & 0xff) << seen;
        self.consonants = consonants;
        !bits(printable) & there
    }

    /// Whether it becomes `*`, being `length` bytes long.
    #[inline(always)]
    pub(super) fn is_one_among_many(&self, length: u32) -> bool {
        let number = length > 0 && self.nondecimal == 0;
        let long = length >= LONG && self.nonhex == 0 && self.decimal != 0;
        let uuid = length == UUID_LENGTH && self.nonhex == UUID && self.hyphens == UUID;
        number || long || uuid || (length >= TOKEN && self.looks_like_no_word())
    }

    /// Whether it does not become `*` as far as it is known, which is `length` bytes, and is too long for all but a token.
    #[inline(always)]
    pub(super) fn stays(&self, length: u32) -> bool {
        length > UUID_LENGTH && self.nonhex != 0 && !self.looks_like_no_word()
    }

    /// Whether there are three clusters or more.
    #[inline(always)]
    fn looks_like_no_word(&self) -> bool {
        let less_one = self.clusters & self.clusters.wrapping_sub(1);
        less_one & less_one.wrapping_sub(1) != 0
    }
}

/// The high bits of eight bytes, side by side.
#[inline(always)]
fn bits(highs: u64) -> u64 {
    ((highs & HIGHS) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
