//! The flags of `traffic-probe replay`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser, value_parser};

use super::{OutputFormat, duration};
use crate::replay::filter::Filter;

/// Flags of `traffic-probe replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Captures, pcap or pcapng, merged by time; `-` reads standard input
    #[arg(value_name = "FILE", required = true, env = "TRAFFIC_PROBE_CAPTURE")]
    pub files: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_FORMAT")]
    pub format: OutputFormat,
    /// Break requests down by route, a template of the path: /users/4711?a=b counts as /users/*
    #[arg(long, env = "TRAFFIC_PROBE_ROUTES", value_parser = BoolishValueParser::new())]
    pub routes: bool,
    /// Count only matching packets: `port 80 and not host 10.0.0.7`, `net 10.0.0.0/8 and after 5s and before
    /// 2026-01-31T12:00:00Z`; a duration counts from the first packet [default: all packets]
    #[arg(long, value_name = "FILTER", env = "TRAFFIC_PROBE_FILTER")]
    pub filter: Option<Filter>,
    /// List this many of the slowest requests
    #[arg(long, value_name = "N", default_value_t = 0, env = "TRAFFIC_PROBE_TOP")]
    pub top: u16,
    /// Show figures over time, in intervals of this length [default: off]
    #[arg(long, value_name = "DURATION", env = "TRAFFIC_PROBE_EVERY", value_parser = interval)]
    pub every: Option<Duration>,
    /// Show connections, requests and bytes of each client address
    #[arg(long, env = "TRAFFIC_PROBE_PEERS", value_parser = BoolishValueParser::new())]
    pub peers: bool,
    /// Connections followed at a time; beyond that, the longest silent are dropped and counted as `evicted`
    #[arg(long, value_name = "N", default_value_t = 65_536, env = "TRAFFIC_PROBE_MAX_CONNECTIONS")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 24))]
    pub max_connections: u32,
}

/// An interval that is longer than nothing.
fn interval(typed: &str) -> Result<Duration, String> {
    match duration::parse(typed)? {
        Duration::ZERO => {
            Err("an interval must be longer than zero: write 1s or 100ms, for example".to_owned())
        }
        interval => Ok(interval),
    }
}
