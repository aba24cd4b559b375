//! A machine with 64-bit ARM, emulated by QEMU: it boots into a shell script of the test's with busybox and the files that
//! the test gives it, and is over when the script is.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{process, tool};

/// A kernel takes half a minute to its first process, where every instruction is emulated and others use the processor too.
const LIMIT: Duration = Duration::from_mins(10);

/// What every script begins with: the programs of busybox, and what the kernel shows of itself.
const PROLOGUE: &str = r"#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
ifconfig lo up
";

const EPILOGUE: &str = "\npoweroff -f\n";

/// A file that the machine has.
#[derive(Debug)]
pub struct Given<'a> {
    /// Its name, in the root directory.
    pub name: &'a str,
    /// What is in it. It can be executed.
    pub contents: &'a [u8],
}

/// Runs a script to its end; gives what it and the kernel said.
pub fn run(files: &[Given<'_>], script: &str) -> Result<String> {
    let directory = TempDir::with_prefix("traffic-probe-arm64-")?;
    let initramfs = pack(directory.path(), files, script)?;
    let mut qemu = tool::command("qemu-system-aarch64")?;
    qemu.args(["-machine", "virt", "-cpu", "max", "-smp", "2", "-m", "1G"]);
    // In one thread: a kernel patches itself wherever programs are attached, and where each processor has a thread, one may
    // run what another is patching.
    qemu.args(["-accel", "tcg,thread=single"]);
    qemu.args(["-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio"]);
    qemu.arg("-kernel")
        .arg(tool::of_image_ring("TRAFFIC_PROBE_ARM64_KERNEL")?)
        .arg("-initrd")
        .arg(&initramfs);
    qemu.args(["-append", "console=ttyAMA0 quiet panic=-1"]);
    // The terminal's line ends.
    Ok(process::run_well(&mut qemu, LIMIT)?.replace('\r', ""))
}

/// Packs the archive that the kernel unpacks into its root.
fn pack(directory: &Path, files: &[Given<'_>], script: &str) -> Result<PathBuf> {
    let (root, archive) = (directory.join("root"), directory.join("initramfs"));
    for name in ["bin", "dev", "proc", "sys", "run", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    let busybox = fs::read(tool::of_image_ring("TRAFFIC_PROBE_ARM64_BUSYBOX")?)?;
    let init = [PROLOGUE, script, EPILOGUE].concat();
    let own = [
        Given { name: "bin/busybox", contents: &busybox },
        Given { name: "init", contents: init.as_bytes() },
    ];
    for Given { name, contents } in own.iter().chain(files) {
        fs::write(root.join(name), contents).with_context(|| format!("could not write {name}"))?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?;
    }
    symlink("busybox", root.join("bin/sh"))?;
    // A directory before what is in it, as `find` has them.
    let pack = "find . | cpio --create --format=newc --quiet --owner=0:0 --file=\"$0\"";
    process::run_well(tool::command("sh")?.args(["-c", pack]).arg(&archive).current_dir(&root), LIMIT)?;
    Ok(archive)
}
