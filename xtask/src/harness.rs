//! What stands between cargo and a program of tests: it asks libtest for the time of each test, and ends the program when a test
//! runs for longer than any may. A test that hangs would otherwise keep CI until CI itself is ended, and nobody would learn its name.

mod watch;

use std::{
    env, fs,
    io::{self, Read, Write},
    process::{self, Child, Command},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;

pub(crate) use self::watch::Watch;

/// Has libtest put the time of each test at the end of its line. It takes the flag on a stable toolchain too, if a variable says
/// that its user knows what that means. Only the tests' program is given it, so that nothing is compiled otherwise.
pub(crate) const TIMES: [&str; 2] = ["-Zunstable-options", "--report-time"];
/// That variable.
pub(crate) const UNSTABLE: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// How long a single test may run, in seconds, where somebody knows better: for the long forms of some tests.
const LIMIT_VARIABLE: &str = "TRAFFIC_PROBE_TEST_LIMIT";
/// How long otherwise: three times what the slowest test takes on two busy cores, with what it waits for others that have the
/// machine to themselves.
const LIMIT: Duration = Duration::from_mins(10);
/// How often we look whether the program has ended: a server that it left behind may keep its output open.
const LOOK: Duration = Duration::from_secs(1);
/// What libtest itself ends with when a test has failed.
pub(crate) const FAILED: i32 = 101;

/// What `watched` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The tests' program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// How cargo is to start tests on this machine: through us.
pub(crate) fn runner() -> Result<[String; 2]> {
    Ok([own_path()?, "watched".into()])
}

/// Where this program lies.
pub(crate) fn own_path() -> Result<String> {
    let us = env::current_exe().context("could not find out where xtask lies, to have cargo start it")?;
    Ok(us.display().to_string())
}

/// How long a single test may run on a machine on which everything takes so many times as long.
pub(crate) fn limit(slowness: u32) -> Duration {
    let said = env::var(LIMIT_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    said.map_or(LIMIT * slowness, Duration::from_secs)
}

/// Runs a program of tests, relays what it says, and ends with its status.
pub(crate) fn watched(options: &Options) -> Result<()> {
    let (program, arguments) = options.command.split_first().context("there is nothing to run")?;
    let mut command = Command::new(program);
    command.args(arguments).args(TIMES).env(UNSTABLE.0, UNSTABLE.1).stdout(process::Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start {program}"))?;
    let said = pieces(child.stdout.take().context("the tests have no output")?);
    let relayed = relay(&mut child, &said);
    if relayed.is_err() {
        // Whoever was to read this has gone: so do the tests.
        let _ = child.kill();
    }
    let status = child.wait().context("could not wait for the tests")?;
    let hung = relayed?;
    process::exit(if hung { FAILED } else { status.code().unwrap_or(FAILED) })
}

/// Passes on what is said until the program ends, or is ended: says which.
fn relay(child: &mut Child, said: &Receiver<Vec<u8>>) -> Result<bool> {
    let mut watch = Watch::new(limit(1), Instant::now());
    let pass_on = |bytes: &[u8]| {
        let mut output = io::stdout().lock();
        output.write_all(bytes).and_then(|()| output.flush()).context("nobody reads what the tests say")
    };
    loop {
        match said.recv_timeout(LOOK) {
            Ok(bytes) => {
                pass_on(&bytes)?;
                watch.hear(&bytes, Instant::now());
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                let ended = child.try_wait().context("could not wait for the tests")?.is_some();
                if ended && said.try_recv().is_err() {
                    return Ok(false);
                }
            }
        }
        if let Some(why) = watch.overdue(Instant::now()) {
            let doing = what_it_does(child.id());
            pass_on(hanging("", &why, &doing).as_bytes())?;
            child.kill().context("could not end the tests")?;
            return Ok(true);
        }
    }
}

/// What is said of a test that hangs, in libtest's own form for failures, by which the end of a run repeats it.
pub(crate) fn hanging(tag: &str, why: &str, doing: &[String]) -> String {
    let doing: String = doing.iter().flat_map(|line| [tag, "    ", line, "\n"]).collect();
    format!("\n{tag}\n{tag}failures:\n{tag}\n{tag}{why}\n{doing}{tag}\n")
}

/// What the threads of a program wait for in the kernel, and which programs it has started: a hint at what hangs. Each test runs
/// in a thread that bears its name, as far as 15 characters go.
fn what_it_does(id: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let waits = read("wchan");
        let waits = if matches!(waits.as_str(), "" | "0") { "nothing" } else { &waits };
        lines.push(format!("thread {} waits in the kernel for {waits}", read("comm").trim_end()));
        for child in read("children").split_whitespace() {
            let words = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            lines.push(format!("    it started process {child}: {}", words.replace('\0', " ")));
        }
    }
    lines
}

/// Reads in a thread of its own, so that what comes can be waited for with a limit: whatever is there, since a line may lack its
/// end for as long as a test runs.
fn pieces(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = output.read(&mut buffer) {
            if length == 0 || sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_told_as_a_failure_with_what_it_does() {
        let said = hanging("6.1: ", "`a` hangs", &["thread a".into()]);
        assert_eq!(said, "\n6.1: \n6.1: failures:\n6.1: \n6.1: `a` hangs\n6.1:     thread a\n6.1: \n");
        let doing = what_it_does(process::id());
        assert!(doing.iter().any(|line| line.starts_with("thread ")), "{doing:?}");
    }

    #[test]
    fn what_is_said_comes_before_its_line_ends() {
        let mut child = Command::new("sh")
            .args(["-c", "printf 'test a ... '; sleep 20"])
            .stdout(process::Stdio::piped())
            .spawn()
            .unwrap();
        let said = pieces(child.stdout.take().unwrap());
        assert_eq!(said.recv_timeout(Duration::from_secs(10)).unwrap(), b"test a ... ");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
