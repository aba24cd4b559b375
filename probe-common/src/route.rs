//! The route of a request: its path as a template, in which what names one thing among many is a `*`.
//!
//! `/users/4711/orders?page=2` becomes `/users/*/orders`: the query and the fragment are cut, and so are scheme and
//! authority of a target in absolute form (RFC 9112, section 3.2.2). A segment becomes `*` if it is
//!
//! - a number: decimal digits only;
//! - a UUID (RFC 9562): 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between them;
//! - long hexadecimal: [`LONG`] digits or more, one of them a decimal one, or it would be a word.
//!
//! A template ends in `/**` behind its first [`DEPTH`] segments, or behind the last one with which it has no more than
//! [`LONGEST`] bytes. There is none of a path that is not of printable ASCII, of which the end was not seen, or of a target
//! that is no path (`CONNECT`).
//!
//! A path is client-controlled text of any length: [`Template::step`] reads eight bytes of it, and the loop around it is
//! the caller's, as with [`crate::connection::Connection::step`].

use crate::window::Window;

/// Bytes of a template, with zeros behind the text.
pub const SIZE: usize = 64;

/// Segments of a template.
pub const DEPTH: u32 = 8;

/// Bytes of a template before the `/**` of one that was cut.
pub const LONGEST: u32 = SIZE as u32 - 3;

/// From so many digits on hexadecimal is long.
pub const LONG: u32 = 8;

/// Index of the route `other`: of requests without a template, and of those whose route found no room.
pub const OTHER: u8 = 0;

/// The most steps that a template takes: eight bytes each of all that a window holds, one for the end of each segment,
/// and those before the path.
pub const STEPS: u32 = 96;

/// The route of a request, under which the kernel keeps its index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// The service's index.
    pub service: u32,
    /// Zero: the kernel hashes every byte of a key.
    pub padding: u32,
    /// The template, eight bytes a word, the first one lowest; zeros behind it.
    pub text: [u64; SIZE / 8],
}

impl RouteKey {
    /// The template's bytes, with zeros behind them.
    #[must_use]
    pub fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.text) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }
}

/// Where in a request line a template has come.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The method.
    #[default]
    Method = 0,
    /// The authority of a target in absolute form.
    Authority = 1,
    /// The path.
    Path = 2,
    /// Behind it: the template is complete.
    Behind = 3,
    /// There is no template.
    Nowhere = 4,
}

/// A template in the making. All zero is one that has not begun.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// The text, zeros behind it. Twice as long as it gets, so that an index below [`SIZE`] and a word more is in bounds.
    words: [u64; SIZE / 4],
    /// Which bytes of the segment in progress are no decimal digits: a bit each, those 64 bytes apart share one.
    nondecimal: u64,
    /// Which are no hexadecimal digits.
    nonhex: u64,
    /// Which are hyphens.
    hyphens: u64,
    /// Not 0 if one is a decimal digit.
    decimal: u64,
    /// Not 0 if one is not to be printed.
    unprintable: u64,
    /// Index in the window of the next byte.
    at: u32,
    /// Index behind the line, as far as it was seen.
    end: u32,
    /// Bytes of text; where it does not fit, there may be more than are kept.
    length: u32,
    /// Where in the text the segment in progress begins.
    segment: u32,
    /// Segments that have begun.
    depth: u32,
    place: Place,
}

/// The same byte eight times.
const fn all(byte: u8) -> u64 {
    ONES * byte as u64
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES * 0x80;
const LOWER: u64 = ONES * 0x20;

/// Where the hyphens of a UUID are.
const UUID: u64 = 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23;
/// How long it is.
const UUID_LENGTH: u32 = 36;

impl Template {
    /// Begins with the request line in a window: see [`Window::note_line`].
    #[inline(always)]
    pub fn begin(&mut self, window: &Window) {
        // What the compiler takes for zero it has set by a call, byte by byte.
        let zero = core::hint::black_box(0_u64);
        for word in &mut self.words[..=SIZE / 8] {
            *word = zero;
        }
        self.begin_segment(zero);
        self.unprintable = zero;
        (self.at, self.end) = window.line();
        self.length = zero as u32;
        self.segment = zero as u32;
        self.depth = zero as u32;
        self.place = Place::Method;
    }

    /// Reads up to eight bytes; false if there is no more to read.
    #[inline(always)]
    pub fn step(&mut self, window: &Window) -> bool {
        if self.at >= self.end {
            return self.stop(Place::Nowhere);
        }
        let word = window.word(self.at as usize);
        let found = delimiters(word) | behind(self.end - self.at);
        // The bytes before the first delimiter.
        let (kept, count) = if found == 0 {
            (u64::MAX, 8)
        } else {
            let kept = ((found & found.wrapping_neg()) - 1) >> 7;
            (kept, (kept & ONES).wrapping_mul(ONES) >> 56)
        };
        let count = count as u32;
        self.at += count;
        if matches!(self.place, Place::Path) {
            self.append(word & kept, count);
        }
        let delimiter = if found != 0 {
            if self.at >= self.end {
                return self.stop(Place::Nowhere);
            }
            (word >> (8 * (count & 7))) as u8
        } else if self.has_outgrown() {
            b' '
        } else {
            return true;
        };
        match self.place {
            Place::Method => self.target(window),
            Place::Authority if delimiter == b'/' => {
                self.place = Place::Path;
                true
            }
            Place::Authority => {
                // RFC 9110, section 4.2.3: an empty path is the root.
                self.push(b'/');
                self.stop(Place::Behind)
            }
            _ => self.end_of_segment(delimiter),
        }
    }

    /// Makes it the route of a service; false if the request has no template.
    #[inline(always)]
    #[must_use]
    pub fn name(&self, service: u32, key: &mut RouteKey) -> bool {
        key.service = service;
        for (to, from) in key.text.iter_mut().zip(&self.words) {
            *to = *from;
        }
        matches!(self.place, Place::Behind)
    }

    #[inline(always)]
    fn stop(&mut self, place: Place) -> bool {
        self.place = place;
        false
    }

    /// The method has been read: what is asked for?
    #[inline(always)]
    fn target(&mut self, window: &Window) -> bool {
        self.at += 1;
        let first = window.word(self.at as usize);
        // The letters only: other bytes would become those of `://`.
        let scheme = first | (LOWER & u64::from(u32::MAX));
        if first as u8 == b'/' {
            self.place = Place::Path;
        } else if scheme & (u64::MAX >> 8) == u64::from_le_bytes(*b"http://\0") {
            self.at += 7;
            self.place = Place::Authority;
        } else if scheme | 0x20 << 32 == u64::from_le_bytes(*b"https://") {
            self.at += 8;
            self.place = Place::Authority;
        } else if first as u16 == u16::from_le_bytes(*b"* ") {
            // The server as a whole (RFC 9110, section 7.1).
            self.push(b'*');
            return self.stop(Place::Behind);
        } else {
            return self.stop(Place::Nowhere);
        }
        true
    }

    /// Adds bytes of a segment, of which the higher ones are zero.
    #[inline(always)]
    fn append(&mut self, word: u64, count: u32) {
        // All of them are in one word, so that the bits of what is not there are those of zeros: masked away.
        let there = if count >= 8 { 0xff } else { (1 << count) - 1 };
        let (low, high) = (word & !HIGHS, word & HIGHS);
        let from = |byte: u8| low + all(0x80 - byte);
        let above = |byte: u8| low + all(0x7f - byte);
        let small = low | LOWER;
        let decimal = from(b'0') & !above(b'9') & !high;
        let letter = (small + all(0x80 - b'a')) & !(small + all(0x7f - b'f')) & !high;
        let hyphen = !((low ^ all(b'-')) + all(0x7f)) & !high;
        let printable = from(b'!') & !above(b'~') & !high;
        let seen = self.length.wrapping_sub(self.segment) & 63;
        self.nondecimal |= (!bits(decimal) & there) << seen;
        self.nonhex |= (!bits(decimal | letter) & there) << seen;
        self.hyphens |= (bits(hyphen) & there) << seen;
        self.decimal |= bits(decimal) & there;
        self.unprintable |= !bits(printable) & there;
        self.write(word, count);
    }

    /// Adds bytes, of which the higher ones are zero; what does not fit is left out.
    #[inline(always)]
    fn write(&mut self, word: u64, count: u32) {
        let length = core::hint::black_box(self.length);
        if length < SIZE as u32 {
            let (index, shift) = ((length >> 3 & 7) as usize, 8 * (length & 7));
            self.words[index] |= word << shift;
            self.words[index + 1] |= word >> 1 >> (63 - shift);
        }
        self.length = length.wrapping_add(count);
    }

    /// Adds a byte.
    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.write(u64::from(byte), 1);
    }

    /// Whether the segment in progress, which goes on, becomes no `*` any more and is longer than the text may be: what
    /// follows makes no difference then.
    #[inline(always)]
    fn has_outgrown(&self) -> bool {
        let seen = self.length.wrapping_sub(self.segment);
        matches!(self.place, Place::Path) && self.length > LONGEST && seen > UUID_LENGTH && self.nonhex != 0
    }

    /// A segment has ended.
    #[inline(always)]
    fn end_of_segment(&mut self, delimiter: u8) -> bool {
        if self.unprintable != 0 {
            return self.stop(Place::Nowhere);
        }
        if self.is_one_among_many() {
            self.truncate();
            self.push(b'*');
        }
        let outgrown = self.length > LONGEST;
        let more = delimiter == b'/';
        if outgrown {
            self.truncate();
        } else if more {
            self.push(b'/');
        }
        if outgrown || (more && self.depth >= DEPTH) {
            self.write(u64::from(u16::from_le_bytes(*b"**")), 2);
            return self.stop(Place::Behind);
        }
        if !more {
            return self.stop(Place::Behind);
        }
        self.at += 1;
        self.depth += 1;
        self.segment = self.length;
        self.begin_segment(core::hint::black_box(0));
        true
    }

    #[inline(always)]
    fn begin_segment(&mut self, zero: u64) {
        self.nondecimal = zero;
        self.nonhex = zero;
        self.hyphens = zero;
        self.decimal = zero;
    }

    /// Whether the segment in progress becomes `*`.
    #[inline(always)]
    fn is_one_among_many(&self) -> bool {
        let length = self.length.wrapping_sub(self.segment);
        let number = length > 0 && self.nondecimal == 0;
        let long = length >= LONG && self.nonhex == 0 && self.decimal != 0;
        number || long || (length == UUID_LENGTH && self.nonhex == UUID && self.hyphens == UUID)
    }

    /// Takes the segment in progress away again.
    #[inline(always)]
    fn truncate(&mut self) {
        let length = core::hint::black_box(self.segment);
        let (index, shift) = ((length >> 3 & 7) as usize, 8 * (length & 7));
        self.words[index] &= (1 << shift) - 1;
        let zero = core::hint::black_box(0);
        for further in 0..SIZE / 8 {
            self.words[(index + 1 + further) % (SIZE / 4)] = zero;
        }
        self.length = length;
    }
}

/// The high bit of each byte that ends a segment: exact up to the first one.
#[inline(always)]
fn delimiters(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let is = |byte: u8| zeros(word ^ all(byte));
    is(b'/') | is(b'?') | is(b'#') | is(b' ')
}

/// The high bit of the first byte of a word that is behind the line, of which `left` bytes are left, one or more.
#[inline(always)]
fn behind(left: u32) -> u64 {
    if left >= 8 { 0 } else { 0x80 << (8 * left) }
}

/// The high bits of eight bytes, side by side.
#[inline(always)]
fn bits(highs: u64) -> u64 {
    ((highs & HIGHS) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{boxed::Box, format, string::String, vec::Vec};

    use super::*;
    use crate::window::CARRY;

    /// The template of a request line that is shown whole.
    fn of_line(line: &str) -> Option<String> {
        let mut window = Box::<Window>::default();
        window.load(line.as_bytes(), 0, u32::try_from(line.len()).unwrap()).unwrap();
        window.note_line(CARRY, window.end());
        let mut template = Template::default();
        template.begin(&window);
        let steps = (0..STEPS).position(|_| !template.step(&window));
        assert!(steps.is_some(), "more steps than are taken: {line}");
        let mut key = RouteKey::default();
        if !template.name(0, &mut key) {
            return None;
        }
        let bytes = key.bytes();
        let text: Vec<_> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
        assert!(bytes[text.len()..].iter().all(|byte| *byte == 0), "zeros behind the text of {line}");
        Some(String::from_utf8(text).unwrap())
    }

    fn of(target: &str) -> Option<String> {
        of_line(&format!("GET {target} HTTP/1.1"))
    }

    #[track_caller]
    fn assert_routes(pairs: &[(&str, &str)]) {
        for (target, route) in pairs {
            assert_eq!(of(target).as_deref(), Some(*route), "{target}");
        }
    }

    #[test]
    fn a_plain_path_is_its_own_template() {
        for path in
            ["/", "/a", "/index.html", "/api/v1/users", "/a/", "//a", "/a-b_c~d%20e;f=g:h@i", "/a'(b)"]
        {
            assert_eq!(of(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_names_one_among_many_is_an_asterisk() {
        assert_routes(&[
            ("/users/0", "/users/*"),
            ("/users/123456789012345678901234567890/orders/7", "/users/*/orders/*"),
            ("/7/", "/*/"),
            ("/x/123e4567-e89b-12d3-a456-426614174000", "/x/*"),
            ("/x/123E4567-E89B-12D3-A456-42661417400F/y", "/x/*/y"),
            ("/blobs/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "/blobs/*"),
            ("/commits/abcdef01", "/commits/*"),
            ("/o/507F1f77bcf86cd799439011/z", "/o/*/z"),
        ]);
        let sha512 = format!("/layers/{}/raw", "0a".repeat(64));
        assert_routes(&[(&sha512, "/layers/*/raw")]);
    }

    #[test]
    fn words_and_what_only_looks_like_an_identifier_stay() {
        for path in [
            "/v1",
            "/1a",
            "/12.5",
            "/-7",
            "/deadbeef",
            "/effaced",
            "/abcde1",
            "/123e4567-e89b-12d3-a456-42661417400",
            "/123e4567e-89b-12d3-a456-426614174000",
            "/123e4567-e89b-12d3-a456-42661417400g",
            "/a1b2c3d4-",
        ] {
            assert_eq!(of(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn query_fragment_scheme_and_authority_are_cut() {
        assert_routes(&[
            ("/a?b=c/d", "/a"),
            ("/a/7?8", "/a/*"),
            ("/?x", "/"),
            ("/a#b/7", "/a"),
            ("http://example.org/a/7?b", "/a/*"),
            ("HTTPS://user@[::1]:8443/a/b", "/a/b"),
            ("http://example.org", "/"),
            ("https://example.org?q", "/"),
            ("*", "*"),
        ]);
    }

    #[test]
    fn a_target_that_is_no_path_has_no_template() {
        for target in
            ["example.org:443", "ftp://a/b", "a/b", "**", "/a\u{7f}", "/\u{1}", "/caf\u{e9}", "/a\tb"]
        {
            assert_eq!(of(target), None, "{target}");
        }
        assert_eq!(of_line("CONNECT example.org:443 HTTP/1.1"), None);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        assert_routes(&[
            ("/1/2/3/4/5/6/7/8", "/*/*/*/*/*/*/*/*"),
            ("/1/2/3/4/5/6/7/8/", "/*/*/*/*/*/*/*/*/**"),
            ("/a/b/c/d/e/f/g/h/i/j?k", "/a/b/c/d/e/f/g/h/**"),
        ]);
        let long = "w".repeat(60);
        assert_routes(&[
            (&format!("/{long}"), &format!("/{long}")),
            (&format!("/{long}/a"), &format!("/{long}/**")),
            (&format!("/{long}x"), "/**"),
            (&format!("/a/7/{}", "x".repeat(400)), "/a/*/**"),
        ]);
        let widest = format!("/{}/b", "w".repeat(59));
        assert_routes(&[(&widest, &format!("/{}/**", "w".repeat(59)))]);
    }

    #[test]
    fn the_method_may_be_of_any_length() {
        for method in ["A", "OPTIONS", "PROPPATCH", "VERSION-CONTROL", "BASELINE-CONTROL"] {
            assert_eq!(of_line(&format!("{method} /a/7 HTTP/1.1")).as_deref(), Some("/a/*"), "{method}");
        }
    }

    #[test]
    fn a_line_that_was_not_seen_to_the_end_of_its_path_has_no_template() {
        let line = "GET /a/bcdefghijk/7 HTTP/1.1";
        for shown in 4..line.len() {
            let expected = (shown > "GET /a/bcdefghijk/7".len()).then_some("/a/bcdefghijk/*");
            assert_eq!(of_line(&line[..shown]).as_deref(), expected, "{}", &line[..shown]);
        }
    }
}
