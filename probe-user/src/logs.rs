//! Where log lines go, ours and those of libraries and of the kernel side: standard error, beside the live line.

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

use crate::{
    cli::{LogArgs, LogFormat},
    live::{Screen, ScreenKind},
};

/// Begins to log. What comes through the `log` crate (aya's messages) is taken in too.
pub fn init(args: &LogArgs, screen: &Screen) -> anyhow::Result<()> {
    let filter = EnvFilter::new(&args.log_level.0);
    let colours = screen.kind() == ScreenKind::Terminal && std::env::var_os("NO_COLOR").is_none();
    let builder =
        fmt().with_env_filter(filter).with_ansi(colours).with_target(false).with_writer(screen.clone());
    // The writer never fails. Should it, `tracing_subscriber` would complain by `eprintln!`, which panics where that fails, too.
    let builder = builder.log_internal_errors(false);
    match args.log_format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().finish().try_init(),
    }
    .context("cannot begin to log")
}
