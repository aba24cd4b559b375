//! `traffic-probe check`: what `run` would do with the same flags, what would be missing, and how to mend it.
//!
//! It calls the functions that `run` calls, in the same order, and attaches only where that leaves no trace ([`Trial`]): so it
//! cannot say yes where `run` says no.

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

use crate::{
    attribution::{Attribution, cgroup2_root},
    cli::OutputFormat,
    feature::{Feature, FeatureState},
    instance::Instance,
    kernel::{Trial, interfaces_in_vain},
    server::{self, Web},
    settings::Settings,
};

/// Everything that was found.
#[derive(Debug)]
pub struct Findings {
    /// In the order in which it matters.
    pub all: Vec<Finding>,
    /// What would be in force, and what would be missing; nothing if `run` would not come so far.
    pub features: Vec<FeatureState>,
}

/// Looks, and shows what was found on standard output. The exit code is 0 if `run` would work.
pub fn check(settings: &Settings, format: OutputFormat) -> io::Result<ExitCode> {
    let findings = look(settings);
    let text = match format {
        OutputFormat::Text => render::text(&findings.all, Marks::for_output(io::stdout().is_terminal())),
        OutputFormat::Json => render::json(&findings),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if findings.would_run() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks at everything that `run` does with these settings.
#[must_use]
pub fn look(settings: &Settings) -> Findings {
    let mut all = vec![privileges::look(), kernel::version(), kernel::btf()];
    all.extend(places::look());
    all.extend(kernel::memory_lock());
    let instance = Instance::of_node(&settings.lock);
    all.push(finding("lock", &instance, || settings.lock.display().to_string()));
    let web = Web::read(settings.web_config.as_deref());
    all.push(finding("web config", &web, || match &settings.web_config {
        Some(path) => path.display().to_string(),
        None => "none: plain HTTP without authentication".to_owned(),
    }));
    let bound = server::bind(settings.listen);
    all.push(finding("address", &bound, || format!("{} can be listened on", settings.listen)));
    all.extend(interfaces_in_vain(settings).map(|complaint| Finding::lesser("interfaces", complaint)));
    let mut findings = Findings { all, features: Vec::new() };
    findings.try_programs(settings);
    findings.all.extend(confinement::look());
    findings
}

impl Findings {
    /// Whether nothing stands in the way of `run`.
    #[must_use]
    pub fn would_run(&self) -> bool {
        self.all.iter().all(|finding| finding.verdict != Verdict::Missing)
    }

    /// Loads and attaches as `run` would; where that would not come so far, there is nothing to try.
    fn try_programs(&mut self, settings: &Settings) {
        if privileges::demand().is_err() {
            return;
        }
        let Ok(cgroup) = cgroup2_root() else { return };
        let Trial { mut features, untried } = match Trial::of(settings, &cgroup) {
            Ok(trial) => trial,
            Err(error) => return self.all.push(Finding::missing("programs", error.to_string())),
        };
        self.all.push(Finding::good("programs", "the required programs load"));
        if let Err(why) = Attribution::new(cgroup).listen() {
            features.lose(Feature::News, why);
        }
        for state in features.states() {
            self.all.push(match &state.missing {
                None => Finding::good(state.feature.name(), "in force"),
                Some(missing) => Finding::lesser(state.feature.name(), missing.to_string()),
            });
            self.features.push(state);
        }
        self.all.extend(untried.into_iter().map(|what| Finding::lesser("not tried", what)));
    }
}

/// What came of something that `run` ends without.
fn finding<T, E: std::fmt::Display>(
    subject: &'static str,
    tried: &Result<T, E>,
    good: impl FnOnce() -> String,
) -> Finding {
    match tried {
        Ok(_) => Finding::good(subject, good()),
        Err(error) => Finding::missing(subject, error.to_string()),
    }
}
