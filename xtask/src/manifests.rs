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

/// Files that the chart brings by a link, with where their text begins in what is rendered.
const BROUGHT: [(&str, usize); 2] = [("deploy/prometheus/rules", 2), ("deploy/grafana/dashboards", 4)];

pub(crate) fn manifests(options: &Options) -> Result<()> {
    let base = workspace::root().join("deploy/kustomize/base/traffic-probe.yaml");
    let helm = setup::helm()?;
    let render = |values: &[&str]| render(&helm, values);
    let rendered = format!("{HEAD}{}", render(&[])?);
    brings_its_files(&render(&["prometheusRule.enabled=true", "dashboards.enabled=true"])?)?;
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

/// Fails unless rules and dashboards are there to the letter.
fn brings_its_files(rendered: &str) -> Result<()> {
    for (directory, indent) in BROUGHT {
        let directory = workspace::root().join(directory);
        let entries =
            fs::read_dir(&directory).with_context(|| format!("could not read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let text =
                fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
            if !rendered.contains(&indented(&text, indent)) {
                bail!("the chart does not bring {} as it is", path.display());
            }
        }
    }
    Ok(())
}

/// As helm's `nindent` does it, without what ends the last line.
fn indented(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    let lines: Vec<_> = text.trim_end().split('\n').map(|line| format!("{margin}{line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_indented_as_helm_does_it() {
        assert_eq!(indented("a:\n  b: 1\n", 2), "  a:\n    b: 1");
    }
}
