//! Two instructions that the compiler's BPF target does not make by itself, and what stands for them elsewhere.
//!
//! Scanning a head is loading words that begin wherever a line does. The target makes eight loads, seven shifts and seven unions of
//! each, since it may not assume that the processor has such a load. The processors that the probe runs on have (the kernel's
//! `HAVE_EFFICIENT_UNALIGNED_ACCESS`), and their kernels' verifiers allow it in a map's value, though not on the stack: so it
//! can be no setting of the compiler's.

/// The eight bytes `OFFSET` bytes into others, the first one lowest.
#[inline(always)]
pub(crate) fn word<const OFFSET: usize, const SIZE: usize>(bytes: &[u8; SIZE]) -> u64 {
    const { assert!(OFFSET + 8 <= SIZE, "the word ends behind the bytes") };
    load::<OFFSET>(bytes.as_ptr(), bytes)
}

#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
fn load<const OFFSET: usize>(_: *const u8, bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[OFFSET..OFFSET + 8]);
    u64::from_le_bytes(word)
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
#[expect(unsafe_code, reason = "the instruction cannot be had otherwise")]
fn load<const OFFSET: usize>(place: *const u8, _: &[u8]) -> u64 {
    let word: u64;
    // SAFETY: reads eight bytes of an array, as `word` has made sure, and does nothing else. The array is not on the stack: it
    // is a part of a window, and those lie in maps.
    unsafe {
        core::arch::asm!(
            "{word} = *(u64 *)({place} + {offset})",
            word = out(reg) word,
            place = in(reg) place,
            offset = const OFFSET,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    u64::from_le(word)
}

/// The same value, which has been in memory: of what lies in a map the verifier knows nothing.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "what the compiler makes of a volatile access takes a place on the stack as well"
)]
pub(crate) fn by_way_of(place: &mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: writes and reads what the reference is to.
    unsafe {
        core::arch::asm!(
            "*(u64 *)({place} + 0) = {value}",
            "{value} = *(u64 *)({place} + 0)",
            place = in(reg) place,
            value = inout(reg) value,
            options(nostack, preserves_flags),
        );
    }
    value
}

/// The same value: nobody but the verifier has to forget anything.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn by_way_of(_: &mut u64, value: u64) -> u64 {
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_the_lowest() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(word::<1, 9>(&bytes), 0x0908_0706_0504_0302);
    }
}
