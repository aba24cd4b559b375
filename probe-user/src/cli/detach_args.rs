//! The flags of `traffic-probe detach`, and those that it shares with `run`.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser, builder::TypedValueParser};

/// Flags of `traffic-probe detach`.
#[derive(Clone, Debug, Args)]
pub struct DetachArgs {
    /// Which agent's traces.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

/// Which agent this is, of those that there may be one after the other.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Survival")]
pub struct InstanceArgs {
    /// Directory on a bpffs, such as /sys/fs/bpf/traffic-probe, for programs and counters that outlive the agent
    /// [default: none]
    #[arg(long, value_name = "DIR", env = "TRAFFIC_PROBE_PIN")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub pin: Option<PathBuf>,
    /// Directory whose lock allows one agent per node; created if missing
    #[arg(long, value_name = "DIR", default_value = "/run/traffic-probe", env = "TRAFFIC_PROBE_LOCK")]
    pub lock: PathBuf,
}
