//! What it takes to run something under another kernel: an emulator, a file server for the guest, and the kernel.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{
    apt,
    archive::{self, Archive, Processor},
    cached::{self, Crate},
    kernel::{self, Kernel},
    step::{Detail, Steps},
    system::SystemChanges,
    toolchain,
    tools::{self, Tool, tool},
};
use crate::workspace;

/// What starts a virtual machine and packs what it boots from.
pub(super) const TOOLS: [Tool; 4] = [
    tool("qemu-system-x86_64", "qemu-system-x86", "a virtual machine for other kernels"),
    tool("cpio", "cpio", "it packs what a virtual machine boots from"),
    tool("modprobe", "kmod", "it knows which modules need which"),
    tool("xz", "xz-utils", "modules are compressed with it"),
];
/// Compiling virtiofsd takes them.
pub(super) const LIBRARIES: [&str; 2] = ["libcap-ng-dev", "libseccomp-dev"];

/// The file server that gives the guest this machine's files: Debian 12's own is too old. Its feature is not used, but
/// without it there is no program.
const VIRTIOFSD: Crate<'_> = Crate { name: "virtiofsd", version: "1.14.0", features: Some("seccomp") };
const BUSYBOX: &str = "bin/busybox";

/// The parts of a virtual machine.
pub(crate) struct Machine {
    /// What it boots.
    pub(crate) kernel: Kernel,
    /// Its only program until it has this machine's files.
    pub(crate) busybox: PathBuf,
    /// Serves it this machine's files.
    pub(crate) virtiofsd: PathBuf,
}

/// Says why this machine cannot run other kernels, if it cannot.
pub(crate) fn possible() -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!(
            "kernels for virtual machines are taken from Debian for x86-64, and this machine is {}",
            env::consts::ARCH
        );
    }
    if !apt::exists() || !toolchain::runs_debian() {
        bail!(
            "kernels for virtual machines are Debian's packages, fetched by apt from this machine's own mirror of \
             Debian, and this is not a Debian system"
        );
    }
    Ok(())
}

/// Notes which packages are missing.
pub(super) fn system_part(changes: &mut SystemChanges, steps: &Steps) -> Result<()> {
    possible()?;
    tools::collect(&TOOLS, changes, steps)?;
    if virtiofsd_there()?.is_none() {
        changes.want(apt::missing(&LIBRARIES));
    }
    Ok(())
}

/// Fetches and compiles what is missing for a kernel of a series such as 6.1, telling only of that.
pub(crate) fn machine(series: &str) -> Result<Machine> {
    prepare(series, &mut Steps::new(Detail::Changes))
}

/// The same as a part of a set-up.
pub(super) fn prepare(series: &str, steps: &mut Steps) -> Result<Machine> {
    Ok(Machine {
        virtiofsd: virtiofsd(steps)?,
        busybox: busybox(Processor::Own, steps)?,
        kernel: kernel::ensure(series, Processor::Own, steps)?,
    })
}

fn virtiofsd_directory() -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("{}-{}", VIRTIOFSD.name, VIRTIOFSD.version)))
}

fn virtiofsd_there() -> Result<Option<PathBuf>> {
    Ok(cached::existing(&virtiofsd_directory()?, Path::new("bin/virtiofsd")))
}

fn virtiofsd(steps: &mut Steps) -> Result<PathBuf> {
    const WHY: &str = "it gives a virtual machine this machine's files; a minute, once for this user";
    if let Some(there) = virtiofsd_there()? {
        steps.there(&there.display().to_string(), WHY);
        return Ok(there);
    }
    let directory = virtiofsd_directory()?;
    steps.doing(&format!("compiling virtiofsd {} into {}", VIRTIOFSD.version, directory.display()), WHY);
    VIRTIOFSD.install(&directory, |_| ())
}

/// Fetched as a file, since its package conflicts with that of a busybox that needs libraries.
pub(super) fn busybox(processor: Processor, steps: &mut Steps) -> Result<PathBuf> {
    const PACKAGE: &str = "busybox-static";
    const WHY: &str =
        "a program that needs nothing else: a virtual machine boots into it, pods are held by it";
    let directory = workspace::cache()?.join(processor.tell_apart(PACKAGE));
    let file = Path::new(BUSYBOX);
    if let Some(there) = cached::existing(&directory, file) {
        steps.there(&there.display().to_string(), WHY);
        return Ok(there);
    }
    steps.doing(&format!("fetching and unpacking {PACKAGE}"), WHY);
    Archive::of(&archive::codename()?, processor)?.unpack(PACKAGE, &directory, file, |root| {
        // Where it lies since trixie.
        let moved = root.join("usr").join(BUSYBOX);
        if moved.is_file() {
            std::fs::create_dir_all(root.join("bin"))?;
            std::fs::copy(moved, root.join(BUSYBOX))?;
        }
        Ok(())
    })
}
