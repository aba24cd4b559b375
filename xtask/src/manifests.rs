//! `cargo xtask manifests`: the chart is the one source; the kustomize base is rendered from it, for those who have no helm.
//! `--check` judges both.

mod judge;
mod variants;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
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
    /// Write nothing: say whether the files are as the chart would have them, and whether Kubernetes takes what the chart
    /// gives with each of its values
    #[arg(long)]
    check: bool,
}

pub(crate) fn manifests(options: &Options) -> Result<()> {
    let base = workspace::root().join("deploy/kustomize/base/traffic-probe.yaml");
    let helm = setup::helm()?;
    let render = |values: &[&str]| render(&helm, values);
    let rendered = format!("{HEAD}{}", render(&[])?);
    let written = fs::read_to_string(&base).unwrap_or_default();
    if options.check {
        ensure!(
            rendered == written,
            "{} is not what the chart gives: run `cargo xtask manifests`",
            base.display()
        );
        return judge::judge(&render);
    }
    if rendered == written {
        return Ok(());
    }
    fs::write(&base, rendered).with_context(|| format!("could not write {}", base.display()))?;
    eprintln!("manifests: wrote {}", base.display());
    Ok(())
}

/// What the chart gives with these values, as `--set-json` takes them.
fn render(helm: &Path, values: &[&str]) -> Result<String> {
    let chart = workspace::root().join("deploy/helm/traffic-probe");
    let mut helm = Command::new(helm);
    helm.args(["template", NAME]).arg(chart).args(["--namespace", NAME, "--kube-version", KUBERNETES]);
    helm.args(values.iter().flat_map(|value| ["--set-json", value]));
    let output = helm.output().with_context(|| format!("could not start `{}`", exec::quoted(&helm)))?;
    if !output.status.success() {
        bail!("{}: {}", exec::quoted(&helm), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
