//! Atomic addition, the one atomic operation that kernel 5.10 has (`BPF_XADD`), and exchange (5.12).
//!
//! As assembly, because the compiler offers no atomic operations for the oldest BPF, and its own choice of instruction
//! for them differs between versions.

use core::arch::asm;

/// Adds to a counter that another CPU, or a run that interrupts this one, may be adding to.
///
/// # Safety
/// `counter` points into a map's value, aligned to 8 bytes.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, value: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {value}", counter = in(reg) counter, value = in(reg) value);
    };
}

/// Adds to a number, and returns what it was. Kernel 5.12 (`BPF_FETCH`).
///
/// # Safety
/// `number` points into a map's value, aligned to 8 bytes.
#[inline(always)]
pub unsafe fn fetch_add(number: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({number} + 0), {value})",
            number = in(reg) number,
            value = inout(reg) value,
        );
    };
    value
}

/// Puts a value in the place of the one that is expected there, if it is, and returns what was there. Kernel 5.12
/// (`BPF_CMPXCHG`).
///
/// # Safety
/// `place` points into a map's value, aligned to 8 bytes.
#[inline(always)]
pub unsafe fn replace(place: *mut u64, expected: u64, value: u64) -> u64 {
    let found;
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {value})",
            place = in(reg) place,
            value = in(reg) value,
            inlateout("r0") expected => found,
        );
    };
    found
}

/// Puts a value in the place of another, and returns that. Kernel 5.12 (`BPF_XCHG`).
///
/// # Safety
/// `place` points into a map's value, aligned to 8 bytes.
#[inline(always)]
pub unsafe fn exchange(place: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: as the caller promises.
    unsafe {
        asm!("{value} = xchg_64({place} + 0, {value})", place = in(reg) place, value = inout(reg) value);
    };
    value
}
