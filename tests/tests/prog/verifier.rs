//! What the verifier has to go through, against a baseline in the tree: a change that brings a program nearer to the
//! limit of a million instructions shows itself in its own commit.
//!
//! `TRAFFIC_PROBE_BASELINE=update cargo xtask test prog -- verifier` writes the baseline of the kernel that runs anew.
//! Kernels that are not in it, as those of virtual machines, are held to a distance from the limit.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use aya::programs::loaded_programs;
use probe_user::{
    feature::Feature,
    kernel::{Cgroups, Features},
    settings::PeerLimits,
};

use crate::loaded::Loaded;

/// What the kernel refuses.
const LIMIT: u32 = 1_000_000;

/// How far a program may be from the baseline, in percent: compilers differ by less, and by how much is looked at when
/// a program goes further.
const TOLERANCE: u32 = 10;

/// A program of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    /// Instructions after the verifier's rewriting.
    instructions: u32,
    /// Instructions that the verifier went through, over all paths.
    verified: u32,
}

/// By kernel series and program.
type Baseline = BTreeMap<(String, String), Size>;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/prog/verifier.tsv")
}

/// Lines of kernel, program, instructions, and instructions verified, parted by tabs.
fn read() -> Baseline {
    let text = fs::read_to_string(file()).expect("the baseline can be read");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let [kernel, program, instructions, verified] = fields[..] else {
                panic!("a line of the baseline: {line}")
            };
            let number = |text: &str| text.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            let size = Size { instructions: number(instructions), verified: number(verified) };
            ((kernel.to_owned(), program.to_owned()), size)
        })
        .collect()
}

fn write(baseline: &Baseline) {
    let line = |((kernel, program), size): (&(String, String), &Size)| {
        format!("{kernel}\t{program}\t{}\t{}\n", size.instructions, size.verified)
    };
    let lines: String = baseline.iter().map(line).collect();
    let text = format!("# kernel\tprogram\tinstructions\tverified: see verifier.rs\n{lines}");
    fs::write(file(), text).expect("the baseline can be written");
}

/// `6.18` of `6.18.44-x`.
fn series() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel tells its release");
    release.split(['.', '-']).take(2).map(str::trim).collect::<Vec<_>>().join(".")
}

/// The programs that the agent loads under this kernel, where there are both versions of cgroups: what a baseline has must
/// not depend on the host.
fn loaded() -> BTreeMap<String, Size> {
    let mut features = Features::of_this_host();
    features.cgroups = Cgroups::Hybrid;
    let mut programs = sizes(&Loaded::with_features(0, None, features.clone()));
    // The substitute for the tracepoint of states is in a program that does nothing of it otherwise.
    let mut without = features.clone();
    without.lose(Feature::States, "as on a kernel that refuses it");
    for (name, size) in sizes(&Loaded::with_features(0, None, without)) {
        if programs.get(&name).is_none_or(|with| with.instructions != size.instructions) {
            programs.insert(format!("{name} without states"), size);
        }
    }
    // Those that are others where peers are counted.
    let peers = PeerLimits { total: 16, per_service: 16 };
    let networks = std::iter::once("192.0.2.0/24=lab".parse().expect("a network")).collect();
    for (name, size) in sizes(&Loaded::with_peers(peers, &networks, features.clone())) {
        if programs.get(&name).is_some_and(|without| without.instructions != size.instructions) {
            programs.insert(format!("{name} --peers"), size);
        }
    }
    programs
}

fn sizes(probe: &Loaded) -> BTreeMap<String, Size> {
    let ids = probe.program_ids();
    let mut programs = BTreeMap::new();
    for program in loaded_programs() {
        // Those of other tests go while we look.
        let Ok(program) = program else { continue };
        if let Some(name) = ids.get(&program.id()) {
            let verified = program.verified_instruction_count().unwrap_or_default();
            let bytes = program.size_translated().expect("root may know a program's size");
            programs.insert(name.clone(), Size { instructions: bytes / 8, verified });
        }
    }
    assert_eq!(programs.len(), ids.len(), "programs that were found, and that are loaded");
    programs
}

#[test]
fn no_program_is_far_from_what_the_verifier_went_through() {
    let (kernel, programs) = (series(), loaded());
    let mut baseline = read();
    if env::var("TRAFFIC_PROBE_BASELINE").is_ok_and(|what| what == "update") {
        baseline.retain(|(of, _), _| *of != kernel);
        baseline.extend(programs.iter().map(|(name, size)| ((kernel.clone(), name.clone()), *size)));
        write(&baseline);
    }
    let known = baseline.keys().any(|(of, _)| *of == kernel);
    let mut wrong = Vec::new();
    for (name, size) in &programs {
        println!("{kernel} {name}: {} instructions, {} verified", size.instructions, size.verified);
        assert!(size.verified < LIMIT * 9 / 10, "{name} is at the verifier's limit");
        match baseline.get(&(kernel.clone(), name.clone())) {
            Some(expected) => {
                for (what, is, was) in [
                    ("instructions", size.instructions, expected.instructions),
                    ("verified", size.verified, expected.verified),
                ] {
                    if is.abs_diff(was) > was / 100 * TOLERANCE + 100 {
                        wrong.push(format!("{name}: {is} {what}, and {was} in the baseline"));
                    }
                }
            }
            None if known => wrong.push(format!("{name} is not in the baseline")),
            None => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "programs are not what they were; if that is meant, run `TRAFFIC_PROBE_BASELINE=update cargo xtask test prog -- \
         verifier` and commit the baseline:\n{}",
        wrong.join("\n")
    );
}
