//! Eight bytes in a word, looked at together ("SIMD within a register").

/// A one in each byte.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte.
pub(crate) const HIGHS: u64 = ONES * 0x80;

/// The bit of each byte that makes an ASCII letter lower case.
pub(crate) const LOWER: u64 = ONES * 0x20;

/// The same byte eight times.
pub(crate) const fn all(byte: u8) -> u64 {
    ONES * byte as u64
}

/// The high bit of each byte that is zero: exact up to the lowest one.
#[inline(always)]
pub(crate) const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The high bit of each byte that is not zero: exact for every byte.
#[inline(always)]
pub(crate) const fn nonzeros(word: u64) -> u64 {
    ((word & !HIGHS).wrapping_add(!HIGHS) | word) & HIGHS
}

/// How many bytes of a word, which is not zero, lie above that of its highest bit, which is its byte's highest.
#[inline(always)]
pub(crate) const fn bytes_above(word: u64) -> usize {
    bytes_below(word.swap_bytes())
}

/// How many bytes of a word, which is not zero, lie below that of its lowest bit, which is its byte's highest. BPF has no
/// instruction to count trailing zeros before its newest kernels. Without a branch: the verifier would follow each.
#[inline(always)]
pub(crate) const fn bytes_below(word: u64) -> usize {
    // Below that bit all are ones now: a one in each byte up to its own, which the product adds up in its highest byte.
    let up_to_it = word.wrapping_sub(1) & ONES;
    (up_to_it.wrapping_mul(ONES) >> 56).wrapping_sub(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_zero_is_found_wherever_it_is() {
        for place in 0..8 {
            let word = !(0xff << (8 * place));
            assert_eq!(bytes_below(zeros(word)), place, "{word:x}");
        }
        // A one above a zero is taken for a zero, which changes nothing below.
        assert_eq!(bytes_below(zeros(0x0100)), 0);
        assert_eq!(zeros(ONES), 0);
        assert_eq!(zeros(all(b'\n') ^ all(b'\n')), HIGHS);
        assert_eq!(nonzeros(0x80_7f_01_00_ff_00_00_02), 0x80_80_80_00_80_00_00_80);
        assert_eq!(bytes_above(nonzeros(0x00_00_01_00_ff_00_00_02)), 2);
    }
}
