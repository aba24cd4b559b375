//! The allocator's hold on memory.

/// Gives back to the system what was freed.
///
/// Loading takes more than all that comes after it: the object, the kernel's types and the verifier's log are tens of
/// megabytes, and glibc keeps most of what was freed beneath whatever is still in use. musl gives it back by itself.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
