//! The flags of `traffic-probe replay`.

use std::path::PathBuf;

use clap::{Args, builder::BoolishValueParser, value_parser};

use super::OutputFormat;

/// Flags of `traffic-probe replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The capture, pcap or pcapng; `-` reads standard input
    #[arg(value_name = "FILE", env = "TRAFFIC_PROBE_CAPTURE")]
    pub file: PathBuf,
    /// How to show what was counted
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_FORMAT")]
    pub format: OutputFormat,
    /// Tell requests apart by a template of their path, too: /users/4711?a=b is counted as route /users/*
    #[arg(long, env = "TRAFFIC_PROBE_ROUTES", value_parser = BoolishValueParser::new())]
    pub routes: bool,
    /// How many connections to follow at a time; where there are more, those that were silent longest are given up,
    /// and counted as `evicted`
    #[arg(long, value_name = "N", default_value_t = 65_536, env = "TRAFFIC_PROBE_MAX_CONNECTIONS")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 24))]
    pub max_connections: u32,
}
