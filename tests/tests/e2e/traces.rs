//! The tests themselves: one that fails leaves as little behind as one that passes.

use std::{panic, path::Path, sync::mpsc, thread};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Setup,
    bpf::Footprint,
    client::{Client, Request},
    netns::Netns,
    nginx::Nginx,
    poll,
};

/// What the test that fails has made.
struct Made {
    namespace: String,
    processes: [u32; 2],
    footprint: Footprint,
    directory: std::path::PathBuf,
}

#[test]
fn a_test_that_panics_leaves_nothing_behind() -> Result<()> {
    let (tell, told) = mpsc::channel();
    let failing = thread::spawn(move || {
        let netns = Netns::new().unwrap();
        let agent = Setup::default().within(&netns).start().unwrap();
        let nginx = Nginx::start_within(&netns).unwrap();
        netns.inside(|| Client::connect(nginx.ipv4())?.exchange(&Request::new("GET", "/ok"))).unwrap();
        tell.send(Made {
            namespace: netns.name().to_owned(),
            processes: [agent.id(), nginx.id()],
            footprint: agent.footprint().clone(),
            directory: nginx.directory().to_owned(),
        })
        .unwrap();
        // Not `panic!`: this one is expected, and says nothing.
        panic::resume_unwind(Box::new("on purpose"));
    });
    let made = poll::word(&told, "the test that is to fail on purpose to say what it made")?;
    ensure!(failing.join().is_err(), "it did not fail");
    ensure!(!Path::new("/run/netns").join(&made.namespace).exists(), "{} is left", made.namespace);
    for process in made.processes {
        ensure!(!Path::new("/proc").join(process.to_string()).exists(), "process {process} is left");
    }
    ensure!(!made.directory.exists(), "{} is left", made.directory.display());
    made.footprint.is_gone()
}
