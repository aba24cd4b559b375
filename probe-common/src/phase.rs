//! Where the time of a request went, as its server's kernel sees it.

/// A part of a request's time.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// First byte arrived, until the application reads.
    Queue = 0,
    /// Read, until the first byte of the response. With the queue it is the time to first byte.
    Service = 1,
    /// First byte of the response, until the client has acknowledged the last one.
    Delivery = 2,
}

impl Phase {
    /// Every phase, in the order in which they follow each other.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Service, Self::Delivery];

    /// The value of the label `phase`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Service => "service",
            Self::Delivery => "delivery",
        }
    }
}
