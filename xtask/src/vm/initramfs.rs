//! What the guest boots from: busybox, the modules that it takes to mount its root, and a script.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    exec,
    setup::{Kernel, Machine},
};

/// The modules behind which a root of this machine's files is.
const MODULES: [&str; 3] = ["virtio_pci", "virtiofs", "overlay"];
/// Where things are mounted, and put.
const DIRECTORIES: [&str; 8] = ["bin", "modules", "dev", "proc", "sys", "lower", "rw", "whole"];

/// Packs the archive that the kernel unpacks into its first root.
pub(super) fn pack(machine: &Machine, init: &str, scratch: &Path) -> Result<PathBuf> {
    let root = scratch.join("initramfs");
    // A directory before what is in it.
    let mut names = String::from(".\n");
    for name in DIRECTORIES {
        let directory = root.join(name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("could not create {}", directory.display()))?;
        writeln!(names, "{name}")?;
    }
    names.push_str("init\nbin/busybox\nbin/sh\n");
    fs::copy(&machine.busybox, root.join("bin/busybox"))
        .with_context(|| format!("could not copy {}", machine.busybox.display()))?;
    symlink("busybox", root.join("bin/sh")).context("could not create a link")?;
    fs::write(root.join("init"), init).context("could not write the guest's script")?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))
        .context("could not make the guest's script executable")?;
    // Numbered, since they have to be loaded in this order.
    for (i, module) in modules(&machine.kernel)?.iter().enumerate() {
        let name = format!("modules/{i:02}");
        fs::write(root.join(&name), contents(module)?).with_context(|| format!("could not write {name}"))?;
        writeln!(names, "{name}")?;
    }
    archive(&root, &names, &scratch.join("initramfs.cpio"))
}

/// The files of the modules that are needed, each behind those that it needs itself.
fn modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let mut modprobe = Command::new("modprobe");
    modprobe.env("PATH", exec::search_path()).arg("-d").arg(&kernel.root).args(["-S", &kernel.release]);
    modprobe.args(["--show-depends", "-a"]).args(MODULES);
    let listing = exec::output(&mut modprobe)
        .with_context(|| format!("this command failed: {}", exec::quoted(&modprobe)))?;
    let mut files: Vec<PathBuf> = Vec::new();
    // What is built into the kernel stands there as `builtin`.
    for file in listing.lines().filter_map(|line| line.strip_prefix("insmod ")) {
        let file = PathBuf::from(file.trim());
        if !files.contains(&file) {
            files.push(file);
        }
    }
    Ok(files)
}

fn contents(module: &Path) -> Result<Vec<u8>> {
    if module.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(module).with_context(|| format!("could not read {}", module.display()));
    }
    let output = Command::new("xz").arg("-dc").arg(module).output().context("could not start xz")?;
    if !output.status.success() {
        bail!("xz could not decompress {}", module.display());
    }
    Ok(output.stdout)
}

fn archive(root: &Path, names: &str, file: &Path) -> Result<PathBuf> {
    let output = File::create(file).with_context(|| format!("could not create {}", file.display()))?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--quiet", "--owner=0:0"]).current_dir(root);
    let mut child = cpio.stdin(Stdio::piped()).stdout(output).spawn().context("could not start cpio")?;
    let mut stdin = child.stdin.take().context("cpio has no input")?;
    stdin.write_all(names.as_bytes()).context("cpio does not take the names of its files")?;
    drop(stdin);
    let status = child.wait().context("could not wait for cpio")?;
    if !status.success() {
        bail!("this command ended with {status}: {}", exec::quoted(&cpio));
    }
    Ok(file.to_owned())
}
