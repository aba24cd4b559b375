//! Every metric: its name, type, labels, unit and meaning. The reference in `docs/reference/metrics.md` is tested against this.

/// What is known of a metric before it has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the unit's name as Prometheus has it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in the order in which they are shown.
    pub labels: &'static [&'static str],
    /// What one is one of.
    pub unit: Unit,
    /// Since when it counts, if it is a counter or a histogram.
    pub since: Since,
    /// What it means: the text of `# HELP`.
    pub help: &'static str,
}

/// When a counter was zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// When the kernel side began to count.
    Counting,
    /// When the machine started.
    Boot,
    /// When the agent's process started.
    Process,
    /// At a time that is not known: when a cgroup was made.
    Unknown,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper edge, with a sum.
    Histogram,
    /// A gauge with the label `quantile`, which the text format keeps for summaries where a type is given.
    Untyped,
}

impl Kind {
    /// As `# TYPE` has it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// The unit of a metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count of what the name says.
    Count,
    /// Events per second.
    PerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// A part of one.
    Ratio,
}

impl Unit {
    /// Its name, which is the end of the metric's but for a counter's `_total`; none of what is counted.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Count | Self::PerSecond => None,
            Self::BytesPerSecond => Some("bytes_per_second"),
            Self::Bytes => Some("bytes"),
            Self::Seconds => Some("seconds"),
            Self::Ratio => Some("ratio"),
        }
    }
}

const SERVICE: &[&str] = &["service", "port", "role"];
const PROTOCOL: &[&str] = &["service", "port", "role", "protocol"];
/// The last one is empty without `--routes`.
const REQUEST: &[&str] = &["service", "port", "role", "protocol", "method", "status", "route"];
const OUTCOME: &[&str] = &["service", "port", "role", "protocol", "outcome"];
const CUT: &[&str] = &["service", "port", "role", "protocol", "by"];
const PHASE: &[&str] = &["service", "port", "role", "protocol", "phase"];
const DIRECTION: &[&str] = &["service", "port", "role", "direction", "transport"];
/// Where peers are counted.
const PEER: &[&str] = &["service", "port", "role", "peer", "peer_namespace", "peer_pod", "peer_service"];
const NODE: &[&str] = &["direction"];
const INTERFACE: &[&str] = &["interface", "direction", "family", "transport"];

// Every metric of the probe, and beneath them those of the agent's process.
macro_rules! metrics {
    ($all:ident: $($ident:ident = $name:literal, $kind:ident $(since $since:ident)?, $labels:expr, $unit:ident, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: $labels,
                unit: Unit::$unit,
                since: since!($($since)?),
                help: $help,
            };
        )*

        /// All of these.
        pub const $all: &[Metric] = &[$($ident),*];
    };
}

macro_rules! since {
    () => {
        Since::Counting
    };
    ($since:ident) => {
        Since::$since
    };
}

metrics! { ALL:
    REQUESTS = "traffic_requests_total", Counter, REQUEST, Count,
        "Requests that were answered, or that ended without a response because the server (status aborted) or the \
         client (cancelled) closed the connection.";
    REQUEST_OUTCOMES = "traffic_request_outcomes_total", Counter, OUTCOME, Count,
        "Requests by outcome: success, failure (by status, see --errors; or the server closed the connection before \
         or during the response) or cancelled (by the client). All three exist from the first request on.";
    RESPONSES_CUT_SHORT = "traffic_responses_cut_short_total", Counter, CUT, Count,
        "Responses that were incomplete when the connection ended, by who ended it first.";
    REQUEST_DURATION = "traffic_request_duration_seconds", Histogram, REQUEST, Seconds,
        "First byte of the request to last byte of its response, timed in the kernel. Excludes requests that clients \
         abandoned.";
    TIME_TO_FIRST_BYTE = "traffic_time_to_first_byte_seconds", Histogram, PROTOCOL, Seconds,
        "First byte of the request to first byte of its response, timed in the kernel.";
    REQUEST_PHASE = "traffic_request_phase_seconds", Histogram, PHASE, Seconds,
        "Where request time went: until the application read the request (queue), until it responded (service), \
         until the client had the response (delivery). Servers only.";
    REQUESTS_IN_FLIGHT = "traffic_requests_in_flight", Gauge, PROTOCOL, Count,
        "Requests whose response is not complete yet.";
    OLDEST_REQUEST_AGE = "traffic_oldest_request_age_seconds", Gauge, PROTOCOL, Seconds,
        "Age of the oldest request in flight; 0 if there is none. Absent without the feature oldest.";
    REQUESTS_PER_SECOND = "traffic_requests_per_second", Gauge, PROTOCOL, PerSecond,
        "Requests per second over the window, however they ended.";
    TRANSACTIONS_PER_SECOND = "traffic_transactions_per_second", Gauge, PROTOCOL, PerSecond,
        "Successful requests per second over the window.";
    REQUEST_LATENCY = "traffic_request_latency_seconds", Untyped,
        &["service", "port", "role", "protocol", "quantile"], Seconds,
        "Duration of requests over the window: average (avg) and quantiles. Absent without requests.";
    ERROR_RATIO = "traffic_error_ratio", Gauge, PROTOCOL, Ratio,
        "Fraction of requests over the window that failed. Absent without requests.";
    BYTES = "traffic_bytes_total", Counter, DIRECTION, Bytes,
        "Payload. Each byte of a TCP stream counts once, whatever was retransmitted; UDP datagrams count in full.";
    WIRE_BYTES = "traffic_wire_bytes_total", Counter, DIRECTION, Bytes,
        "Bytes of IP packets, including headers and retransmits.";
    PACKETS = "traffic_packets_total", Counter, DIRECTION, Count,
        "TCP packets on the wire, or UDP datagrams, as the service's sockets sent and received them.";
    BANDWIDTH = "traffic_bandwidth_bytes_per_second", Gauge, DIRECTION, BytesPerSecond,
        "Payload per second over the window.";
    CONNECTIONS_OPEN = "traffic_connections_open", Gauge, SERVICE, Count,
        "TCP connections that are open now.";
    CONNECTIONS_OPENED = "traffic_connections_opened_total", Counter, SERVICE, Count,
        "TCP connections that were established.";
    CONNECTIONS_CLOSED = "traffic_connections_closed_total", Counter, SERVICE, Count,
        "TCP connections that were closed, of those the probe knew.";
    CONNECTION_FAILURES = "traffic_connection_failures_total", Counter, SERVICE, Count,
        "Attempts at a TCP connection that were refused or timed out.";
    CONNECTION_RESETS = "traffic_connection_resets_total", Counter, SERVICE, Count,
        "TCP connections that ended with a reset, sent or received.";
    RETRANSMITS = "traffic_tcp_retransmits_total", Counter, SERVICE, Count,
        "TCP segments that the service's sockets retransmitted.";
    ROUND_TRIP = "traffic_tcp_rtt_seconds", Histogram, SERVICE, Seconds,
        "TCP's smoothed round-trip time per connection: at the handshake, then at intervals while it has traffic.";
    PEER_REQUESTS = "traffic_peer_requests_total", Counter, PEER, Count,
        "Requests by peer, however they ended.";
    PEER_ERRORS = "traffic_peer_errors_total", Counter, PEER, Count,
        "Failed requests by peer.";
    PEER_DURATION = "traffic_peer_duration_seconds_total", Counter, PEER, Seconds,
        "Total duration of requests by peer.";
    PEER_CONNECTIONS = "traffic_peer_connections_total", Counter, PEER, Count,
        "TCP connections established, by peer.";
    CONCURRENT_USERS = "traffic_concurrent_users", Gauge, &["service", "port", "transport"], Count,
        "Distinct client addresses with an open connection, or with a request or datagram in the users window.";
    TIER = "traffic_tier", Gauge, &["service", "port", "transport", "tier"], Count,
        "1 for the class of the service's traffic (low, normal or high), 0 for the others.";
    TIER_RISING = "traffic_tier_rising", Gauge, &["service", "port", "transport"], Count,
        "1 while the service is normal and its bandwidth is approaching high.";
    TIER_LOAD = "traffic_tier_load_ratio", Gauge, &["service", "port", "transport"], Ratio,
        "Load as a fraction of the threshold for high traffic, by the measure closest to it: 1 is high.";
    INTERFACE_BYTES = "traffic_interface_bytes_total", Counter, INTERFACE, Bytes,
        "Bytes of the frames that crossed the interface.";
    INTERFACE_PACKETS = "traffic_interface_packets_total", Counter, INTERFACE, Count,
        "Packets that crossed the interface.";
    INTERFACE_BANDWIDTH = "traffic_interface_bandwidth_bytes_per_second", Gauge, INTERFACE, BytesPerSecond,
        "Bytes per second across the interface over the window.";
    NODE_BYTES = "traffic_node_bytes_total", Counter, NODE, Bytes,
        "Bytes of the frames that entered and left the node, each counted once however many interfaces it crossed.";
    NODE_BANDWIDTH = "traffic_node_bandwidth_bytes_per_second", Gauge, NODE, BytesPerSecond,
        "Bytes per second that entered and left the node over the window.";
    SERVICE_CPU = "traffic_service_cpu_seconds_total", Counter since Unknown, &["service"], Seconds,
        "CPU time of the service's cgroups. Only for services with cgroups of their own.";
    SERVICE_MEMORY = "traffic_service_memory_bytes", Gauge, &["service"], Bytes,
        "Memory charged to the service's cgroups, including the page cache of its files.";
    SERVICE_PRESSURE = "traffic_service_pressure_seconds_total", Counter since Unknown, &["service", "resource", "extent"], Seconds,
        "How long some of the service's tasks (some), or all of them (full), were stalled on a resource.";
    NODE_CPU = "traffic_node_cpu_seconds_total", Counter since Boot, &["mode"], Seconds,
        "CPU time of all CPUs since boot, by mode.";
    NODE_CPUS = "traffic_node_cpus", Gauge, &[], Count,
        "CPUs that are online.";
    NODE_MEMORY = "traffic_node_memory_bytes", Gauge, &["state"], Bytes,
        "Memory used, and available without swapping.";
    NODE_SWAP = "traffic_node_swap_bytes", Gauge, &["state"], Bytes,
        "Swap space used and available.";
    NODE_LOAD = "traffic_node_load", Gauge, &["period"], Count,
        "Load average: tasks running, or waiting for a CPU or device.";
    NODE_PRESSURE = "traffic_node_pressure_seconds_total", Counter since Boot, &["resource", "extent"], Seconds,
        "How long some of the node's tasks (some), or all of them (full), were stalled on a resource.";
    FEATURE = "traffic_probe_feature", Gauge, &["feature"], Count,
        "1 for each enabled feature that is in force, 0 for one that the kernel or missing privileges prevent.";
    UNMEASURED = "traffic_probe_unmeasured_total", Counter, &["reason"], Count,
        "Traffic that could not be measured, by reason.";
    TABLE_ENTRIES = "traffic_probe_table_entries", Gauge, &["table"], Count,
        "Entries in use in a table of the kernel side.";
    TABLE_CAPACITY = "traffic_probe_table_capacity", Gauge, &["table"], Count,
        "Capacity of a table of the kernel side, in entries.";
    TABLE_BYTES = "traffic_probe_table_bytes", Gauge, &["table"], Bytes,
        "Kernel memory that a table of the kernel side takes.";
    COLLECTION = "traffic_probe_collection_seconds", Gauge, &[], Seconds,
        "Duration of the last read of the kernel's tables.";
    BUILD_INFO = "traffic_probe_build_info", Gauge, &["version"], Count,
        "Always 1; the label has the agent's version.";
}

// In the words of the Prometheus library, which reads them.
metrics! { OF_PROCESS:
    PROCESS_CPU = "process_cpu_seconds_total", Counter since Process, &[], Seconds,
        "Total user and system CPU time spent in seconds.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, &[], Count,
        "Maximum number of open file descriptors.";
    PROCESS_OPEN_FDS = "process_open_fds", Gauge, &[], Count,
        "Number of open file descriptors.";
    PROCESS_RESIDENT = "process_resident_memory_bytes", Gauge, &[], Bytes,
        "Resident memory size in bytes.";
    PROCESS_START = "process_start_time_seconds", Gauge, &[], Seconds,
        "Start time of the process since unix epoch in seconds.";
    PROCESS_THREADS = "process_threads", Gauge, &[], Count,
        "Number of OS threads in the process.";
    PROCESS_VIRTUAL = "process_virtual_memory_bytes", Gauge, &[], Bytes,
        "Virtual memory size in bytes.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("traffic_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.help.ends_with('.'), "{name}: help is a sentence");
            let unit = match metric.unit {
                Unit::Count => continue,
                Unit::PerSecond => "per_second",
                unit => unit.label().unwrap(),
            };
            assert!(name.trim_end_matches("_total").ends_with(&format!("_{unit}")), "{name}");
            // What a format would have to escape.
            assert!(!metric.help.contains(['\\', '"', '\n']), "{name}");
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
