//! A program that runs for a limited time, with limited output, and leaves none of its children behind.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid,
};
use tokio::signal::unix::{SignalKind, signal};

/// A running program in a process group of its own; dropped, the group is killed.
#[derive(Debug)]
struct Running {
    child: Child,
    group: Pid,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Ended(ExitStatus),
    /// It was killed, since its time was up.
    Killed,
}

/// Runs a program to its end, or to that of its time. No file that it writes gets longer than `longest` bytes.
pub(super) async fn run(command: &mut Command, limit: Duration, longest: u64) -> io::Result<End> {
    // Before the start: an end that comes at once is not missed.
    let mut ends = signal(SignalKind::child())?;
    let mut running = Running::start(command, longest)?;
    let ended = async {
        while !running.has_ended()? {
            ends.recv().await;
        }
        io::Result::Ok(())
    };
    match tokio::time::timeout(limit, ended).await {
        Ok(ended) => ended?,
        Err(_) => return Ok(End::Killed),
    }
    running.kill_group();
    Ok(End::Ended(running.child.wait()?))
}

impl Running {
    fn start(command: &mut Command, longest: u64) -> io::Result<Self> {
        let mut child = command.process_group(0).spawn()?;
        let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            child.kill()?;
            return Err(io::Error::other("the process has no number"));
        };
        let running = Self { child, group };
        prlimit(Some(group), Resource::Fsize, Rlimit { current: Some(longest), maximum: Some(longest) })?;
        Ok(running)
    }

    /// It is not waited for: until then its number, which is that of its group, belongs to nobody else.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.group), options)?.is_some())
    }

    fn kill_group(&self) {
        // That there is nobody left in it is no error.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill_group();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str, limit: Duration) -> io::Result<End> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(Command::new("sh").args(["-c", script]), limit, 1000))
    }

    /// Whether the process whose number a file has goes: it is killed by then, and dies when it next gets a processor.
    fn goes(file: &Path) -> bool {
        let number = fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", number.trim());
        let began = Instant::now();
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            if began.elapsed() > LONG {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    #[test]
    fn the_end_tells_how_it_ended() {
        let End::Ended(status) = shell("exit 3", LONG).unwrap() else { panic!("it was killed") };
        assert_eq!(status.code(), Some(3));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let absent = runtime.block_on(run(&mut Command::new("no-such-program-anywhere"), LONG, 1000));
        assert_eq!(absent.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn who_hangs_is_killed_with_all_children() {
        let directory = tempfile::tempdir().unwrap();
        let child = directory.path().join("child");
        let began = Instant::now();
        let script = format!("trap '' TERM; sleep 60 & echo $! > {}; wait", child.display());
        assert_eq!(shell(&script, Duration::from_millis(500)).unwrap(), End::Killed);
        assert!(began.elapsed() < LONG);
        assert!(goes(&child), "the child of what was killed lives on");
    }

    #[test]
    fn who_leaves_children_behind_takes_them_along() {
        let directory = tempfile::tempdir().unwrap();
        let child = directory.path().join("child");
        let script = format!("sleep 60 & echo $! > {}", child.display());
        assert!(matches!(shell(&script, LONG).unwrap(), End::Ended(_)));
        assert!(goes(&child), "a child was left behind");
    }

    #[test]
    fn no_file_gets_longer_than_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        // The limit comes right behind the start: the shell waits for a moment.
        shell(&format!("sleep 0.2; head -c 5000 /dev/zero > {}", file.display()), LONG).unwrap();
        assert!(fs::metadata(&file).unwrap().len() <= 1000);
    }
}
