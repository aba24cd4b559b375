//! Boots the virtual machine, relays what the program says, and knows when it is over.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::guest::Line;
use crate::{
    exec,
    harness::{self, Watch},
    setup::Machine,
};

/// The guest's memory. What it writes is in there, too.
const MEMORY: &str = "2G";
/// How long virtiofsd may take to listen.
const START: Duration = Duration::from_secs(10);
/// How often we look whether a test hangs.
const LOOK: Duration = Duration::from_secs(1);

/// What runs the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor, through `/dev/kvm`.
    Kvm,
    /// QEMU itself.
    Emulation,
}

impl Accelerator {
    /// Those to be tried, the fastest first. A `/dev/kvm` that is there need not be of use: under some hypervisors a
    /// distribution's kernel hangs on it.
    pub(super) fn candidates() -> Vec<Self> {
        let kvm = File::options().read(true).write(true).open("/dev/kvm").is_ok();
        let kvm = kvm.then_some(Self::Kvm);
        // Twice, since a kernel that does not get its processor in its first moments may give up.
        kvm.into_iter().chain([Self::Emulation, Self::Emulation]).collect()
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "/dev/kvm",
            Self::Emulation => "emulation",
        }
    }

    /// How long a kernel may take to its first process.
    const fn patience(self) -> Duration {
        match self {
            Self::Kvm => Duration::from_secs(5),
            // Ten seconds, unless it has only what others leave of the processors.
            Self::Emulation => Duration::from_mins(5),
        }
    }

    /// How many times as long as on a processor anything takes, so that a test that goes on is not taken for one that hangs.
    const fn slowness(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Emulation => 2,
        }
    }

    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // In one thread: where each CPU has its own, one may run what another is patching (a kernel patches itself
            // wherever a tracepoint or a cgroup's programs are switched on), and oops in the midst of it.
            Self::Emulation => ["-accel", "tcg,thread=single", "-cpu", "max,la57=off"],
        }
    }
}

/// A virtual machine that is to run.
pub(super) struct Boot<'a> {
    pub(super) machine: &'a Machine,
    pub(super) initramfs: &'a Path,
    pub(super) accelerator: Accelerator,
    pub(super) scratch: &'a Path,
    /// What each line of the program begins with.
    pub(super) tag: String,
}

/// How it ended.
pub(super) enum Ended {
    /// The program ended with this status.
    Status(i32),
    /// The kernel did not come to its first process; this is what it said.
    NeverStarted { said: String },
}

/// A process that does not outlive its keeper.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Boot<'_> {
    /// Runs it to its end, which comes before long.
    pub(super) fn run(&self, limit: Duration) -> Result<Ended> {
        let started = Instant::now();
        let socket = self.scratch.join(format!("files-{}", self.accelerator as u8));
        let _files = self.serve_files(&socket)?;
        let mut qemu = Kept(self.qemu(&socket).spawn().context("could not start qemu-system-x86_64")?);
        let lines = lines(qemu.0.stdout.take().context("qemu has no output")?);
        let mut up = false;
        let mut watch = Watch::new(harness::limit(self.accelerator.slowness()), started);
        // The firmware's words and the kernel's: of interest only if that is all there is.
        let mut before = Vec::new();
        loop {
            let deadline = if up { limit } else { self.accelerator.patience() };
            let left = deadline.saturating_sub(started.elapsed());
            let line = match lines.recv_timeout(left.min(LOOK)) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) if left > LOOK => {
                    if let Some(why) = watch.overdue(Instant::now()).filter(|_| up) {
                        print!("{}", harness::hanging(&self.tag, &why, &[]));
                        return Ok(Ended::Status(harness::FAILED));
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) if up => {
                    bail!("what ran under {} was not done after {} s", self.release(), limit.as_secs())
                }
                Err(_) if !up => return Ok(Ended::NeverStarted { said: before.concat() }),
                Err(_) => bail!("the virtual machine ended before what ran in it: see the lines above"),
            };
            match Line::of(&line) {
                Line::Up(release) => {
                    up = true;
                    self.announce(release, started.elapsed())?;
                }
                Line::Broken(why) => bail!("the virtual machine with {} is of no use: {why}", self.release()),
                Line::Ended(status) => return Ok(Ended::Status(status)),
                Line::Said(words) if up => {
                    watch.hear(format!("{words}\n").as_bytes(), Instant::now());
                    println!("{}{words}", self.tag);
                }
                Line::Said(words) => before.push(format!("{words}\n")),
            }
        }
    }

    fn release(&self) -> &str {
        &self.machine.kernel.release
    }

    fn announce(&self, release: &str, after: Duration) -> Result<()> {
        if release != self.release() {
            bail!("the virtual machine runs {release}, where {} was booted", self.release());
        }
        eprintln!(
            "kernels: {release} is up after {:.1} s, by {}",
            after.as_secs_f64(),
            self.accelerator.name()
        );
        Ok(())
    }

    /// Starts what gives the guest this machine's files, and waits until it listens.
    fn serve_files(&self, socket: &Path) -> Result<Kept> {
        // That of an attempt before this one would be taken for ours.
        let _ = fs::remove_file(socket);
        let log = self.scratch.join("virtiofsd.log");
        let output = File::create(&log).with_context(|| format!("could not create {}", log.display()))?;
        let mut virtiofsd = tied_to_us(&self.machine.virtiofsd);
        virtiofsd.arg("--socket-path").arg(socket).args([
            "--shared-dir",
            "/",
            "--readonly",
            "--sandbox=none",
        ]);
        // Of one file system, since the guest's overlay does not look behind the mounts of another.
        virtiofsd.arg("--no-announce-submounts").stdin(Stdio::null());
        virtiofsd.stdout(Stdio::null()).stderr(output);
        let child =
            virtiofsd.spawn().with_context(|| format!("could not start `{}`", exec::quoted(&virtiofsd)))?;
        let mut files = Kept(child);
        let started = Instant::now();
        while !socket.exists() {
            let ended = files.0.try_wait().context("could not wait for virtiofsd")?;
            if ended.is_some() || started.elapsed() > START {
                let words = fs::read_to_string(&log).unwrap_or_default();
                bail!("virtiofsd does not serve this machine's files: {}", words.trim());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(files)
    }

    fn qemu(&self, socket: &Path) -> Command {
        let mut qemu = tied_to_us("qemu-system-x86_64");
        qemu.args(["-machine", "q35", "-smp", "2", "-m", MEMORY]).args(self.accelerator.arguments());
        // The file server and the guest share the guest's memory.
        qemu.arg("-object").arg(format!("memory-backend-memfd,id=memory,size={MEMORY},share=on"));
        qemu.args(["-numa", "node,memdev=memory"]);
        qemu.arg("-chardev").arg(format!("socket,id=files,path={}", socket.display()));
        qemu.args(["-device", "vhost-user-fs-pci,chardev=files,tag=root"]);
        qemu.args(["-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio"]);
        qemu.arg("-kernel").arg(&self.machine.kernel.image).arg("-initrd").arg(self.initramfs);
        // One CPU without a tick, where the kernel can (`CONFIG_NO_HZ_FULL`), as hosts have that are set up for latency. Where we
        // run beside other tests, the guest may stand still for a while: its kernel is neither to give its timer up for that, nor to
        // write warnings into what the tests say.
        let patient = "no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1";
        qemu.arg("-append")
            .arg(format!("console=ttyS0 quiet panic=-1 mitigations=off nohz_full=1 {patient}"));
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        if self.accelerator == Accelerator::Kvm {
            // Where it is of no use, emulation is; why would only confuse.
            qemu.stderr(Stdio::null());
        }
        qemu
    }
}

/// A command that ends with us, also if we are killed and drop nothing: `PR_SET_PDEATHSIG`, by util-linux's program for it.
fn tied_to_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Reads lines in a thread of its own, so that they can be waited for with a limit.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}
