//! The corpora that are checked in, without a fuzzer.

use std::path::Path;

use probe_fuzz::{replay, targets};

/// Runs a target over its corpus, which must not be empty.
fn replay(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let inputs = replay::inputs(&directory).expect("the corpus can be read");
    assert!(inputs.len() >= 10, "{} has {} inputs", directory.display(), inputs.len());
    for (_, input) in inputs {
        target(&input);
    }
}

#[test]
fn the_corpora_pass() {
    replay("engine", targets::engine);
    replay("request_line", targets::request_line);
    replay("status_line", targets::status_line);
    replay("field", targets::field);
    replay("chunk_size", targets::chunk_size);
}
