//! Network namespaces: interfaces of a test's own, which nothing else sends on.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::{
    process::{complain, run_well},
    tool,
};

const DIRECTORY: &str = "/run/netns";
const PREFIX: &str = "tp-";
const LIMIT: Duration = Duration::from_secs(10);

/// A network namespace with its loopback up, deleted when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes one.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        tool::demand_root()?;
        SWEPT.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        ip(&["netns", "add", &name])?;
        // From here on it is removed whatever fails.
        let guard = Removal(&name);
        let file = File::open(path(&name)).with_context(|| format!("cannot open the namespace {name}"))?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        std::mem::forget(guard);
        Ok(Self { name, file })
    }

    /// Its name, as `ip netns` has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has a command start inside.
    ///
    /// Not by `ip netns exec`, which also takes the mounts below /sys away, and with them the cgroup2 hierarchy.
    pub fn enter(&self, command: &mut Command) -> Result<()> {
        let file = self.file.try_clone()?;
        // SAFETY: between fork and exec only a system call is made.
        unsafe {
            command.pre_exec(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?));
        }
        Ok(())
    }

    /// A command that starts inside.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = tool::command(program)?;
        self.enter(&mut command)?;
        Ok(command)
    }

    /// Does something inside, on a thread of its own, since a thread is in one namespace at a time. Sockets that it
    /// makes stay of that namespace.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter the namespace {}", self.name))?;
                what()
            });
            worker.join().unwrap_or_else(|_| Err(anyhow!("a thread inside {} panicked", self.name)))
        })
    }

    /// Lays a cable to another namespace: the interface `near` here, `far` there, addresses .1 and .2 of
    /// 192.0.2.0/24 and `fd00::/64`. Both ends are made inside: the host never sees them, nor its agents.
    pub fn connect(&self, near: &str, other: &Self, far: &str) -> Result<()> {
        let peer = ["peer", "name", far, "netns", &other.name];
        ip(&[&["-n", &self.name, "link", "add", near, "type", "veth"], &peer[..]].concat())?;
        for (netns, interface, host) in [(self, near, 1), (other, far, 2)] {
            let name = netns.name.as_str();
            let ipv4 = format!("192.0.2.{host}/24");
            let ipv6 = format!("fd00::{host}/64");
            ip(&["-n", name, "address", "add", &ipv4, "dev", interface])?;
            // Without the detection of duplicates the address is usable at once.
            ip(&["-n", name, "address", "add", &ipv6, "dev", interface, "nodad"])?;
            ip(&["-n", name, "link", "set", interface, "up"])?;
        }
        Ok(())
    }

    /// Runs `ip` on it, and gives what it says.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// A counter of its TCP, by the name that `nstat` has for it without `TcpExt`.
    pub fn tcp_counter(&self, name: &str) -> Result<u64> {
        const FILE: &str = "/proc/thread-self/net/netstat";
        let text = self.inside(|| fs::read_to_string(FILE).context(FILE))?;
        let lines: Vec<_> = text.lines().collect();
        // Names in a line, their values in the next.
        let mut pairs = lines.chunks_exact(2).flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
        let pair = pairs.find(|(found, _)| *found == name);
        Ok(pair.with_context(|| format!("{FILE} has no {name}"))?.1.parse()?)
    }

    /// Sets a parameter of the kernel below `/proc/sys/net`, for this namespace alone.
    pub fn set(&self, parameter: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(parameter);
        self.inside(|| fs::write(&path, value).with_context(|| format!("cannot write {}", path.display())))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        drop(Removal(&self.name));
    }
}

/// Removes a namespace, and makes sure that it is gone.
struct Removal<'a>(&'a str);

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        let removed = ip(&["netns", "delete", self.0]);
        if removed.is_err() || path(self.0).exists() {
            complain(&format!("the namespace {} could not be deleted: {removed:?}", self.0));
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Removes what a run left that was killed.
fn sweep() {
    for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((owner, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let dead = owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists();
        if dead {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<String> {
    run_well(tool::command("ip")?.args(arguments), LIMIT)
}
