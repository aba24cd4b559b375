//! Where it was measured, and whether the machine was quiet.

use std::{fs, time::Duration};

use anyhow::Result;
use probe_tests::{process, tool};
use probe_user::attribution::cgroup2_root;
use serde_json::{Value, json};

use crate::options::Options;

/// The machine.
pub(crate) struct Machine {
    kernel: String,
    processor: String,
    cpus: usize,
    rounds: usize,
    load: Duration,
    /// Programs at the root cgroup that are not ours: then "nothing attached" is not nothing.
    others: usize,
}

/// Looks at it before anything is measured.
pub(crate) fn describe(options: &Options) -> Result<Machine> {
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let others = attached_at_root()?;
    if others > 0 {
        eprintln!(
            "bench: {others} programs of somebody else are attached to the root cgroup: what is called \"nothing\" bears \
             their cost"
        );
    }
    Ok(Machine {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        processor: model.map_or("a processor without a name", |(_, name)| name).to_owned(),
        cpus: information.lines().filter(|line| line.starts_with("processor")).count(),
        rounds: options.rounds(),
        load: options.load(),
        others,
    })
}

/// How many programs are attached to the root cgroup.
fn attached_at_root() -> Result<usize> {
    let mut bpftool = tool::command("bpftool")?;
    bpftool.args(["--json", "cgroup", "show"]).arg(cgroup2_root()?);
    let said = process::run_well(&mut bpftool, Duration::from_secs(10))?;
    let programs: Value = serde_json::from_str(said.trim()).unwrap_or_default();
    Ok(programs.as_array().map_or(0, Vec::len))
}

impl Machine {
    /// A paragraph.
    pub(crate) fn to_markdown(&self) -> String {
        let quiet = match self.others {
            0 => String::new(),
            others => format!(" **{others} programs of somebody else were attached to the root cgroup.**"),
        };
        format!(
            "Kernel {}, {} CPUs ({}), {} rounds of {} s each.{quiet}\n",
            self.kernel,
            self.cpus,
            self.processor,
            self.rounds,
            self.load.as_secs(),
        )
    }

    /// The same for machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kernel": self.kernel,
            "processor": self.processor,
            "cpus": self.cpus,
            "rounds": self.rounds,
            "load_seconds": self.load.as_secs_f64(),
            "others_at_root_cgroup": self.others,
        })
    }
}
