//! Holds the text format to what it was, byte for byte: readers other than Prometheus' parser must not notice how it is
//! written.

use std::{env, fs};

use super::{rendered, sample};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/export/tests/golden.txt");

/// The page of the sample, without the values of the agent's own process, which are other ones each time.
fn page() -> String {
    let of_process = |line: &&str| line.starts_with("process_");
    let text = rendered(sample::report_by_route(r#"/a"b\c/*"#));
    let lines =
        text.split_inclusive('\n').map(|line| match line.split_once(' ').filter(|_| of_process(&line)) {
            Some((name, _)) => format!("{name} *\n"),
            None => line.to_owned(),
        });
    lines.collect()
}

#[test]
fn the_text_format_is_what_it_was() {
    let page = page();
    if env::var("TRAFFIC_PROBE_GOLDEN").as_deref() == Ok("update") {
        fs::write(FILE, &page).unwrap();
    }
    let golden = fs::read_to_string(FILE).unwrap();
    let difference = golden.lines().zip(page.lines()).find(|(was, is)| was != is);
    assert!(
        golden == page,
        "the first line that differs, was and is: {difference:#?}; where that is on purpose, \
         `TRAFFIC_PROBE_GOLDEN=update cargo test -p probe-user golden` writes {FILE} anew"
    );
}
