//! What the binary is made of, as a bill of materials in the form of `CycloneDX`: every crate that is linked into the agent or
//! into its kernel side, as cargo resolves them for their targets, and Rust's own libraries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{platform::Platform, written};
use crate::{build, exec, setup::Toolchain, workspace};

/// A list of `package TAB licence` lines with their depth ahead, from cargo.
const FORMAT: &str = "\t{p}\t{l}";

/// What is linked, and what takes what.
#[derive(Default)]
struct Graph {
    /// By their reference.
    components: BTreeMap<String, Value>,
    /// References of what each takes.
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Writes the bill of a binary, beside the archive of its image.
pub(super) fn write(binary: &Path, platform: Platform, toolchain: &Toolchain, archive: &Path) -> Result<()> {
    let (bill, file) = (bill(binary, &platform.target(), toolchain)?, beside(archive));
    fs::write(&file, format!("{bill:#}\n")).with_context(|| format!("could not write {}", file.display()))?;
    eprintln!(
        "image: {} lists {} components",
        file.display(),
        bill["components"].as_array().map_or(0, Vec::len)
    );
    Ok(())
}

/// Where the bill of an archive is.
pub(super) fn beside(archive: &Path) -> PathBuf {
    archive.with_extension("cdx.json")
}

fn bill(binary: &Path, target: &str, toolchain: &Toolchain) -> Result<Value> {
    let checksums = checksums(&fs::read_to_string(workspace::root().join("Cargo.lock"))?);
    let mut graph = Graph::default();
    let agent = graph.add("probe-user", target, &checksums)?;
    let kernel_side = graph.add("probe-ebpf", build::ebpf_target(), &checksums)?;
    // Each with the library of the compiler that it was compiled by.
    let host = rustc(Command::new("rustc").current_dir(workspace::root()))?;
    graph.link(&agent, rust_library("std", &host));
    graph.link(&kernel_side, rust_library("core", &rustc(&mut toolchain.rustc())?));
    graph.link_known(&agent, &kernel_side);

    let mut components = graph.components;
    let mut subject = components.remove(&agent).context("the agent is not among what it is made of")?;
    let digest = digest(binary)?;
    subject["type"] = "application".into();
    subject["name"] = "traffic-probe".into();
    subject["hashes"] = json!([{ "alg": "SHA-256", "content": digest }]);
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&digest)),
        "version": 1,
        "metadata": {
            "timestamp": timestamp()?,
            "component": subject,
            "properties": [{ "name": "cdx:rustc:target", "value": target }],
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": graph.edges.iter().map(|(from, to)| json!({ "ref": from, "dependsOn": to })).collect::<Vec<_>>(),
    }))
}

impl Graph {
    /// Adds a package of the workspace with all that is linked into it for a target; gives its reference.
    ///
    /// Neither what only builds it nor procedural macros are linked, so that both are left out.
    fn add(
        &mut self,
        package: &str,
        target: &str,
        checksums: &BTreeMap<(String, String), String>,
    ) -> Result<String> {
        let mut tree = workspace::host_cargo("tree");
        tree.args(["--locked", "--package", package, "--target", target, "--edges", "normal,no-proc-macro"]);
        tree.args(["--prefix", "depth", "--format", FORMAT]);
        let said = exec::output(&mut tree)
            .with_context(|| format!("cargo does not tell what is linked: {}", exec::quoted(&tree)))?;
        // The references from the package down to the line at hand.
        let mut above: Vec<String> = Vec::new();
        for line in said.lines() {
            let linked = Linked::parse(line).with_context(|| format!("a line of `cargo tree`: {line}"))?;
            let reference = linked.reference();
            above.truncate(linked.depth);
            if let Some(parent) = above.last() {
                self.edges.entry(parent.clone()).or_default().insert(reference.clone());
            }
            self.edges.entry(reference.clone()).or_default();
            self.components.entry(reference.clone()).or_insert_with(|| linked.component(checksums));
            above.push(reference);
        }
        above.into_iter().next().with_context(|| format!("cargo lists nothing for {package}"))
    }

    /// Adds a component that another takes.
    fn link(&mut self, from: &str, component: Value) {
        let reference = component["bom-ref"].as_str().unwrap_or_default().to_owned();
        self.components.insert(reference.clone(), component);
        self.link_known(from, &reference);
    }

    fn link_known(&mut self, from: &str, to: &str) {
        self.edges.entry(to.to_owned()).or_default();
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
    }
}

/// A line of cargo's tree.
struct Linked<'a> {
    depth: usize,
    name: &'a str,
    version: &'a str,
    license: String,
    /// Not of a registry, but of this tree.
    own: bool,
}

impl<'a> Linked<'a> {
    /// Such as `2`, `http v1.5.0` and `MIT OR Apache-2.0 (*)`, parted by tabs.
    fn parse(line: &'a str) -> Option<Self> {
        let [depth, package, license] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        // What was told before is marked; older manifests part licences by a slash.
        let license =
            license.trim_end_matches(" (*)").split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
        Some(Self { depth: depth.parse().ok()?, name, version, license, own: words.next().is_some() })
    }

    fn reference(&self) -> String {
        // Without a registry there is no package of that name but in this tree.
        let place = if self.own {
            "?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Ftraffic-probe%2Ftraffic-probe"
        } else {
            ""
        };
        format!("pkg:cargo/{}@{}{place}", self.name, self.version)
    }

    fn component(&self, checksums: &BTreeMap<(String, String), String>) -> Value {
        let mut component = library(self.name, self.version, &self.reference(), &self.license);
        if let Some(sum) = checksums.get(&(self.name.to_owned(), self.version.to_owned())) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    }
}

fn library(name: &str, version: &str, purl: &str, license: &str) -> Value {
    let mut library = json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    });
    if !license.is_empty() {
        library["licenses"] = json!([{ "expression": license }]);
    }
    library
}

/// Rust's own library, which comes with the compiler; that for musl has musl in it.
fn rust_library(name: &str, version: &str) -> Value {
    let purl = format!("pkg:generic/rust-{name}@{version}");
    library(&format!("rust-{name}"), version, &purl, "MIT OR Apache-2.0")
}

/// The version of a compiler.
fn rustc(command: &mut Command) -> Result<String> {
    let said = exec::output(command.arg("--version")).unwrap_or_default();
    match said.split(' ').nth(1) {
        Some(version) => Ok(version.to_owned()),
        None => bail!("the compiler does not tell its version: {}", exec::quoted(command)),
    }
}

/// The digests of the crates' files by name and version, as the lock file has them.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let packages = lock.split("[[package]]").skip(1);
    let field = |package: &str, name: &str| {
        let lines = package.lines();
        let mut values =
            lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
        values.next().map(str::to_owned)
    };
    packages
        .filter_map(|package| {
            Some(((field(package, "name")?, field(package, "version")?), field(package, "checksum")?))
        })
        .collect()
}

/// A file's SHA-256.
pub(super) fn digest(file: &Path) -> Result<String> {
    let said = exec::output(Command::new("sha256sum").arg(file));
    let digest = said.as_deref().and_then(|said| said.split(' ').next()).filter(|digest| digest.len() == 64);
    Ok(digest
        .with_context(|| format!("sha256sum does not tell the digest of {}", file.display()))?
        .to_owned())
}

/// The same for the same binary: an identifier of version 8, whose bits are the maker's to choose.
fn uuid(digest: &str) -> String {
    format!(
        "{}-{}-8{}-8{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[13..16],
        &digest[17..20],
        &digest[20..32]
    )
}

fn timestamp() -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", &format!("--date=@{}", written()), "+%Y-%m-%dT%H:%M:%SZ"]);
    let said = exec::output(&mut date).with_context(|| format!("no date: {}", exec::quoted(&date)))?;
    Ok(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_tree_is_understood() {
        let linked = Linked::parse("2\thttp v1.5.0\tMIT / Apache-2.0 (*)").unwrap();
        assert_eq!((linked.depth, linked.license.as_str(), linked.own), (2, "MIT OR Apache-2.0", false));
        assert_eq!(linked.reference(), "pkg:cargo/http@1.5.0");
        assert!(Linked::parse("0\tprobe-user v0.1.0 (/home/a/b)\tMIT").unwrap().own);
        assert!(Linked::parse("error: no such package").is_none());
    }

    #[test]
    fn the_lock_file_has_digests() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"own\"\nversion = \"2.0.0\"\n";
        let sums = checksums(lock);
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[&("a".to_owned(), "1.0.0".to_owned())], "ff");
    }

    #[test]
    fn an_identifier_has_its_form() {
        let digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(uuid(digest), "01234567-89ab-8def-8123-456789abcdef");
    }
}
