//! The command line: what was typed, or set in the environment, before it means anything.
//!
//! Parsing has no side effects and knows each flag by itself; what flags mean together is decided in
//! [`RunArgs::settings`], which gives what the program needs.

mod cluster_args;
mod detach_args;
mod duration;
mod layers;
mod listener_args;
mod metrics_args;
mod monitor_args;
mod peer_args;
#[cfg(test)]
mod reference;
mod replay_args;
mod report_args;
mod run_args;

use std::{
    io::{self, Write},
    str::FromStr,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use cluster_args::ClusterArgs;
pub use detach_args::{DetachArgs, InstanceArgs};
pub use layers::{BadCommand, Setting};
use listener_args::ListenerArgs;
use metrics_args::MetricsArgs;
pub use monitor_args::MonitorArgs;
use peer_args::PeerArgs;
pub use replay_args::ReplayArgs;
pub use report_args::ReportArgs;
pub use run_args::{BadSettings, RunArgs};

/// Reports requests, latency, errors, bandwidth and users of every service on this node, counted in the kernel.
#[derive(Debug, Parser)]
#[command(name = "traffic-probe", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What traffic-probe can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count this node's traffic and serve it at /metrics until interrupted
    Run(RunArgs),
    /// Ask a running agent for each server's figures and tier, and what the tier calls for
    Report(ReportArgs),
    /// Run a Postman collection against an API, repeatedly or once, and report the results
    Monitor(MonitorArgs),
    /// Try what `run` would do with the same flags, and show what would be missing and how to fix it
    Check(CheckArgs),
    /// Count a packet capture exactly as live traffic, and show the result
    Replay(ReplayArgs),
    /// Show the settings `run` would use, and where each comes from
    Config(ConfigArgs),
    /// Remove everything that a killed agent, or one with pinned state, left in the kernel
    Detach(DetachArgs),
}

/// Flags of `traffic-probe config`: those of `run`, since it is their effect that it shows.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_FORMAT")]
    pub format: OutputFormat,
    /// What `run` would be given.
    #[command(flatten)]
    pub run: RunArgs,
}

impl ConfigArgs {
    /// Writes the settings, if they make sense together.
    pub fn show(self, to: &mut impl Write) -> Result<io::Result<()>, BadSettings> {
        let shown = self.run.settings_shown.clone();
        let tiers = self.run.settings()?.tiers;
        let write = |to: &mut dyn Write| match self.format {
            OutputFormat::Text => {
                shown.iter().try_for_each(|setting| {
                    writeln!(to, "{:<23} {:<28} {}", setting.name, setting.value, setting.source)
                })?;
                writeln!(to, "{:<23} {tiers}", "tiers")
            }
            OutputFormat::Json => {
                let document = serde_json::json!({ "settings": shown, "tiers": tiers.to_string() });
                writeln!(to, "{document:#}")
            }
        };
        Ok(write(to))
    }
}

/// Flags of `traffic-probe check`: those of `run`, since it says what would become of that.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t, env = "TRAFFIC_PROBE_FORMAT")]
    pub format: OutputFormat,
    /// What `run` would be given.
    #[command(flatten)]
    pub run: RunArgs,
}

/// How a command shows what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Lines, for people.
    #[default]
    Text,
    /// One JSON document, for programs.
    Json,
}

/// Flags about logs, which every command has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Log level (off, error, warn, info, debug, trace), optionally by module: `info,probe_user=debug`
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        default_value = "info",
        env = "TRAFFIC_PROBE_LOG_LEVEL"
    )]
    #[arg(value_parser = log_filter)]
    pub log_level: LogFilter,
    /// Format of log lines on standard error
    #[arg(long, global = true, value_enum, default_value_t, env = "TRAFFIC_PROBE_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

/// A filter of log lines that is known to be well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

fn log_filter(typed: &str) -> Result<LogFilter, String> {
    // A misspelt level would be taken for the name of a module, and silence all others.
    let misspelt = typed
        .split(',')
        .find(|part| !part.contains(['=', '[']) && LevelFilter::from_str(part.trim()).is_err());
    if let Some(part) = misspelt {
        return Err(format!("`{part}` is not a level: choose off, error, warn, info, debug or trace"));
    }
    match EnvFilter::try_new(typed) {
        Ok(_) => Ok(LogFilter(typed.to_owned())),
        Err(error) => {
            Err(format!("{error}: write a level, or levels by module such as info,probe_user=debug"))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help_and_an_environment_variable() {
        for command in Cli::command().get_subcommands() {
            for flag in
                command.get_arguments().filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
            {
                assert!(flag.get_help().is_some(), "{} has no help", flag.get_id());
                let variable = flag.get_env().unwrap_or_else(|| panic!("{} has no variable", flag.get_id()));
                assert!(variable.to_string_lossy().starts_with("TRAFFIC_PROBE_"));
            }
        }
    }

    #[test]
    fn an_unknown_flag_is_answered_with_the_nearest() {
        let error = Cli::try_parse_from(["traffic-probe", "run", "--intervall", "1s"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--interval"), "{error}");
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        assert!(log_filter("info").is_ok());
        assert!(log_filter("warn,probe_user=debug").is_ok());
        assert!(log_filter("inof").unwrap_err().contains("`inof` is not a level"));
        assert!(log_filter("info,probe_user=loud").is_err());
    }
}
