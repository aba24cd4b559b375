//! How the agent names a connection that is older than the probe to the kernel side.

/// A connection by its ends, in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Older {
    /// Address of the end on this machine; IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
    pub local: [u32; 4],
    /// Address of the other end, likewise.
    pub remote: [u32; 4],
    /// Port of the end on this machine.
    pub local_port: u16,
    /// Port of the other end.
    pub remote_port: u16,
    /// 4 or 6: how the socket is looked up. An IPv6 socket that speaks to an IPv4 address is found as IPv4.
    pub family: u32,
    /// Name of the process that holds it; empty if that is not known.
    pub command: [u8; 16],
    /// Its number, or 0.
    pub process: u32,
}

impl Older {
    /// Whether it is looked up as IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.family == 4
    }

    /// The bytes that the kernel side reads.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        let words = self.local.iter().chain(&self.remote).flat_map(|word| word.to_ne_bytes());
        let ports = [self.local_port, self.remote_port].into_iter().flat_map(u16::to_ne_bytes);
        let rest =
            self.family.to_ne_bytes().into_iter().chain(self.command).chain(self.process.to_ne_bytes());
        for (to, from) in bytes.iter_mut().zip(words.chain(ports).chain(rest)) {
            *to = from;
        }
        bytes
    }
}
