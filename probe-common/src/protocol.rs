//! The application protocols that the engine knows, and the HTTP methods.

/// What a connection speaks.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Nothing has been said yet.
    Unknown = 0,
    /// Something that the engine has no parser for: bytes and connections are counted, requests are not.
    Opaque = 1,
    /// HTTP/1.0 or HTTP/1.1 (RFC 9112).
    Http1 = 2,
}

impl Protocol {
    /// Every protocol with requests, for readers of maps and tables.
    pub const MEASURED: [Self; 1] = [Self::Http1];

    /// Its place among those with requests; 0 for one that has none.
    #[inline(always)]
    #[must_use]
    pub const fn measured(self) -> usize {
        (self as usize).saturating_sub(Self::Http1 as usize)
    }

    /// The value of the label `protocol`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Opaque => "opaque",
            Self::Http1 => "http1",
        }
    }

    /// The protocol that a map's key names, if it is one that has requests.
    #[must_use]
    pub fn from_key(value: u8) -> Option<Self> {
        Self::MEASURED.into_iter().find(|protocol| *protocol as u8 == value)
    }
}

/// The method of a request: those of RFC 9110 section 9, `PATCH` (RFC 5789) and `QUERY`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Any token that is none of the others. One value for all, so that a client cannot invent series.
    Other = 0,
    /// `GET`
    Get = 1,
    /// `HEAD`
    Head = 2,
    /// `POST`
    Post = 3,
    /// `PUT`
    Put = 4,
    /// `DELETE`
    Delete = 5,
    /// `CONNECT`
    Connect = 6,
    /// `OPTIONS`
    Options = 7,
    /// `TRACE`
    Trace = 8,
    /// `PATCH`
    Patch = 9,
    /// `QUERY`
    Query = 10,
}

impl Method {
    /// Every method, indexed by its value in a map's key.
    pub const ALL: [Self; 11] = [
        Self::Other,
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Connect,
        Self::Options,
        Self::Trace,
        Self::Patch,
        Self::Query,
    ];

    /// The method of a number, [`Self::Other`] of any that is none's. Not by [`Self::ALL`]: an array in read-only data is one
    /// lookup more in the kernel.
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Get,
            2 => Self::Head,
            3 => Self::Post,
            4 => Self::Put,
            5 => Self::Delete,
            6 => Self::Connect,
            7 => Self::Options,
            8 => Self::Trace,
            9 => Self::Patch,
            10 => Self::Query,
            _ => Self::Other,
        }
    }

    /// The value of the label `method`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Other => "OTHER",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Query => "QUERY",
        }
    }

    /// The method that a map's key names.
    #[must_use]
    pub fn from_key(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }
}
