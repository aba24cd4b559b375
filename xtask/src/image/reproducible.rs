//! Whether the same commit gives the same image in another folder: two clones, built from nothing, byte for byte.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::sbom::{beside, digest};
use crate::{exec, workspace};

/// Folders whose paths differ in length and in depth.
const FOLDERS: [&str; 2] = ["a", "another/folder"];

/// What an image comes to.
#[derive(PartialEq, Eq)]
struct Built {
    archive: String,
    bill: String,
}

/// Builds the commit that is checked out twice, and fails unless archives and bills are the same. The clones stay if they differ.
pub(super) fn check() -> Result<()> {
    let directory = workspace::target().join("reproducible");
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("could not remove {}", directory.display()))?;
    }
    let changed = exec::output(git().args(["status", "--porcelain"])).context(
        "this tree is not a git repository, or there is no git: what is checked is that a commit gives the same image",
    )?;
    if !changed.is_empty() {
        eprintln!("image: what is not committed is in neither of the two");
    }
    let [first, second] = FOLDERS.map(|folder| directory.join(folder));
    let (first, second) = (build(&first)?, build(&second)?);
    for (folder, built) in FOLDERS.iter().zip([&first, &second]) {
        println!("{folder}: archive sha256:{}, bill sha256:{}", built.archive, built.bill);
    }
    if first != second {
        bail!("the two differ; they are in {}, for `diffoscope` and the like", directory.display());
    }
    println!("the same commit gives the same image");
    fs::remove_dir_all(&directory).with_context(|| format!("could not remove {}", directory.display()))
}

fn build(clone: &Path) -> Result<Built> {
    exec::run_long("cloning", git().args(["clone", "--quiet", "--no-hardlinks", "."]).arg(clone))?;
    let archive = clone.join("target/traffic-probe.tar");
    let mut xtask = workspace::host_cargo("run");
    xtask.args([
        "--package",
        "xtask",
        "--",
        "image",
        "--tag",
        "localhost/traffic-probe:reproducible",
        "--archive",
    ]);
    xtask.arg(&archive).current_dir(clone).env("CARGO_TARGET_DIR", clone.join("target"));
    exec::run_long(&format!("building in {}", clone.display()), &mut xtask)?;
    Ok(Built { archive: digest(&archive)?, bill: digest(&beside(&archive))? })
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(workspace::root());
    git
}
