//! Puts the kernel side into the agent: one binary, nothing beside it.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process,
};

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Where `cargo xtask build` says it put the object.
const VARIABLE: &str = "TRAFFIC_PROBE_EBPF";
/// Where it puts it, for a plain `cargo build` afterwards.
const USUAL: &str = "../target/ebpf/bpfel-unknown-none/release/probe-ebpf";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = env::var_os(VARIABLE).map_or_else(
        || Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join(USUAL),
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = Path::new(&env::var_os("OUT_DIR").expect("set by cargo")).join("probe-ebpf");
    if let Err(error) = embed(&object, &embedded) {
        println!(
            "cargo::error=the kernel side is not at {} ({error}): build with `cargo xtask build`, which makes it first",
            object.display()
        );
        process::exit(1);
    }
}

/// Copies the object without what debuggers read, which is three quarters of it. The types that the kernel reads have been
/// made of that by the linker, and stay.
fn embed(object: &Path, embedded: &Path) -> Result<(), Box<dyn Error>> {
    let object = fs::read(object)?;
    let mut copy = Builder::read(&*object)?;
    for section in &mut copy.sections {
        let name = section.name.as_ref();
        section.delete = [&b".debug"[..], b".rel.debug"].iter().any(|prefix| name.starts_with(prefix));
    }
    copy.delete_orphans();
    // The linker keeps names of sections among those of symbols.
    let names = copy.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut bytes = Vec::new();
    copy.write(&mut bytes)?;
    Ok(fs::write(embedded, bytes)?)
}
