//! Blanks around what a line says: spaces and tabs (RFC 9110, section 5.6.3).

use crate::{
    swar::{self, all},
    window::Window,
};

/// How many are passed over at a time: whoever wants more looks again.
pub const MOST: usize = 32;

/// The high bit of each byte of a word that is no blank.
#[inline(always)]
const fn others(word: u64) -> u64 {
    swar::nonzeros(word ^ all(b' ')) & swar::nonzeros(word ^ all(b'\t'))
}

/// Index of the first byte from `at` on that is no blank, or of the one behind [`MOST`] of them; `end` at most.
#[inline(always)]
pub(crate) fn behind(window: &mut Window, at: usize, end: usize) -> usize {
    let mut at = at;
    for _ in 0..MOST / 8 {
        let others = others(window.word(at));
        if others != 0 {
            at += swar::bytes_below(others);
            break;
        }
        at += 8;
    }
    let at = window.forget(at as u64) as usize;
    if at > end { end } else { at }
}

/// Index behind the last byte before `end` that is no blank; [`MOST`] are passed over at most.
#[inline(always)]
pub(crate) fn before(window: &mut Window, end: usize) -> usize {
    let mut end = end;
    for _ in 0..MOST / 8 {
        let others = others(window.word(end.wrapping_sub(8)));
        if others != 0 {
            end = end.wrapping_sub(swar::bytes_above(others));
            break;
        }
        end = end.wrapping_sub(8);
    }
    window.forget(end as u64) as usize
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;
    use crate::window::CARRY;

    #[test]
    fn blanks_of_any_kind_are_passed_over_up_to_as_many() {
        for blanks in 0..=MOST + 9 {
            for kind in [" ", "\t"] {
                let text = format!("a:{0}5{0}", kind.repeat(blanks));
                let mut window = Window::default();
                window.load(text.as_bytes(), 0, text.len() as u32).unwrap();
                let (end, passed) = (window.end(), blanks.min(MOST));
                assert_eq!(behind(&mut window, CARRY + 2, end) - CARRY, 2 + passed, "{blanks} of {kind:?}");
                assert_eq!(before(&mut window, end), end - passed, "{blanks} of {kind:?}");
            }
        }
        let mut window = Window::default();
        window.load(&b"         "[..], 0, 9).unwrap();
        assert_eq!(behind(&mut window, CARRY, CARRY + 5), CARRY + 5, "what is behind the end is none of it");
    }
}
