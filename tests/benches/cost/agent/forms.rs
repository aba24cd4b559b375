//! What a scrape is in each format and coding.

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
};
use serde_json::{Value, json};

use crate::{cpu, table::Table};

const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// Each with what is asked for: a format and a coding.
const FORMS: [(&str, &str, &str); 6] = [
    ("text", "text/plain", "identity"),
    ("text, gzip", "text/plain", "gzip"),
    ("text, zstd", "text/plain", "zstd"),
    ("protobuf with native histograms", PROTOBUF, "identity"),
    ("the same, gzip", PROTOBUF, "gzip"),
    ("the same, zstd", PROTOBUF, "zstd"),
];

/// Scrapes of each.
const SCRAPES: u32 = 10;

/// A format and coding.
pub(super) struct Form {
    name: &'static str,
    bytes: usize,
    /// CPU time of a scrape, in seconds, with its part of the ticks meanwhile.
    cpu: f64,
}

pub(super) fn measure(agent: &Agent<'_>) -> Result<Vec<Form>> {
    FORMS.into_iter().map(|(name, format, coding)| one(agent, name, format, coding)).collect()
}

fn one(agent: &Agent<'_>, name: &'static str, format: &str, coding: &str) -> Result<Form> {
    let request = Request::new("GET", "/metrics").header(&format!("Accept: {format}"));
    let request = request.header(&format!("Accept-Encoding: {coding}"));
    let mut client = Client::connect(agent.address())?;
    let mut bytes = 0;
    let before = cpu::of_process(agent.id())?;
    for _ in 0..SCRAPES {
        let response = client.exchange(&request)?;
        ensure!(response.status == 200, "/metrics answers {}", response.status);
        bytes = response.body.len();
    }
    let cpu = cpu::of_process(agent.id())?.saturating_sub(before).as_secs_f64() / f64::from(SCRAPES);
    Ok(Form { name, bytes, cpu })
}

pub(super) fn table<'a>(all: impl Iterator<Item = (u32, &'a [Form])>) -> Table {
    let mut table = Table::new("A scrape by format and coding", &["series", "form", "MB", "CPU, ms"]);
    for (series, forms) in all {
        for Form { name, bytes, cpu } in forms {
            let (megabytes, time) = (format!("{:.2}", *bytes as f64 / 1e6), format!("{:.1}", cpu * 1e3));
            table.row(vec![series.to_string(), (*name).to_owned(), megabytes, time]);
        }
    }
    table
}

pub(super) fn json(forms: &[Form]) -> Value {
    let one = |Form { name, bytes, cpu }: &Form| json!({ "form": name, "bytes": bytes, "cpu_seconds": cpu });
    forms.iter().map(one).collect()
}
