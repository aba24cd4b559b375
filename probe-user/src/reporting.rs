//! `traffic-probe report`: each service's tier and figures, and what the tier calls for, as an agent's API tells them.

mod ask;
mod credentials;
mod render;
mod summary;

use std::io::{self, Write};

use anyhow::Context;

use crate::{
    api::Services,
    cli::{OutputFormat, ReportArgs},
};

pub use credentials::Credentials;

/// What is asked for: callers have no tier.
const SERVERS: &str = "/api/v1/services?role=server";

/// Asks an agent, and shows what it says of its servers.
pub fn report(flags: &ReportArgs) -> anyhow::Result<()> {
    let services: Services = ask::agent(&flags.url, flags.ca.as_deref(), &flags.credentials, SERVERS)?;
    let report = summary::Report::of(&services);
    let shown = match flags.format {
        OutputFormat::Text => render::text(&report),
        OutputFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    match io::stdout().lock().write_all(shown.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot show the report"),
    }
}
