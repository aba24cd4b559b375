//! Functions that the verifier follows by themselves: once, with any arguments, and not once for each state of their callers.
//!
//! These are BPF's global functions. They take numbers since kernel 5.6, and pointers to what has a size since 5.12 (e5069b9c23b3);
//! before 5.17 no heads are read, and nothing calls them. Of what they return, which is a number, the verifier knows nothing, so that
//! all their caller's paths meet behind them.
//!
//! A call costs some 9 ns with what has to be loaded again. So what most requests are is found out without one.

use crate::{
    http1::{self, Extent, Field},
    protocol::Method,
    skim,
    window::Window,
};

/// Index of the first line, from the one that starts at `first` on, that may matter to [`field`], or that the window does not have to its end.
#[inline(always)]
pub(crate) fn fields(window: &mut Window, first: usize) -> usize {
    if skim::matters(window, first) { first } else { call::fields(window, first as u64) as usize }
}

/// See [`http1::request_line`].
#[inline(always)]
pub(crate) fn request_line(window: &mut Window, start: usize, end: usize, extent: Extent) -> Option<Method> {
    if matches!(extent, Extent::Whole)
        && let Some(method) = http1::usual_request(window, start, end)
    {
        return Some(method);
    }
    let number = call::request_line(window, start as u64, end as u64, extent as u64);
    if number == NO_METHOD { None } else { Some(Method::of_number(number as u8)) }
}

const NO_METHOD: u64 = u8::MAX as u64;

#[inline(always)]
fn request_line_of(window: &mut Window, start: u64, end: u64, extent: u64) -> u64 {
    let method = http1::request_line(window, start as usize, end as usize, Extent::of_number(extent));
    method.map_or(NO_METHOD, |method| method as u64)
}

/// See [`http1::field`].
#[inline(always)]
pub(crate) fn field(window: &mut Window, start: usize, end: usize, extent: Extent) -> Field {
    if start == end {
        return Field::End;
    }
    if !http1::may_frame(window.word(start)) {
        return Field::Other;
    }
    let number = call::field(window, start as u64, end as u64, extent as u64);
    let rest = number >> KIND_BITS;
    match number & ((1 << KIND_BITS) - 1) {
        1 => Field::End,
        2 => Field::Length(rest),
        3 => Field::Chunked,
        4 => Field::Expect,
        5 => Field::Unfinished((rest & 0xffff) as usize, (rest >> 16) as usize),
        6 => Field::Bad,
        _ => Field::Other,
    }
}

/// A length has 60 bits: 18 digits.
const KIND_BITS: u32 = 3;

#[inline(always)]
fn field_of(window: &mut Window, start: u64, end: u64, extent: u64) -> u64 {
    let (kind, rest) = match http1::field(window, start as usize, end as usize, Extent::of_number(extent)) {
        Field::Other => (0, 0),
        Field::End => (1, 0),
        Field::Length(length) => (2, length),
        Field::Chunked => (3, 0),
        Field::Expect => (4, 0),
        Field::Unfinished(value, to) => (5, value as u64 | (to as u64) << 16),
        Field::Bad => (6, 0),
    };
    rest << KIND_BITS | kind
}

/// Makes functions of a window and numbers that return a number: global ones in the kernel, and plain ones elsewhere.
macro_rules! apart {
    ($(fn $name:ident($window:ident, $($number:ident),*) $body:expr;)*) => {
        mod call {
            use super::*;

            $(
                #[cfg(target_arch = "bpf")]
                #[expect(unsafe_code, reason = "a global function has a name of its own, and checks its pointers")]
                #[unsafe(no_mangle)]
                #[inline(never)]
                pub(super) extern "C" fn $name($window: *mut Window, $($number: u64),*) -> u64 {
                    // SAFETY: what the caller has a reference to; that it is not null is for the verifier to see.
                    let Some($window) = (unsafe { $window.as_mut() }) else { return 0 };
                    $body
                }

                #[cfg(not(target_arch = "bpf"))]
                pub(super) fn $name($window: &mut Window, $($number: u64),*) -> u64 {
                    $body
                }
            )*
        }
    };
}

apart! {
    fn fields(window, first) skim::behind(window, first as usize) as u64;
    fn request_line(window, start, end, extent) request_line_of(window, start, end, extent);
    fn field(window, start, end, extent) field_of(window, start, end, extent);
}
