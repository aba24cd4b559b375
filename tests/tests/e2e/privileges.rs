//! What the agent has given up once it runs, as the kernel tells of each of its threads.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use probe_tests::agent::Agent;

/// What procfs tells of a thread.
struct Thread(BTreeMap<String, String>);

impl Thread {
    fn read(path: &std::path::Path) -> Result<Self> {
        let text = fs::read_to_string(path.join("status"))?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(Self(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
    }

    fn field(&self, name: &str) -> Result<&str> {
        Ok(self.0.get(name).with_context(|| format!("no {name}"))?)
    }

    fn capabilities(&self) -> Result<u64> {
        Ok(u64::from_str_radix(self.field("CapPrm")?, 16)? | u64::from_str_radix(self.field("CapEff")?, 16)?)
    }
}

#[test]
fn no_thread_has_more_than_its_work_takes() -> Result<()> {
    // DAC_READ_SEARCH, NET_ADMIN, SYS_PTRACE, PERFMON, BPF.
    const FOR_COUNTING: u64 = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;
    let agent = Agent::start()?;
    let mut serving = 0;
    for entry in fs::read_dir(format!("/proc/{}/task", agent.id()))? {
        let thread = Thread::read(&entry?.path())?;
        let name = thread.field("Name")?.to_owned();
        ensure!(thread.field("NoNewPrivs")? == "1", "{name} could gain rights");
        ensure!(thread.field("Seccomp")? == "2", "{name} may make any system call");
        let (capabilities, filters) = (thread.capabilities()?, thread.field("Seccomp_filters")?.to_owned());
        println!("{name}: capabilities {capabilities:x}, {filters} filters");
        if name.starts_with("tokio") {
            serving += 1;
            ensure!(capabilities == 0, "{name} serves, and has {capabilities:x}");
            ensure!(filters.parse::<u32>()? >= 2, "{name} serves, and has {filters} filters");
        } else {
            ensure!(capabilities & !FOR_COUNTING == 0, "{name} has {capabilities:x}");
        }
    }
    ensure!(serving >= 2, "{serving} threads serve");
    let log = agent.log()?;
    ensure!(log.contains("system calls that the agent never makes are blocked"), "{log}");
    Ok(())
}
