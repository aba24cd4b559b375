//! A root of its own for what would change the machine: this machine's files, under a layer of memory that goes with it.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{process, tool};

const LIMIT: Duration = Duration::from_mins(2);

/// What prepares it. The mounts are in a namespace of this process's, with which they go. At the end it says what the layer has
/// of the names that are asked for, but for files that are only gone.
const PREPARE: &str = r#"
set -eu
root=$1; script=$2; pattern=$3; file=$4
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/merged"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/merged"
for tree in proc sys dev; do mount --rbind "/$tree" "$root/merged/$tree"; done
mount -t tmpfs tmpfs "$root/merged/run"
mount -t tmpfs tmpfs "$root/merged/tmp"
cp "$file" "$root/merged/tmp/"
cp "$script" "$root/merged/tmp/script"
cd "$root/merged"
chroot . /bin/sh -eu /tmp/script
echo "left:"
find "$root/upper" -name "$pattern" ! -type c | sed "s|^$root/upper||"
"#;

/// Runs a shell script as root of such a root, with a file in its `/tmp`; gives what it wrote, and what it left of files
/// whose names fit a pattern.
pub fn run(script: &str, file: &Path, pattern: &str) -> Result<(String, Vec<String>)> {
    tool::demand_root()?;
    let directory = TempDir::with_prefix("traffic-probe-root-")?;
    let (root, written) = (directory.path().join("root"), directory.path().join("script"));
    fs::create_dir(&root)?;
    fs::write(&written, script)?;
    let mut command: Command = tool::command("unshare")?;
    command.args(["--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh"]);
    command.arg(&root).arg(&written).arg(pattern).arg(file).current_dir("/");
    let output = process::run(&mut command, LIMIT)?;
    ensure!(
        output.status.success(),
        "the script ended with {}:\n{}\n{}",
        output.status,
        output.stdout,
        output.stderr
    );
    let (said, left) = output.stdout.rsplit_once("left:\n").context("no end")?;
    Ok((said.to_owned(), left.lines().map(str::to_owned).collect()))
}
