//! Removes what was built.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};
use clap::Args;

use crate::{setup, workspace};

/// What `clean` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Removes the tools that setup built for itself as well
    #[arg(long)]
    all: bool,
}

/// Removes `target`, with `--all` also our cache, and names what is left.
pub(crate) fn clean(options: &Options) -> Result<()> {
    remove(&workspace::target())?;
    let cache = workspace::cache()?;
    if options.all {
        remove(&cache)?;
    } else if cache.exists() {
        println!(
            "clean: {} stays (bpf-linker, virtiofsd and Kubernetes, minutes to build, and kernels); `clean --all` removes it",
            cache.display()
        );
    }
    let packages = setup::installed_packages();
    if !packages.is_empty() {
        println!(
            "clean: system packages stay, whether setup or someone else installed them; those it asks for are:"
        );
        println!("           {}", packages.join(" "));
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Ok(()) => println!("clean: removed {}", directory.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            let advice = "if a command run by root left files there, remove it as root";
            return Err(error).with_context(|| format!("could not remove {}; {advice}", directory.display()));
        }
    }
    Ok(())
}
