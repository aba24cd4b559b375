//! Passing over the fields of a head that frame nothing: most of them.
//!
//! A step of the engine costs more than the look at a line, so the lines that it would do nothing about are passed over in
//! one step.

use crate::{
    http1,
    swar::LOWER,
    window::{LOOK, READ, Window},
};

/// The most looks that a step takes: those at a whole window, and one for each line that ends in it. A head of more lines
/// than that is the next step's from there on.
const LOOKS: usize = READ / LOOK + 32;

/// Index of the first line behind the one that starts at `first` that may matter to [`crate::http1::field`]; of one before it, if
/// that is the last one that the window does not have to its end.
#[inline(always)]
#[must_use]
pub fn behind(window: &mut Window, first: usize) -> usize {
    let end = window.end();
    let (mut line, mut at) = (first, first);
    for _ in 0..LOOKS {
        if at >= end {
            break;
        }
        let Some(newline) = window.newline_near(at) else {
            at = window.forget((at + LOOK) as u64) as usize;
            continue;
        };
        let behind = newline + 1;
        if behind >= end {
            break;
        }
        line = behind;
        if matters(window, line) {
            break;
        }
        at = window.forget(line as u64) as usize;
    }
    window.forget(line as u64) as usize
}

/// Whether an empty line starts at an index, and the index behind it; the same index if there is none.
#[inline(always)]
#[must_use]
pub fn empty_line(window: &Window, at: usize) -> (bool, usize) {
    let cut = window.byte(at) == b'\r';
    let newline = at + usize::from(cut);
    if newline < window.end() && window.byte(newline) == b'\n' { (true, newline + 1) } else { (false, at) }
}

/// Whether a line may be one that frames the message. Of a line that the window has in part, what lies behind its end is
/// older bytes, which can at worst make it be read.
#[inline(always)]
#[must_use]
pub fn matters(window: &Window, line: usize) -> bool {
    let first = window.word(line);
    // The empty line that ends the head.
    if matches!(first as u8, b'\r' | b'\n') {
        return true;
    }
    let name = first | LOWER;
    name == u64::from_le_bytes(*b"transfer")
        || http1::is_expect(name)
        || name == u64::from_le_bytes(*b"content-") && window.byte(line + 8) | 0x20 == b'l'
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::{apart, window::CARRY};

    fn lands_on(text: &[u8]) -> usize {
        let mut window = Window::default();
        window.load(text, 0, text.len() as u32).unwrap();
        apart::fields(&mut window, CARRY) - CARRY
    }

    fn line(text: &str) -> &str {
        &text[lands_on(text.as_bytes())..]
    }

    #[test]
    fn what_frames_a_message_is_found_in_any_case() {
        assert_eq!(
            line("Server: n\r\nContent-Type: t\r\ncOnTeNt-LeNgTh: 4\r\n\r\n"),
            "cOnTeNt-LeNgTh: 4\r\n\r\n"
        );
        assert_eq!(line("A: b\nTRANSFER-encoding: chunked\n\n"), "TRANSFER-encoding: chunked\n\n");
        assert_eq!(line("Content-Length: 4\r\n\r\n"), "Content-Length: 4\r\n\r\n");
    }

    #[test]
    fn the_end_of_a_head_is_found() {
        assert_eq!(line("A: b\r\nC: d\r\n\r\nbody\r\nContent-Length: 9"), "\r\nbody\r\nContent-Length: 9");
        assert_eq!(line("A: b\nC: d\n\nbody"), "\nbody");
        assert_eq!(line("\r\n"), "\r\n");
    }

    #[test]
    fn a_line_without_an_end_is_left_to_be_read() {
        assert_eq!(line("A: b\r\nCont"), "Cont");
        assert_eq!(line("A: b\r\n"), "A: b\r\n");
        assert_eq!(line("A"), "A");
    }

    #[test]
    fn an_empty_line_is_taken_only_if_it_is_there_to_its_end() {
        for (text, found) in [
            ("\r\nbody", (true, 2)),
            ("\nbody", (true, 1)),
            ("\r", (false, 0)),
            ("\rA: b\n", (false, 0)),
            ("A: b\n", (false, 0)),
        ] {
            let mut window = Window::default();
            // What an earlier packet left behind the end is none of it.
            window.load(b"\r\n\r\n".as_slice(), 0, 4).unwrap();
            window.load(text.as_bytes(), 0, text.len() as u32).unwrap();
            let (empty, behind) = empty_line(&window, CARRY);
            assert_eq!((empty, behind - CARRY), found, "{text:?}");
        }
    }

    #[test]
    fn more_lines_than_a_step_takes_are_the_next_ones() {
        let head = "A:\n".repeat(READ / 3);
        let landed = lands_on(head.as_bytes());
        assert!(landed >= 3 * 32 && landed.is_multiple_of(3), "{landed}");
    }
}
