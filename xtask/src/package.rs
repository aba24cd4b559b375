//! `cargo xtask package`: a Debian and an RPM package with the agent, its unit and its settings.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::{build, exec, image, notices, setup, workspace};

/// What `package` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Which package to make; both if none is named
    #[arg(value_enum)]
    formats: Vec<Format>,
    /// Where to put them
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    to: PathBuf,
    /// Take the agent that `cargo xtask build` makes, which needs the C library of this machine, in place of a static one
    #[arg(long)]
    dynamic: bool,
}

/// A format of packages.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Debian, Ubuntu and what comes from them
    Deb,
    /// For Fedora, RHEL, SUSE and what comes from them
    Rpm,
}

pub(crate) fn package(options: &Options) -> Result<()> {
    let packagers = setup::packagers()?;
    let target = staged(options)?;
    let directory = workspace::root().join(&options.to);
    fs::create_dir_all(&directory).with_context(|| format!("could not create {}", directory.display()))?;
    let wanted = |format| options.formats.is_empty() || options.formats.contains(&format);
    if wanted(Format::Deb) {
        let mut deb = packager(&packagers.deb, &target);
        deb.args(["--no-build", "--no-strip", "--package", "probe-user", "--output"]).arg(&directory);
        make("the Debian package", &mut deb, &directory, "deb")?;
    }
    if wanted(Format::Rpm) {
        let mut rpm = packager(&packagers.rpm, &target);
        rpm.args(["--package", "probe-user", "--output"]).arg(&directory);
        make("the RPM package", &mut rpm, &directory, "rpm")?;
    }
    Ok(())
}

/// Makes both of the agent that the tests run.
pub(crate) fn for_tests(directory: &Path) -> Result<()> {
    package(&Options { formats: Vec::new(), to: directory.to_owned(), dynamic: true })
}

/// Puts the agent, without what only debuggers read, where the makers of packages look for it: in the directory that is given
/// to them for cargo's.
fn staged(options: &Options) -> Result<PathBuf> {
    let built = if options.dynamic {
        build::build()?;
        workspace::agent()
    } else {
        image::binary()?
    };
    let target = workspace::target().join("packaged");
    let release = target.join("release");
    fs::create_dir_all(&release).with_context(|| format!("could not create {}", release.display()))?;
    exec::run(Command::new("strip").arg("-o").arg(release.join("traffic-probe")).arg(built))?;
    notices::write(&host()?, &release.join("THIRD-PARTY-NOTICES"))?;
    Ok(target)
}

/// The target of this machine. A static binary is linked with the same crates.
pub(crate) fn host() -> Result<String> {
    let said = exec::output(Command::new("rustc").arg("-vV").current_dir(workspace::root()));
    let host = said.as_deref().and_then(|said| said.lines().find_map(|line| line.strip_prefix("host: ")));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

fn packager(program: &Path, target: &Path) -> Command {
    let mut command = Command::new(program);
    workspace::forget_cargo(&mut command);
    command.current_dir(workspace::root()).env("CARGO_TARGET_DIR", target);
    command
}

/// Has a package made, in place of an earlier one, and says where it is.
fn make(what: &str, packager: &mut Command, directory: &Path, suffix: &str) -> Result<()> {
    let found = || -> Result<Vec<PathBuf>> {
        let entries =
            fs::read_dir(directory).with_context(|| format!("could not read {}", directory.display()))?;
        let files = entries.flatten().map(|entry| entry.path());
        Ok(files.filter(|file| file.extension().is_some_and(|extension| extension == suffix)).collect())
    };
    for old in found()? {
        fs::remove_file(&old).with_context(|| format!("could not remove {}", old.display()))?;
    }
    exec::run_long(&format!("making {what}"), packager)?;
    let [package] = &found()?[..] else { bail!("{} holds no single .{suffix}", directory.display()) };
    let size = fs::metadata(package).with_context(|| format!("could not read {}", package.display()))?.len();
    eprintln!("package: {} is {size} bytes", package.display());
    Ok(())
}
