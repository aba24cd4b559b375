//! What builds images, and where it keeps them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{platform::Platform, written};
use crate::{exec, workspace};

/// In the order of preference: without a daemon first.
const BUILDERS: [&str; 3] = ["buildah", "podman", "docker"];

/// The stage of the recipe that takes a binary from the host.
const STAGE: &str = "prebuilt";

/// A program that builds images.
pub(super) struct Builder {
    program: &'static str,
    /// Where its images are, if not where the user has theirs.
    storage: Option<PathBuf>,
}

impl Builder {
    /// The one that this machine has.
    pub(super) fn find() -> Result<Self> {
        let program =
            BUILDERS.into_iter().find(|program| exec::find(program).is_some()).with_context(|| {
                format!(
                    "nothing here builds images: install one of {}, such as by `apt install buildah`",
                    BUILDERS.join(", ")
                )
            })?;
        Ok(Self { program, storage: None })
    }

    /// buildah, with a storage that is nobody else's.
    pub(super) fn buildah_in(storage: &Path) -> Self {
        Self { program: "buildah", storage: Some(storage.to_owned()) }
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        self.program
    }

    /// Builds the image from the directory of a binary, so that the same binary gives the same image, whenever and wherever.
    pub(super) fn build(&self, binary: &Path, platform: Platform, tag: &str) -> Result<()> {
        let context = binary.parent().context("the binary lies in no directory")?;
        let mut build = self.command();
        build.args(if self.program == "buildah" {
            &["bud", "--isolation", "chroot"][..]
        } else {
            &["build"]
        });
        build.arg("--file").arg(workspace::root().join("deploy/image/Dockerfile"));
        if self.program == "docker" {
            build.env("SOURCE_DATE_EPOCH", written());
        } else {
            // Nor is its own version in it.
            build.args(["--timestamp", &written(), "--identity-label=false"]);
        }
        build.args(["--platform", platform.name(), "--target", STAGE, "--tag", tag]).arg(context);
        exec::run_long(&format!("building the image by {}", self.program), &mut build)
    }

    /// Writes an image to a file.
    pub(super) fn save(&self, tag: &str, archive: &Path) -> Result<()> {
        // It is not overwritten.
        let _ = fs::remove_file(archive);
        let mut save = self.command();
        if self.program == "buildah" {
            save.args(["push", "--quiet", tag]).arg(format!("docker-archive:{}:{tag}", archive.display()));
        } else {
            save.arg("save").arg("--output").arg(archive).arg(tag);
        }
        exec::run(&mut save)
    }

    /// Removes what is in a storage of its own.
    pub(super) fn remove_all(&self) -> Result<()> {
        if self.storage.is_some() {
            exec::run(self.command().args(["rmi", "--all", "--force"]))?;
        }
        Ok(())
    }

    /// Overlays cannot be made everywhere, copies can; these images are small.
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        if self.program != "docker" {
            command.args(["--storage-driver", "vfs"]);
        }
        if let Some(storage) = &self.storage {
            command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
        }
        command
    }
}
