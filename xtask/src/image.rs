//! `cargo xtask image`: a container image with the agent alone, built by what the machine has for it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, exec, setup, workspace};

/// What builds images, in the order of preference: without a daemon first.
const BUILDERS: [&str; 3] = ["buildah", "podman", "docker"];

/// The stage of the recipe that takes a binary from the host.
const STAGE: &str = "prebuilt";

/// What `image` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The image's name
    #[arg(long, default_value = "localhost/traffic-probe:dev")]
    tag: String,
    /// Also write it to this file, as `docker load` and `cargo xtask cluster load` read it
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Only build the static binary: target/image/traffic-probe
    #[arg(long)]
    binary_only: bool,
}

pub(crate) fn image(options: &Options) -> Result<()> {
    let binary = binary()?;
    eprintln!("image: {} is {} bytes", binary.display(), size(&binary)?);
    if options.binary_only {
        return Ok(());
    }
    let builder = BUILDERS.into_iter().find(|builder| exec::find(builder).is_some()).with_context(|| {
        format!(
            "nothing here builds images: install one of {}, such as by `apt install buildah`",
            BUILDERS.join(", ")
        )
    })?;
    let context = binary.parent().context("the binary lies in no directory")?;
    let storage = Storage::of(builder);
    let mut build = storage.command();
    build.args(if builder == "buildah" { &["bud", "--isolation", "chroot"][..] } else { &["build"] });
    build.arg("--file").arg(workspace::root().join("deploy/image/Dockerfile"));
    // The same sources give the same image, whenever it is built.
    if builder != "docker" {
        build.args(["--timestamp", "0"]);
    }
    build.args(["--target", STAGE, "--tag", &options.tag]).arg(context);
    exec::run_long(&format!("building the image by {builder}"), &mut build)?;
    if let Some(archive) = &options.archive {
        let _ = fs::remove_file(archive);
        storage.save(&options.tag, archive)?;
        eprintln!("image: {} is {} bytes", archive.display(), size(archive)?);
    }
    eprintln!("image: {} is in the storage of {builder}", options.tag);
    Ok(())
}

/// Compiles the agent with all that it needs in it.
pub(crate) fn binary() -> Result<PathBuf> {
    let toolchain = setup::ensure(&[setup::Group::Image])?;
    let object = build::ebpf(&toolchain)?;
    let target = static_target();
    add_target(&target)?;
    let mut cargo = workspace::host_cargo("build");
    cargo.args(["--release", "-p", "probe-user", "--bin", "traffic-probe", "--target", &target]);
    cargo.env(build::EBPF_VARIABLE, object);
    // Names of functions are a fifth of the file, and nobody reads a backtrace in a container that was replaced.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    exec::run(&mut cargo)?;
    let context = workspace::target().join("image");
    fs::create_dir_all(&context).with_context(|| format!("could not create {}", context.display()))?;
    let built = workspace::target().join(&target).join("release/traffic-probe");
    let binary = context.join("traffic-probe");
    fs::copy(&built, &binary)
        .with_context(|| format!("could not copy {} to {}", built.display(), binary.display()))?;
    Ok(binary)
}

fn static_target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// Rust's library for programs without a C library beside them comes with rustup.
fn add_target(target: &str) -> Result<()> {
    if exec::find("rustup").is_none() {
        bail!(
            "a static binary takes Rust's library for {target}, which comes by rustup: install that (https://rustup.rs)"
        );
    }
    let there =
        exec::output(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    if there.lines().any(|line| line == target) {
        return Ok(());
    }
    exec::run_long(
        &format!("adding rustup's target {target}"),
        Command::new("rustup").args(["target", "add", target]),
    )
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("could not read {}", file.display()))?.len())
}

/// Where a builder keeps images.
struct Storage {
    builder: &'static str,
}

impl Storage {
    const fn of(builder: &'static str) -> Self {
        Self { builder }
    }

    /// Overlays cannot be made everywhere, copies can; these images are small.
    fn command(&self) -> Command {
        let mut command = Command::new(self.builder);
        if self.builder != "docker" {
            command.args(["--storage-driver", "vfs"]);
        }
        command
    }

    fn save(&self, tag: &str, archive: &Path) -> Result<()> {
        let mut save = self.command();
        if self.builder == "buildah" {
            save.args(["push", "--quiet", tag]).arg(format!("docker-archive:{}:{tag}", archive.display()));
        } else {
            save.arg("save").arg("--output").arg(archive).arg(tag);
        }
        exec::run(&mut save)
    }
}
