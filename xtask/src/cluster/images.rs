//! Images, made without a registry.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::Cluster;
use crate::exec;

/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";

/// Makes the image of pods' first containers.
pub(super) fn pause(cluster: &Cluster) -> Result<()> {
    let context = cluster.file("pause");
    fs::create_dir(&context).with_context(|| format!("could not create {}", context.display()))?;
    let busybox = context.join("busybox");
    fs::copy(&cluster.programs.busybox, &busybox)
        .with_context(|| format!("could not copy busybox to {}", busybox.display()))?;
    let recipe = "FROM scratch\nCOPY busybox /busybox\nENTRYPOINT [\"/busybox\", \"sleep\", \"infinity\"]\n";
    fs::write(context.join("Containerfile"), recipe)
        .with_context(|| format!("could not write a file in {}", context.display()))?;
    build(&context, PAUSE, &cluster.file("images").join("pause.tar"))
}

/// Builds an image from a directory with a Containerfile, and writes it to a file.
fn build(context: &Path, name: &str, archive: &Path) -> Result<()> {
    let storage = context.join("storage");
    let buildah = || {
        let mut buildah = Command::new("buildah");
        buildah.args(["--storage-driver", "vfs", "--root"]).arg(&storage);
        buildah.arg("--runroot").arg(context.join("run"));
        buildah
    };
    let mut bud = buildah();
    bud.args(["bud", "--isolation", "chroot", "--quiet", "--tag", name]).arg(context);
    exec::run(bud.stdout(std::process::Stdio::null()))?;
    let mut push = buildah();
    push.args(["push", "--quiet", name]).arg(format!("docker-archive:{}:{name}", archive.display()));
    exec::run(&mut push)
}
