//! What a test run is given beside its packet: a `struct __sk_buff` (`include/uapi/linux/bpf.h`), as `BPF_PROG_TEST_RUN` takes it
//! for programs of TC.

/// Offsets of its fields, and its size.
const TSTAMP: usize = 152;
const GSO_SEGS: usize = 164;
const SIZE: usize = 192;

/// The fields that tests set; all others are zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// When the packet was sent, in nanoseconds of the monotonic clock, as TCP has it of what it sends.
    pub tstamp: u64,
    /// How many packets a buffer of segmentation offload stands for.
    pub gso_segs: u32,
}

impl Context {
    /// As the kernel takes it.
    #[must_use]
    pub fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[TSTAMP..TSTAMP + 8].copy_from_slice(&self.tstamp.to_ne_bytes());
        bytes[GSO_SEGS..GSO_SEGS + 4].copy_from_slice(&self.gso_segs.to_ne_bytes());
        bytes
    }
}
