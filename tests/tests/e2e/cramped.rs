//! Places that lack something or allow little: the agent counts, or ends with a sentence that says what it needs; `check` agrees.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    api, load,
    metrics::{Role, Series},
    nginx::Nginx,
    pins::PinDirectory,
    process, tool,
};

const LIMIT: Duration = Duration::from_mins(1);

/// Nothing comes to be there.
const PINS: &str = "/sys/fs/bpf/traffic-probe-cramped";

/// Does something in a shell, which then becomes the agent.
fn shell(script: &str) -> [String; 4] {
    ["sh".into(), "-c".into(), format!("{script}; exec \"$@\""), "sh".into()]
}

/// The same among mounts of its own.
fn among_own_mounts(script: &str) -> Vec<String> {
    ["unshare".to_owned(), "--mount".to_owned()].into_iter().chain(shell(script)).collect()
}

/// Starts an agent there, without and with `--pin`, and has it count; then it does without these.
fn counts(behind: &[String], without_when_pinned: &[&str]) -> Result<()> {
    let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
    held_to(Setup::default().behind(&behind).start()?, &[])?;
    let pins = PinDirectory::new()?;
    held_to(Setup::default().behind(&behind).pinned(&pins).start()?, without_when_pinned)?;
    let is_pinned = without_when_pinned.is_empty();
    ensure!(pins.path().exists() == is_pinned, "{} is there, or is not", pins.path().display());
    Ok(())
}

fn held_to(agent: Agent<'_>, without: &[&str]) -> Result<()> {
    let missing = missing(&agent)?;
    ensure!(missing == without, "it does without {missing:?}: {}", agent.log()?);
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    load::h2load(nginx.ipv4(), "/ok", 500, 5)?;
    mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), 500)])?;
    agent.end(Signal::SIGTERM).map(drop)
}

fn missing(agent: &Agent<'_>) -> Result<Vec<String>> {
    let features = api::document(agent, "/api/v1/features")?;
    let features = features["features"].as_array().context("features")?;
    let missing = features.iter().filter(|feature| feature["in_force"] == false);
    missing.map(|feature| Ok(feature["feature"].as_str().context("a name")?.to_owned())).collect()
}

#[test]
fn with_64_kib_of_locked_memory_it_counts() -> Result<()> {
    counts(&shell("ulimit -l 64"), &[])
}

#[test]
fn without_tracefs_it_counts() -> Result<()> {
    counts(
        &among_own_mounts(
            "umount --lazy --all-targets /sys/kernel/tracing /sys/kernel/debug/tracing 2>/dev/null",
        ),
        &[],
    )
}

#[test]
fn on_a_bpffs_that_is_read_only_it_counts_and_pins_nothing() -> Result<()> {
    counts(&among_own_mounts("mount -o remount,bind,ro /sys/fs/bpf || exit 9"), &["pin"])
}

#[test]
fn without_a_bpffs_it_counts_and_pins_nothing() -> Result<()> {
    counts(&among_own_mounts("umount --lazy /sys/fs/bpf || exit 9"), &["pin"])
}

/// A cgroup that limits memory, removed when dropped.
struct Limited(PathBuf);

impl Limited {
    fn to(mebibytes: u64) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let of_version_1 = mounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let limits = fields[2] == "cgroup" && fields[3].split(',').any(|option| option == "memory");
            limits.then(|| PathBuf::from(fields[1]))
        });
        let (root, file) = match of_version_1 {
            Some(root) => (root, "memory.limit_in_bytes"),
            None => (PathBuf::from("/sys/fs/cgroup"), "memory.max"),
        };
        let path = root.join(format!("traffic-probe-test-{}", fastrand::u32(..)));
        fs::create_dir(&path)?;
        let limited = Self(path);
        fs::write(limited.0.join(file), (mebibytes << 20).to_string())?;
        Ok(limited)
    }

    fn behind(&self) -> [String; 4] {
        shell(&format!("echo $$ > {}", self.0.join("cgroup.procs").display()))
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Its last process has only just ended.
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn in_64_mib_it_says_what_it_needs_and_check_says_the_same() -> Result<()> {
    tool::demand_root()?;
    let limited = Limited::to(64)?;
    for flags in [&[][..], &["--pin", PINS]] {
        let run = |subcommand: &str| -> Result<_> {
            let lock = tempfile::tempdir()?;
            let behind = limited.behind();
            let mut command = Command::new(&behind[0]);
            command.args(&behind[1..]).arg(tool::agent()?).arg(subcommand).args(flags);
            process::run(command.args(["--listen", "127.0.0.1:0", "--lock"]).arg(lock.path()), LIMIT)
        };
        let (ended, checked) = (run("run")?, run("check")?);
        let (said, found) = (ended.stderr.trim_end(), &checked.stdout);
        println!("{said}");
        ensure!(
            ended.status.code() == Some(1) && checked.status.code() == Some(1),
            "{} {said}",
            ended.status
        );
        for words in ["is 64 MiB", "give the probe more memory", "lower --max-clients"] {
            ensure!(said.contains(words) && said.lines().count() == 1, "no `{words}` in one line: {said}");
        }
        let sentence = said.trim_start_matches("error: ");
        ensure!(found.contains(sentence), "check does not say `{sentence}`: {found}");
    }
    Ok(())
}

/// What the foresight asks for is enough: it neither fails nor is ended by the kernel.
#[test]
fn in_112_mib_it_counts() -> Result<()> {
    let limited = Limited::to(112)?;
    counts(&limited.behind(), &[])
}

/// `run` and `check` say it in a sentence: the kernel's would be "Bad file descriptor".
#[test]
fn with_the_cgroup2_hierarchy_hidden_it_says_so() -> Result<()> {
    tool::demand_root()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let roots = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let points = roots.filter_map(|line| line.split(' ').nth(1));
    let hide: Vec<_> = points.map(|point| format!("mount -t tmpfs none {point} || exit 9;")).collect();
    for subcommand in ["run", "check"] {
        let (behind, lock) = (among_own_mounts(&format!("{} true", hide.concat())), tempfile::tempdir()?);
        let mut command = Command::new(&behind[0]);
        command.args(&behind[1..]).arg(tool::agent()?).arg(subcommand);
        let ended =
            process::run(command.args(["--listen", "127.0.0.1:0", "--lock"]).arg(lock.path()), LIMIT)?;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        ensure!(ended.status.code() == Some(1), "{subcommand} ended with {}: {said}", ended.status);
        ensure!(said.contains("is hidden by another mount"), "{subcommand} says {said}");
    }
    Ok(())
}
