//! Why something escaped measurement.

/// A way in which a request, a byte or a user can escape: the label of `traffic_probe_unmeasured_total`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A response to a request that was sent before the probe started.
    JoinedLate = 0,
    /// The table of services was full: counted under `other`.
    ServicesFull = 1,
    /// The table of latency buckets was full: the request is not counted.
    LatencyFull = 2,
    /// The table of clients was full: the user is estimated from a sample.
    ClientsFull = 3,
    /// More requests in flight on a connection than the engine keeps times of: counted with the time of the one before.
    PipelineTooDeep = 4,
    /// A message's first line was lost between segments: what it began is not counted.
    HeadLost = 5,
    /// The kernel would not let the packet's bytes be read.
    Unreadable = 6,
    /// No memory for a socket's state: the connection is not counted.
    SocketState = 7,
    /// More message heads in one packet than one run of a program may read.
    PacketTooDense = 8,
    /// Another CPU was at the same table's bucket: a lost update.
    Contended = 9,
    /// A message with framing that contradicts itself: its connection is no longer read.
    BadFraming = 10,
    /// All buffers of this CPU were in use by runs that this one interrupted.
    NoBuffer = 11,
    /// A connection that speaks what the engine has no parser for: its bytes are counted, its requests are not.
    OpaqueProtocol = 12,
    /// A connection whose requests are not read because the kernel lacks `bpf_loop` (5.17).
    KernelTooOld = 13,
    /// More answers on their way to a client than the engine keeps times of: no delivery time.
    DeliveriesFull = 14,
    /// A connection ended before the client had acknowledged an answer: no delivery time.
    Undelivered = 15,
    /// The sample of those for whom the table of clients has no room was full too: users are missing from the estimate, as
    /// many as are told.
    SampleFull = 16,
    /// No room for another route of a service: counted under the route `other`.
    RoutesFull = 17,
    /// A PROXY header that makes no sense: the connection is taken for the proxy's own.
    ProxyHeader = 18,
    /// A request whose `X-Forwarded-For` or `Forwarded` names no client that can be told.
    ForwardedUnread = 19,
    /// A segment was received that TCP does not take, by its numbers: only its packet is counted.
    OutOfWindow = 20,
    /// A service has as many latency entries as its quota: counted under method `OTHER` and the class of the status.
    ServiceSeriesFull = 21,
    /// No room for another peer of a service: counted under the peer `other`.
    PeersFull = 22,
    /// Where a message ends was lost between segments: it counts, with the time of the last packet that may be its.
    EndLost = 23,
    /// A response that no request waited for.
    UnsolicitedResponse = 24,
}

impl Reason {
    /// Every reason, indexed by its value.
    pub const ALL: [Self; 25] = [
        Self::JoinedLate,
        Self::ServicesFull,
        Self::LatencyFull,
        Self::ClientsFull,
        Self::PipelineTooDeep,
        Self::HeadLost,
        Self::Unreadable,
        Self::SocketState,
        Self::PacketTooDense,
        Self::Contended,
        Self::BadFraming,
        Self::NoBuffer,
        Self::OpaqueProtocol,
        Self::KernelTooOld,
        Self::DeliveriesFull,
        Self::Undelivered,
        Self::SampleFull,
        Self::RoutesFull,
        Self::ProxyHeader,
        Self::ForwardedUnread,
        Self::OutOfWindow,
        Self::ServiceSeriesFull,
        Self::PeersFull,
        Self::EndLost,
        Self::UnsolicitedResponse,
    ];

    /// How many reasons there are: the size of the kernel's table of them.
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// The value of the label `reason`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::JoinedLate => "joined_late",
            Self::ServicesFull => "services_full",
            Self::LatencyFull => "latency_full",
            Self::ClientsFull => "clients_full",
            Self::PipelineTooDeep => "pipeline_too_deep",
            Self::HeadLost => "head_lost",
            Self::Unreadable => "unreadable",
            Self::SocketState => "socket_state",
            Self::PacketTooDense => "packet_too_dense",
            Self::Contended => "contended",
            Self::BadFraming => "bad_framing",
            Self::NoBuffer => "no_buffer",
            Self::OpaqueProtocol => "opaque_protocol",
            Self::KernelTooOld => "kernel_too_old",
            Self::DeliveriesFull => "deliveries_full",
            Self::Undelivered => "undelivered",
            Self::SampleFull => "sample_full",
            Self::RoutesFull => "routes_full",
            Self::ProxyHeader => "proxy_header",
            Self::ForwardedUnread => "forwarded_unread",
            Self::OutOfWindow => "out_of_window",
            Self::ServiceSeriesFull => "service_series_full",
            Self::PeersFull => "peers_full",
            Self::EndLost => "end_lost",
            Self::UnsolicitedResponse => "unsolicited_response",
        }
    }
}
