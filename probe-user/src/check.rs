//! `traffic-probe check`: what this kernel and these privileges allow, what is missing, and how to mend it.

mod confinement;
mod finding;
mod kernel;
mod places;
pub mod privileges;
mod render;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

pub use finding::{Finding, Verdict};
use render::Marks;

use crate::cli::{CheckArgs, OutputFormat};

/// Looks, and shows what was found on standard output. The exit code is 0 if `run` would work.
pub fn check(args: CheckArgs) -> io::Result<ExitCode> {
    let findings = look();
    let text = match args.format {
        OutputFormat::Text => render::text(&findings, Marks::for_output(io::stdout().is_terminal())),
        OutputFormat::Json => render::json(&findings),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if would_run(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that was found, in the order in which it matters.
#[must_use]
pub fn look() -> Vec<Finding> {
    let mut findings = vec![privileges::look(), kernel::version(), kernel::btf()];
    findings.extend(places::look());
    findings.extend(kernel::features());
    findings.extend(confinement::look());
    findings
}

/// Whether nothing stands in the way of `run`.
#[must_use]
pub fn would_run(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.verdict != Verdict::Missing)
}
