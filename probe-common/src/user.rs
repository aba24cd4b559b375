//! The clients of a service.

/// Key of a client: whose, and its address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The client's address; IPv4 as IPv4-mapped IPv6, so that a client is one user whichever family the socket has.
    pub address: [u8; 16],
    /// The service's index.
    pub service: u32,
}

/// What the kernel keeps of a client.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its open connections to the service. Signed: a close that meets a forgotten client must not wrap.
    pub open: i64,
    /// When it last made a request on a connection that has closed, or sent a datagram, in nanoseconds of the monotonic
    /// clock.
    pub last_request: u64,
}

/// An IPv4 address, in network order, as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
#[inline(always)]
#[must_use]
pub const fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
