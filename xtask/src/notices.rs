//! The notices of the crates that are linked into the agent and its kernel side: MIT, ISC, BSD and their like ask that their texts go
//! with every copy. Made from what cargo resolves after the lock file, so that none is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{build, exec, workspace};

/// How the files of a crate are called that have licences and notices.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// A crate that is linked.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Linked {
    name: String,
    version: String,
    /// What its manifest says.
    license: String,
    authors: String,
    directory: PathBuf,
}

/// Writes the notices of what is linked into the agent for a target to a file.
pub(crate) fn write(target: &str, file: &Path) -> Result<()> {
    let linked = linked(target)?;
    let text = text(&linked)?;
    fs::write(file, text).with_context(|| format!("could not write {}", file.display()))?;
    eprintln!("package: {} has the notices of {} crates", file.display(), linked.len());
    Ok(())
}

/// The crates, but for those of this tree, what only builds others, and procedural macros.
fn linked(target: &str) -> Result<BTreeSet<Linked>> {
    let mut names = BTreeSet::new();
    for (package, target) in [("probe-user", target), ("probe-ebpf", build::ebpf_target())] {
        let mut tree = workspace::host_cargo("tree");
        tree.args(["--locked", "--package", package, "--target", target, "--edges", "normal,no-proc-macro"]);
        tree.args(["--prefix", "none", "--format", "{p}"]);
        let said = exec::output(&mut tree)
            .with_context(|| format!("cargo does not tell what is linked: {}", exec::quoted(&tree)))?;
        names.extend(said.lines().filter_map(package_of));
    }
    let mut metadata = workspace::host_cargo("metadata");
    metadata.args(["--locked", "--format-version", "1"]);
    let said = exec::output(&mut metadata)
        .with_context(|| format!("cargo does not tell where crates are: {}", exec::quoted(&metadata)))?;
    let metadata: Value = serde_json::from_str(&said).context("what `cargo metadata` says")?;
    let packages = metadata["packages"].as_array().context("no packages in what `cargo metadata` says")?;
    let found: BTreeSet<_> = packages
        .iter()
        // Those of this tree have no registry.
        .filter(|package| !package["source"].is_null())
        .filter_map(of_metadata)
        .filter(|linked| names.contains(&(linked.name.clone(), linked.version.clone())))
        .collect();
    ensure!(found.len() > 100, "only {} crates are linked, which cannot be", found.len());
    Ok(found)
}

/// Name and version in a line such as `http v1.5.0` or `probe-user v0.1.0 (/a/b)`.
fn package_of(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
}

fn of_metadata(package: &Value) -> Option<Linked> {
    let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
    let authors = package["authors"].as_array()?.iter().filter_map(Value::as_str);
    let manifest = PathBuf::from(package["manifest_path"].as_str()?);
    Some(Linked {
        name: text("name"),
        version: text("version"),
        license: text("license"),
        authors: authors.collect::<Vec<_>>().join(", "),
        directory: manifest.parent()?.to_owned(),
    })
}

/// Each text once, with the crates that it is of.
fn text(linked: &BTreeSet<Linked>) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut all = String::from(
        "traffic-probe is linked with these crates. Each is listed with its licence; their texts and notices follow.\n\n",
    );
    for one in linked {
        let Linked { name, version, license, authors, directory } = one;
        let by = if authors.is_empty() { String::new() } else { format!(", by {authors}") };
        let _ = writeln!(all, "{name} {version}: {license}{by}");
        for text in files(directory)? {
            texts.entry(text).or_default().push(format!("{name} {version}"));
        }
    }
    for (text, of) in texts {
        let _ = write!(all, "\n{}\n{}\n\n{}\n", "=".repeat(80), of.join(", "), text.trim());
    }
    Ok(all)
}

/// The texts in a crate's directory that are licences and notices.
fn files(directory: &Path) -> Result<BTreeSet<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("could not read {}", directory.display()))?;
    let is_notice = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin))
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(is_notice);
    paths
        .map(|path| {
            let bytes = fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_there_once_with_all_that_it_is_of() {
        let directory = std::env::temp_dir().join(format!("traffic-probe-notices-{}", std::process::id()));
        let crates: BTreeSet<_> = ["a", "b"]
            .map(|name| Linked {
                name: name.into(),
                version: "1.0.0".into(),
                license: "MIT".into(),
                authors: "Somebody".into(),
                directory: directory.join(name),
            })
            .into();
        for one in &crates {
            fs::create_dir_all(&one.directory).unwrap();
            fs::write(one.directory.join("LICENSE-MIT"), "Permission is hereby granted\r\n").unwrap();
            fs::write(one.directory.join("licensing.rs.txt"), "").unwrap();
            fs::write(one.directory.join("README.md"), "not this").unwrap();
        }
        let text = text(&crates).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(text.contains("a 1.0.0: MIT, by Somebody\nb 1.0.0: MIT, by Somebody\n"), "{text}");
        assert!(text.contains("\na 1.0.0, b 1.0.0\n\nPermission is hereby granted\n"), "{text}");
        assert!(!text.contains("not this"), "{text}");
    }

    #[test]
    fn a_line_of_the_tree_names_a_package() {
        assert_eq!(package_of("http v1.5.0"), Some(("http".into(), "1.5.0".into())));
        assert_eq!(package_of("own v0.1.0 (/a/b) (*)"), Some(("own".into(), "0.1.0".into())));
        assert_eq!(package_of(""), None);
    }

    #[test]
    fn what_is_linked_here_has_notices() {
        let linked = linked(&crate::package::host().unwrap()).unwrap();
        for name in ["rustls", "tokio", "aya", "aya-ebpf", "ring"] {
            assert!(linked.iter().any(|one| one.name == name), "{name} is missing");
        }
        let text = text(&linked).unwrap();
        assert!(text.contains("Permission is hereby granted") && text.contains("ISC"), "{}", text.len());
    }
}
