//! What runs in the guest: a shell script, from its first process to its last, which tells how it goes in lines that
//! begin with a mark.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::exec;

/// Begins the lines that are not the program's.
pub(super) const MARK: &str = "traffic-probe-vm: ";

/// A line of the guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It is up; `uname -r` says this.
    Up(&'a str),
    /// It could not do what the program needs.
    Broken(&'a str),
    /// The program has ended.
    Ended(i32),
    /// The program's, or the kernel's.
    Said(&'a str),
}

impl<'a> Line<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        let line = line.trim_end_matches(['\r', '\n']);
        let told = || {
            // The firmware or the kernel may have left the cursor in the midst of the line.
            let (_, words) = line.split_once(MARK)?;
            let (what, rest) = words.split_once(' ')?;
            match what {
                "up" => Some(Self::Up(rest)),
                "broken" => Some(Self::Broken(rest)),
                "ended" => rest.parse().ok().map(Self::Ended),
                _ => None,
            }
        };
        told().unwrap_or(Self::Said(line))
    }
}

/// The script that is the guest's first process: it finds this machine's files, runs the command and ends. `modules`
/// is where the kernel's modules lie.
pub(super) fn init(command: &Command, modules: &Path, limit: Duration) -> Result<String> {
    let directory = command.get_current_dir().context("the command has no directory")?;
    let mut enter = Command::new("cd");
    enter.arg(directory);
    let run = format!("{} && {}", exec::quoted(&enter), exec::quoted(command));
    // A guest whose keeper was killed ends by itself. Its tests' output goes through a pipe, as it would here; and the
    // kernel finds modules through the same `modprobe` as on this machine.
    Ok(format!(
        r#"#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin
broken() {{ echo "{MARK}broken $1"; poweroff -f; }}
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module || broken "the kernel refused the module $module"; done
echo "{MARK}up $(uname -r)"
(sleep {seconds}; poweroff -f) &
mount -t virtiofs -o ro root /lower || broken "this machine's files cannot be mounted"
mount -t tmpfs rw /rw; mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /whole || broken "no writable root"
for fs in proc sys dev; do mount --move /$fs /whole/$fs; done
cd /whole
mount -t tmpfs run run
ln -s /proc/self/fd dev/fd; mkdir -p dev/pts dev/shm
mount -t devpts pts dev/pts; mount -t tmpfs shm dev/shm
mount -t cgroup2 cgroup sys/fs/cgroup || broken "no cgroup2"
mount -t bpf bpf sys/fs/bpf || broken "no bpffs"
mount -t tracefs trace sys/kernel/tracing
mkdir -p lib/modules; [ -e lib/modules/$(uname -r) ] || ln -s {modules} lib/modules/
printf '#!/bin/sh\nexec /bin/chroot /whole /sbin/modprobe "$@"\n' >/bin/modprobe-of-root
chmod +x /bin/modprobe-of-root; echo /bin/modprobe-of-root >proc/sys/kernel/modprobe
ifconfig lo up
cat >run/command <<'COMMAND'
{run}
COMMAND
{{ chroot /whole /bin/sh /run/command <dev/null 2>&1; echo $? >/status; }} | cat
echo; echo "{MARK}ended $(cat /status)"
poweroff -f
"#,
        modules = exec::quote(modules.as_os_str()),
        seconds = limit.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_s_words_are_told_from_the_program_s() {
        assert_eq!(Line::of("traffic-probe-vm: up 6.1.0-9-cloud-amd64\r\n"), Line::Up("6.1.0-9-cloud-amd64"));
        assert_eq!(Line::of("\u{1b}[0mtraffic-probe-vm: ended 101\r\n"), Line::Ended(101));
        assert_eq!(Line::of("test x ... ok\r\n"), Line::Said("test x ... ok"));
        assert_eq!(Line::of("traffic-probe-vm: ended well\n"), Line::Said("traffic-probe-vm: ended well"));
    }

    #[test]
    fn the_command_stands_in_the_script_as_one_would_type_it() {
        let mut command = Command::new("/t/prog-1");
        command.args(["a test", "--exact"]).env("A", "b c").current_dir("/some where");
        let script = init(&command, Path::new("/k/lib/modules/6.1"), Duration::from_secs(7)).unwrap();
        assert!(script.contains("\ncd '/some where' && A='b c' /t/prog-1 'a test' --exact\n"), "{script}");
        assert!(script.contains("sleep 7;"));
    }
}
