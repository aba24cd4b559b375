//! Whether the chart, and what is rendered from it, are what Kubernetes takes: by helm's own lint, and by the schemas of three
//! versions.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use super::variants::VARIANTS;
use crate::{exec, setup, workspace};

/// The three newest that kubernetes-validate knows.
const VERSIONS: [&str; 3] = ["1.35", "1.36", "1.37"];

/// Kinds of the Prometheus operator, which Kubernetes has no schema of.
const FOREIGN: &str = "monitoring.coreos.com/";

/// Judges all of them, and says so.
pub(super) fn judge(render: &dyn Fn(&[&str]) -> Result<String>) -> Result<()> {
    lint()?;
    let directory = workspace::target().join("manifests");
    fs::create_dir_all(&directory).with_context(|| format!("could not create {}", directory.display()))?;
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, values) in VARIANTS {
        let rendered = render(values).with_context(|| format!("the chart with {values:?}"))?;
        let file = directory.join(format!("{}.yaml", name.replace(' ', "-")));
        fs::write(&file, &rendered).with_context(|| format!("could not write {}", file.display()))?;
        files.push(file);
        ensure!(seen.insert(rendered), "{values:?} change nothing of what the chart gives");
    }
    let base = workspace::root().join("deploy/kustomize/base");
    files.extend(["namespace.yaml", "traffic-probe.yaml"].map(|name| base.join(name)));
    let objects = valid(&files)?;
    let versions = VERSIONS.join(", ");
    eprintln!("manifests: {objects} objects of {} files are valid in {versions}", files.len());
    Ok(())
}

fn lint() -> Result<()> {
    let mut helm = Command::new(setup::helm()?);
    helm.args(["lint", "--strict", "--quiet"]).arg(workspace::root().join("deploy/helm/traffic-probe"));
    let output = helm.output().with_context(|| format!("could not start `{}`", exec::quoted(&helm)))?;
    ensure!(
        output.status.success(),
        "helm lint: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Has kubernetes-validate judge the files, where an unknown field is an error: how many objects it found valid in every
/// version, which must be all.
fn valid(files: &[PathBuf]) -> Result<usize> {
    let modules = setup::schemas()?;
    let mut expected = 0;
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
        let objects = own_objects(&text);
        ensure!(objects > 0, "{} has no object", file.display());
        expected += objects;
    }
    for version in VERSIONS {
        let mut python = Command::new("python3");
        python.args(["-m", "kubernetes_validate", "--strict", "-k", version]).args(files);
        let output = python.env("PYTHONPATH", &modules).output().context("could not start python3")?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let (passed, others): (Vec<_>, Vec<_>) =
            said.lines().partition(|line| line.contains(" passed for resource "));
        ensure!(
            output.status.success() && passed.len() == expected,
            "{} of {expected} objects are valid in Kubernetes {version}: {}",
            passed.len(),
            others.join("\n")
        );
    }
    Ok(expected)
}

/// How many objects a manifest has that are Kubernetes' own.
fn own_objects(text: &str) -> usize {
    let versions = text.lines().filter_map(|line| line.strip_prefix("apiVersion: "));
    versions.filter(|version| !version.starts_with(FOREIGN)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kubernetes_own_objects_are_counted() {
        let text = "apiVersion: v1\nkind: A\n---\napiVersion: monitoring.coreos.com/v1\nkind: B\n---\napiVersion: apps/v1\n\
                    spec:\n  apiVersion: v1\n";
        assert_eq!(own_objects(text), 2);
    }
}
