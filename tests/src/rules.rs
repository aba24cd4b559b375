//! What is under `deploy` for Prometheus, as it is shipped, and as tests run it: sooner, but with the same expressions.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How long a test has an alert wait before it fires, and keep firing.
const SOON: &str = "1s";

/// An alert as a file of rules has it.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// The group that it is in.
    pub group: String,
    /// When it is true.
    pub expr: String,
    /// How long that has to last; `0s` if nothing is said.
    pub waits: String,
    /// How long it goes on firing afterwards; `0s` if nothing is said.
    pub keeps: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A file or directory of the repository.
#[must_use]
pub fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Reads YAML.
pub fn yaml(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))
}

/// Every alert that is shipped, in its order.
pub fn alerts() -> Result<Vec<Alert>> {
    let document = yaml(&of_repository("deploy/prometheus/rules/alerts.yml"))?;
    let mut alerts = Vec::new();
    for group in document["groups"].as_array().context("groups")? {
        for rule in group["rules"].as_array().context("rules")? {
            let text = |name: &str| rule[name].as_str().map(str::to_owned);
            alerts.push(Alert {
                name: text("alert").with_context(|| format!("no alert: {rule}"))?,
                group: group["name"].as_str().context("a group's name")?.to_owned(),
                expr: text("expr").context("expr")?,
                waits: text("for").unwrap_or_else(|| "0s".into()),
                keeps: text("keep_firing_for").unwrap_or_else(|| "0s".into()),
                labels: texts(&rule["labels"])?,
                annotations: texts(&rule["annotations"])?,
            });
        }
    }
    ensure!(!alerts.is_empty(), "there are no alerts");
    Ok(alerts)
}

fn texts(object: &Value) -> Result<BTreeMap<String, String>> {
    let texts = object.as_object().context("an object")?.iter().map(|(name, value)| {
        Ok((name.clone(), value.as_str().with_context(|| format!("{name} is no text"))?.to_owned()))
    });
    texts.collect()
}

/// Copies the shipped rules into a directory. Alerts fire and end sooner; nothing else of them is another.
pub fn hurried(into: &Path) -> Result<()> {
    let from = of_repository("deploy/prometheus/rules");
    for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let text: String = fs::read_to_string(&path)?.lines().map(hurry).collect();
        fs::write(into.join(path.file_name().context("a file's name")?), text)?;
    }
    Ok(())
}

fn hurry(line: &str) -> String {
    for key in ["for: ", "keep_firing_for: "] {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with(key) {
            return format!("{}{key}{SOON}\n", &line[..indent]);
        }
    }
    format!("{line}\n")
}

/// Replaces a text that must be there, so that a test notices when a shipped file no longer says what it sets.
pub fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    ensure!(text.contains(from), "there is no `{from}` to replace by `{to}` in:\n{text}");
    Ok(text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_is_hurried() {
        assert_eq!(hurry("        for: 10m"), "        for: 1s\n");
        assert_eq!(hurry("        keep_firing_for: 5m"), "        keep_firing_for: 1s\n");
        assert_eq!(hurry("  expr: rate(a[5m]) > 1"), "  expr: rate(a[5m]) > 1\n");
        assert!(replaced("a: 1", "b: 1", "b: 2").is_err());
    }
}
