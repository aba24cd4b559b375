//! `cargo xtask manifests`: the chart is the one source; the kustomize base is rendered from it, for those who have no helm.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{exec, setup, workspace};

/// The release and the namespace that the base is of.
const NAME: &str = "traffic-probe";
/// The newest version that the chart is tried on.
const KUBERNETES: &str = "1.36.0";

const HEAD: &str = "# Rendered from deploy/helm/traffic-probe by `cargo xtask manifests`: change it there.\n";

/// What `manifests` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Only say whether the files are as the chart would have them
    #[arg(long)]
    check: bool,
}

pub(crate) fn manifests(options: &Options) -> Result<()> {
    let chart = workspace::root().join("deploy/helm/traffic-probe");
    let base = workspace::root().join("deploy/kustomize/base/traffic-probe.yaml");
    let mut helm = Command::new(setup::helm()?);
    helm.args(["template", NAME]).arg(&chart).args(["--namespace", NAME, "--kube-version", KUBERNETES]);
    let output = helm.output().with_context(|| format!("could not start `{}`", exec::quoted(&helm)))?;
    if !output.status.success() {
        bail!("{}: {}", exec::quoted(&helm), String::from_utf8_lossy(&output.stderr).trim());
    }
    let rendered = format!("{HEAD}{}", String::from_utf8_lossy(&output.stdout));
    let written = fs::read_to_string(&base).unwrap_or_default();
    if rendered == written {
        return Ok(());
    }
    if options.check {
        bail!("{} is not what the chart gives: run `cargo xtask manifests`", base.display());
    }
    fs::write(&base, rendered).with_context(|| format!("could not write {}", base.display()))?;
    eprintln!("manifests: wrote {}", base.display());
    Ok(())
}
