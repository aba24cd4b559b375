//! Network namespaces: interfaces of a test's own, which nothing else sends on.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::{fd::AsRawFd, unix::process::CommandExt},
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
use nix::{
    libc,
    sched::{CloneFlags, setns},
};

use crate::{
    process::{complain, run_well},
    tool,
};

const DIRECTORY: &str = "/run/netns";
const PREFIX: &str = "tp-";
const LIMIT: Duration = Duration::from_secs(10);

/// What an interface has carried one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Bytes of frames.
    pub bytes: u64,
    /// Frames, or the buffers that stand for several.
    pub packets: u64,
    /// Frames that it did not carry.
    pub dropped: u64,
}

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
    /// 192.0.2.0/24 and `fd00::/64`.
    pub fn connect(&self, near: &str, other: &Self, far: &str) -> Result<()> {
        self.cable(near, other, far)?;
        for (netns, interface, host) in [(self, near, 1), (other, far, 2)] {
            netns.address(interface, &format!("192.0.2.{host}/24"))?;
            netns.address(interface, &format!("fd00::{host}/64"))?;
        }
        Ok(())
    }

    /// Lays a cable without addresses. Both ends are made inside: the host never sees them, nor its agents.
    pub fn cable(&self, near: &str, other: &Self, far: &str) -> Result<()> {
        let peer = ["peer", "name", far, "netns", &other.name];
        self.ip(&[&["link", "add", near, "type", "veth"], &peer[..]].concat())?;
        self.ip(&["link", "set", near, "up"])?;
        other.ip(&["link", "set", far, "up"]).map(drop)
    }

    /// Gives an interface an address.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let add = ["address", "add", address, "dev", interface];
        // Without the detection of duplicates one of IPv6 is usable at once.
        let at_once = if address.contains(':') { &["nodad"][..] } else { &[] };
        self.ip(&[&add, at_once].concat()).map(drop)
    }

    /// What an interface has carried by its own statistics, in and out.
    pub fn statistics(&self, interface: &str) -> Result<[Carried; 2]> {
        let said = self.ip(&["-s", "-j", "link", "show", "dev", interface])?;
        let json: serde_json::Value = serde_json::from_str(&said).context("ip -j")?;
        carried(&json[0])
    }

    /// The same of all interfaces, by name.
    pub fn all_statistics(&self) -> Result<BTreeMap<String, [Carried; 2]>> {
        let said = self.ip(&["-s", "-j", "link", "show"])?;
        let json: Vec<serde_json::Value> = serde_json::from_str(&said).context("ip -j")?;
        let named = json.iter().map(|link| {
            Ok((link["ifname"].as_str().context("an interface without a name")?.to_owned(), carried(link)?))
        });
        named.collect()
    }

    /// The address of an interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let said = self.ip(&["-j", "link", "show", "dev", interface])?;
        let json: serde_json::Value = serde_json::from_str(&said).context("ip -j")?;
        let text = json[0]["address"].as_str().with_context(|| format!("{interface} has no address"))?;
        let bytes =
            text.split(':').map(|byte| Ok(u8::from_str_radix(byte, 16)?)).collect::<Result<Vec<_>>>()?;
        bytes.try_into().map_err(|_| anyhow!("the address of {interface} is {text}"))
    }

    /// Does a row of things with `ip`, one a line, in one process.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(lines.as_bytes())?;
        ip(&["-n", &self.name, "-batch", &file.path().to_string_lossy()]).map(drop)
    }

    /// Runs `ip` on it, and gives what it says.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// A counter of its TCP, by the name that `nstat` has for it without `Tcp` or `TcpExt`.
    pub fn tcp_counter(&self, name: &str) -> Result<u64> {
        const FILES: [&str; 2] = ["/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"];
        let read = |file| fs::read_to_string(file).context(file);
        let text = self.inside(|| Ok(FILES.into_iter().map(read).collect::<Result<Vec<_>>>()?.concat()))?;
        let lines: Vec<_> = text.lines().collect();
        // Names in a line, their values in the next.
        let mut pairs = lines.chunks_exact(2).flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
        let pair = pairs.find(|(found, _)| *found == name);
        Ok(pair.with_context(|| format!("{FILES:?} have no {name}"))?.1.parse()?)
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

/// What an interface has carried, in and out, as `ip` tells it.
fn carried(link: &serde_json::Value) -> Result<[Carried; 2]> {
    let carried = |way: &str| -> Result<Carried> {
        let field = |name: &str| {
            let field = link["stats64"][way][name].as_u64();
            field.with_context(|| format!("ip tells no {name} of an interface: {link}"))
        };
        Ok(Carried { bytes: field("bytes")?, packets: field("packets")?, dropped: field("dropped")? })
    };
    Ok([carried("rx")?, carried("tx")?])
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

nix::ioctl_write_ptr_bad!(
    /// Sets an interface's flags.
    set_flags,
    libc::SIOCSIFFLAGS,
    libc::ifreq
);

/// Brings up `lo` in the network namespace that this thread is in, without a program of its own for it.
pub fn loopback_up() -> Result<()> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: all zero is an `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP)?;
    // SAFETY: the socket is open, and the request outlives the call.
    unsafe { set_flags(socket.as_raw_fd(), &raw const request) }.context("cannot bring up lo")?;
    Ok(())
}
