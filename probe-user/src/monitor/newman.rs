//! newman as the engine: started, waited for, and its report read.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    failure::Undone,
    process::{self, End},
    report::{self, Report},
    results::{Request, Run},
};
use crate::cli::MonitorArgs;

/// The longest report: some hundred bytes a request, and what its tests say.
const LONGEST_REPORT: u64 = 16 << 20;

/// The name by which newman knows our reporter, which it looks for as `newman-reporter-` and that, where `NODE_PATH` says.
const REPORTER: &str = "traffic-probe";

/// How long newman may take to say its version: Node.js starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// So much of what newman complains about is shown.
const COMPLAINT: u64 = 2000;

/// What is run, and how.
#[derive(Debug)]
pub(super) struct Newman {
    program: PathBuf,
    arguments: Vec<OsString>,
    limit: Duration,
}

impl Newman {
    pub(super) fn new(flags: &MonitorArgs) -> Self {
        let mut arguments: Vec<OsString> = vec!["run".into(), flags.collection.clone().into()];
        if let Some(environment) = &flags.environment {
            arguments.extend(["--environment".into(), environment.into()]);
        }
        for variable in &flags.variables {
            arguments.extend(["--env-var".into(), variable.into()]);
        }
        // Should nobody be left to kill it, it ends by itself.
        arguments.extend(["--timeout".into(), flags.timeout.as_millis().to_string().into()]);
        arguments
            .extend(["--reporters", REPORTER, "--color", "off", "--disable-unicode"].map(OsString::from));
        Self { program: flags.newman.clone(), arguments, limit: flags.timeout }
    }

    /// Fails with a sentence unless newman can be started.
    pub(super) async fn is_there(&self) -> Result<(), Undone> {
        let (_directory, said) = scratch()?;
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null()).stdout(create(&said)?).stderr(Stdio::null());
        let end = process::run(&mut command, PATIENCE, COMPLAINT)
            .await
            .map_err(|error| self.not_started(&error))?;
        let version = beginning(&said);
        match end {
            End::Ended(status)
                if status.success() && version.starts_with(|first: char| first.is_ascii_digit()) =>
            {
                tracing::debug!("newman {}", version.trim());
                Ok(())
            }
            End::Ended(status) => {
                let said = version.lines().next().unwrap_or_default();
                Err(self.not_newman(format!("asked for its version it said `{said}` ({status})")))
            }
            End::Killed => {
                Err(self.not_newman(format!("it did not tell its version in {} s", PATIENCE.as_secs())))
            }
        }
    }

    /// Runs the collection. The run has no name yet.
    pub(super) async fn run(&self) -> Result<Run, Undone> {
        let (directory, said) = scratch()?;
        let report = directory.path().join("report.json");
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env("NODE_PATH", install_reporter(directory.path())?);
        command.env("TRAFFIC_PROBE_MONITOR_REPORT", &report);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(create(&said)?);
        let (began, started) = (Instant::now(), SystemTime::now());
        let end = process::run(&mut command, self.limit, LONGEST_REPORT)
            .await
            .map_err(|error| self.not_started(&error))?;
        let duration = began.elapsed();
        if end == End::Killed {
            return Err(Undone::TooLong(self.limit));
        }
        let requests = tokio::task::spawn_blocking(move || {
            let requests = read(&report, &said);
            drop(directory);
            requests
        });
        let requests = requests.await.map_err(|error| Undone::Refused(error.to_string()))??;
        Ok(Run {
            collection: String::new(),
            started_timestamp_seconds: started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            duration_seconds: duration.as_secs_f64(),
            passed: requests.iter().all(|request| request.failures.is_empty()),
            requests,
        })
    }

    fn not_started(&self, error: &io::Error) -> Undone {
        Undone::NoNewman { program: self.program.display().to_string(), reason: error.to_string() }
    }

    fn not_newman(&self, reason: String) -> Undone {
        Undone::NotNewman { program: self.program.display().to_string(), reason }
    }
}

/// A directory for this user alone, since answers may hold secrets; and a file in it for what newman says.
fn scratch() -> Result<(tempfile::TempDir, PathBuf), Undone> {
    let directory = tempfile::tempdir().map_err(|error| {
        Undone::machine("make a directory for newman's report (TMPDIR names another place)", &error)
    })?;
    let said = directory.path().join("said");
    Ok((directory, said))
}

fn create(file: &Path) -> Result<File, Undone> {
    File::create(file).map_err(|error| Undone::machine("write what newman says", &error))
}

/// Puts our reporter where newman finds it, and says where to look: there before the places that the user names.
fn install_reporter(directory: &Path) -> Result<OsString, Undone> {
    let package = directory.join(format!("newman-reporter-{REPORTER}"));
    fs::create_dir(&package)
        .and_then(|()| fs::write(package.join("index.js"), report::REPORTER))
        .map_err(|error| Undone::machine("write newman's reporter", &error))?;
    let theirs = env::var_os("NODE_PATH").unwrap_or_default();
    let places = [directory.to_owned()].into_iter().chain(env::split_paths(&theirs));
    env::join_paths(places)
        .map_err(|error| Undone::machine("name newman's reporter", &io::Error::other(error)))
}

/// The requests of a report; where there is none, what newman said instead.
fn read(report: &Path, said: &Path) -> Result<Vec<Request>, Undone> {
    if fs::metadata(report).is_ok_and(|written| written.len() >= LONGEST_REPORT) {
        return Err(Undone::TooMuch(LONGEST_REPORT));
    }
    let Ok(file) = File::open(report) else {
        return Err(Undone::Refused(complaint(&beginning(said))));
    };
    let report = Report::read(BufReader::new(file))
        .map_err(|error| Undone::Refused(format!("its report is not understood: {error}")))?;
    if let Some(error) = report.error {
        return Err(Undone::Refused(format!("it gave up: {error}")));
    }
    let requests = report.requests();
    if requests.is_empty() { Err(Undone::Refused("it made no request".to_owned())) } else { Ok(requests) }
}

/// What newman complains about, in one line.
fn complaint(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "it ended without a report, and said nothing".to_owned();
    }
    lines.join(", ").trim_start_matches("error: ").to_owned()
}

fn beginning(file: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(COMPLAINT).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line() {
        let said = "error: could not load environment\n  Unexpected token 'n' at 1:2\n\n";
        assert_eq!(complaint(said), "could not load environment, Unexpected token 'n' at 1:2");
        assert_eq!(complaint(" \n"), "it ended without a report, and said nothing");
    }

    #[test]
    fn without_a_report_what_newman_said_is_told() {
        let (_directory, said) = scratch().unwrap();
        fs::write(&said, "error: ENOSPC\n").unwrap();
        let report = said.with_file_name("report.json");
        assert_eq!(read(&report, &said), Err(Undone::Refused("ENOSPC".to_owned())));
        fs::write(&report, r#"{"error": "callback timed out", "requests": []}"#).unwrap();
        assert_eq!(read(&report, &said), Err(Undone::Refused("it gave up: callback timed out".to_owned())));
        fs::write(&report, r#"{"error": null, "requests": []}"#).unwrap();
        assert_eq!(read(&report, &said), Err(Undone::Refused("it made no request".to_owned())));
        File::create(&report).unwrap().set_len(LONGEST_REPORT).unwrap();
        assert_eq!(read(&report, &said), Err(Undone::TooMuch(LONGEST_REPORT)));
    }
}
