//! The image's bill of materials: its form, and whether it says what is in the binary.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{container::Engine, process, tool};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(1);

/// What holds a bill to the schema: nothing that it does not know may be in it.
const VALIDATE: &str = r#"
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(0 if error is None else f"it is not as the schema demands: {error}")
"#;

fn file() -> Result<PathBuf> {
    Ok(tool::of_image_ring("TRAFFIC_PROBE_IMAGE")?.with_extension("cdx.json"))
}

fn bill() -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(file()?)?)?)
}

/// Holds a file to the schema.
fn validate(file: &std::path::Path) -> Result<process::Output> {
    let mut python: Command = tool::command("python3")?;
    python.env("PYTHONPATH", tool::of_image_ring("TRAFFIC_PROBE_BILL_SCHEMA")?);
    process::run(python.args(["-c", VALIDATE]).arg(file), LIMIT)
}

/// Names and versions of the components.
fn components(bill: &Value) -> Result<BTreeMap<&str, BTreeSet<&str>>> {
    let mut components = BTreeMap::<_, BTreeSet<_>>::new();
    for component in bill["components"].as_array().context("no components")? {
        let text =
            |field: &str| component[field].as_str().with_context(|| format!("no {field}: {component}"));
        components.entry(text("name")?).or_default().insert(text("version")?);
    }
    Ok(components)
}

/// The crates, as `name-version`, whose sources the binary names: where a panic would tell its place, and in the debug information of
/// the kernel side. They are below `/cargo/registry/src` and a directory of the registry, `/cargo` being what `xtask` calls
/// cargo's home.
fn named(binary: &[u8]) -> BTreeSet<String> {
    let parts: Vec<_> = binary.split(|byte| *byte == b'/').collect();
    let sources = parts.windows(5).filter(|parts| parts[..3] == [&b"cargo"[..], b"registry", b"src"]);
    // A text may end with the name, and another begin behind it.
    let of_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(*byte);
    sources.map(|parts| parts[4].iter().take_while(of_name).map(|byte| char::from(*byte)).collect()).collect()
}

#[test]
fn it_is_as_its_schema_demands() -> Result<()> {
    let said = validate(&file()?)?;
    ensure!(said.status.success(), "{}", said.stderr);
    // And the schema would not take anything.
    let mut wrong = bill()?;
    wrong["components"][0]["colour"] = "red".into();
    let other = tempfile::NamedTempFile::new()?;
    fs::write(other.path(), wrong.to_string())?;
    let said = validate(other.path())?;
    ensure!(
        !said.status.success() && said.stderr.contains("colour"),
        "a wrong one is taken: {}",
        said.stderr
    );
    Ok(())
}

#[test]
fn every_crate_that_the_binary_names_is_in_it() -> Result<()> {
    let (bill, engine) = (bill()?, Engine::new()?);
    let binary = engine.file("traffic-probe")?;
    let components = components(&bill)?;
    let listed: BTreeSet<_> = components
        .iter()
        .flat_map(|(name, versions)| versions.iter().map(move |version| format!("{name}-{version}")))
        .collect();
    let named = named(&binary);
    println!("{} components, of which the binary names {}", listed.len(), named.len());
    ensure!(named.len() > 50, "the binary names few crates, so that this shows little: {named:?}");
    let missing: Vec<_> = named.difference(&listed).collect();
    ensure!(missing.is_empty(), "in the binary, and not in the bill: {missing:?}");
    for part in ["probe-common", "probe-ebpf", "aya-ebpf", "aya-log-ebpf", "rust-core", "rust-std"] {
        ensure!(components.contains_key(part), "{part} is missing");
    }
    // What tests and the compiler take is not in the binary.
    for other in ["proptest", "syn", "clap_derive", "cc", "jsonschema", "probe-tests"] {
        ensure!(!components.contains_key(other), "{other} is listed");
    }
    Ok(())
}

#[test]
fn it_is_of_the_binary_that_is_in_the_image() -> Result<()> {
    let (bill, engine) = (bill()?, Engine::new()?);
    let copy = tempfile::NamedTempFile::new()?;
    fs::write(copy.path(), engine.file("traffic-probe")?)?;
    let said = process::run_well(tool::command("sha256sum")?.arg(copy.path()), LIMIT)?;
    let digest = bill["metadata"]["component"]["hashes"][0]["content"].as_str().context("no digest")?;
    ensure!(said.starts_with(digest), "the bill is of {digest}, the image has {said}");
    Ok(())
}

#[test]
fn what_takes_what_leads_from_the_agent_to_every_component() -> Result<()> {
    let bill = bill()?;
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no text: {value}"));
    let mut edges = BTreeMap::new();
    for edge in bill["dependencies"].as_array().context("no dependencies")? {
        let to = edge["dependsOn"].as_array().into_iter().flatten().map(text).collect::<Result<Vec<_>>>()?;
        edges.insert(text(&edge["ref"])?, to);
    }
    let mut next = vec![text(&bill["metadata"]["component"]["bom-ref"])?];
    let mut reached = BTreeSet::new();
    while let Some(reference) = next.pop() {
        next.extend(edges.get(&reference).into_iter().flatten().filter(|to| !reached.contains(*to)).cloned());
        reached.insert(reference);
    }
    let mut listed = BTreeSet::new();
    for component in bill["components"].as_array().context("no components")? {
        listed.insert(text(&component["bom-ref"])?);
    }
    let lost: Vec<_> = listed.difference(&reached).collect();
    ensure!(lost.is_empty() && reached.len() == listed.len() + 1, "nothing takes {lost:?}");
    Ok(())
}
