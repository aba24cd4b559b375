//! Starts other programs; a failure always names the whole command, ready to be pasted into a shell.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

/// How often a pipe (a log of CI, say) is told that a long step is still alive.
const TICK: Duration = Duration::from_secs(15);

/// Runs a command to its end; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    succeeded(status, command)
}

/// Anything but success is an error, which names the command.
pub(crate) fn succeeded(status: ExitStatus, command: &Command) -> Result<()> {
    if !status.success() {
        bail!("this command ended with {status}: {}", quoted(command));
    }
    Ok(())
}

/// Runs a command to its end; only a command that cannot be started is an error.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("could not start `{}`", quoted(command)))
}

/// Runs a command that takes long; anything but success is an error.
pub(crate) fn run_long(what: &str, command: &mut Command) -> Result<()> {
    let status = watch(what, command)?;
    succeeded(status, command).map_err(|error| anyhow!("{what}: {error}"))
}

/// Waits for a command that takes long: its own output is the progress, and a pipe also gets a line every 15 s.
///
/// Its output goes to stderr, since stdout belongs to the agent in `cargo xtask run`.
pub(crate) fn watch(what: &str, command: &mut Command) -> Result<ExitStatus> {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::from(io::stderr()))
        .spawn()
        .with_context(|| format!("could not start `{}`", quoted(command)))?;
    let mut told = started;
    loop {
        if let Some(status) = child.try_wait().context("could not wait for a child process")? {
            return Ok(status);
        }
        if !io::stderr().is_terminal() && told.elapsed() >= TICK {
            told = Instant::now();
            eprintln!("         ... {what}: {} s so far", started.elapsed().as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a short command prints, if it can be started and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes the command, so that signals and the exit status are its own. Returns only to say why it could not.
pub(crate) fn replace(command: &mut Command) -> anyhow::Error {
    let error = command.exec();
    anyhow!(error).context(format!("could not start `{}`", quoted(command)))
}

/// Finds a program on `PATH`, or where administrators' programs are when the user's `PATH` leaves those out.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = search_path();
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// `PATH` with the directories of administrators' programs (tc, bpftool, nginx) at its end.
pub(crate) fn search_path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    [path.as_str(), "/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .into_iter()
        .flat_map(|part| part.split(':'))
        .filter(|part| !part.is_empty())
        .fold(Vec::new(), |mut parts, part| {
            if !parts.contains(&part) {
                parts.push(part);
            }
            parts
        })
        .join(":")
}

/// The command as one would type it, with the environment that was set for it.
pub(crate) fn quoted(command: &Command) -> String {
    let environment = command.get_envs().filter_map(|(name, value)| {
        let value = value?;
        Some(format!("{}={}", name.to_string_lossy(), quote(value)))
    });
    environment
        .chain([quote(command.get_program()).into_owned()])
        .chain(command.get_args().map(|arg| quote(arg).into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as one would type it in a shell.
pub(crate) fn quote(word: &OsStr) -> Cow<'_, str> {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_command_can_be_pasted() {
        let mut command = Command::new("cargo");
        command.args(["test", "it's", ""]).env("A", "b c").env_remove("GONE");
        assert_eq!(quoted(&command), r"A='b c' cargo test 'it'\''s' ''");
    }

    #[test]
    fn a_failure_names_its_command() {
        let error = run(Command::new("false").arg("x")).unwrap_err();
        assert_eq!(error.to_string(), "this command ended with exit status: 1: false x");
    }

    #[test]
    fn programs_are_found_or_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }
}
