//! newman, which runs Postman collections: from npm, with every package of it pinned by `xtask/newman/package-lock.json`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    cached,
    step::{Detail, Steps},
    tools::{Tool, tool},
};
use crate::{exec, workspace};

/// The version that `xtask/newman/package.json` asks for.
const VERSION: &str = "6.2.2";

/// What it takes, and what judges the examples that start it.
pub(super) const TOOLS: [Tool; 3] = [
    tool("node", "nodejs", "newman runs in it"),
    tool("prometheus", "prometheus", "scrapes what a monitor tells, and raises alerts"),
    tool("python3", "python3", "a server for the quick start"),
];

/// Installs it if it is missing, telling only of that, and says where it is.
pub(crate) fn newman() -> Result<PathBuf> {
    prepare(&mut Steps::new(Detail::Changes))
}

/// The same as a part of a set-up.
pub(super) fn prepare(steps: &mut Steps) -> Result<PathBuf> {
    const WHY: &str = "it runs the Postman collections; 10 seconds, once for this user";
    let directory = workspace::cache()?.join(format!("newman-{VERSION}"));
    let program = Path::new("node_modules/.bin/newman");
    if let Some(there) = cached::existing(&directory, program) {
        steps.there(&there.display().to_string(), WHY);
        return Ok(there);
    }
    steps.doing(&format!("installing newman {VERSION} into {}", directory.display()), WHY);
    let partial = cached::beside(&directory, "partial");
    fs::create_dir_all(&partial).with_context(|| format!("could not create {}", partial.display()))?;
    let source = workspace::root().join("xtask/newman");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), partial.join(file))
            .with_context(|| format!("could not copy {file} to {}", partial.display()))?;
    }
    let mut npm = Command::new("npm");
    // Just what the lock says, and nothing of it runs while it is installed.
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&partial);
    exec::run_long("installing newman", &mut npm)?;
    cached::adopt(&partial, &directory, program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_has_just_the_version_that_the_cache_is_named_after() {
        let source = workspace::root().join("xtask/newman");
        let read = |file| fs::read_to_string(source.join(file)).unwrap();
        assert!(read("package.json").contains(&format!("\"newman\": \"{VERSION}\"")));
        let lock = read("package-lock.json");
        let (_, package) = lock.split_once("\"node_modules/newman\": {").unwrap();
        assert!(package.trim_start().starts_with(&format!("\"version\": \"{VERSION}\"")));
    }
}
