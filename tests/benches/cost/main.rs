//! What the probe costs: `cargo xtask bench` builds all that is measured and starts this.
//!
//! Conditions are paired and interleaved: within a case, each round measures all of them right after each other, in an
//! order that rotates, and they are compared round by round. What drifts, drifts for all of them.

mod agent;
mod alternatives;
mod application;
mod cpu;
mod kernel;
mod machine;
mod options;
mod paired;
mod run;
mod stand_ins;
mod table;

use std::fs;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Map, Value};

use crate::{
    options::{Options, Part},
    table::{Section, Table},
};

/// What one part gives: tables for people, and the figures of every round.
struct Measured {
    tables: Vec<Table>,
    rounds: Value,
}

fn main() -> Result<()> {
    let options = Options::parse();
    probe_tests::tool::demand_root()?;
    let machine = machine::describe(&options)?;
    let mut markdown = machine.to_markdown();
    let mut json = Map::from_iter([("machine".to_owned(), machine.to_json())]);
    let mut sections = Vec::new();
    for part in options.parts() {
        eprintln!("bench: the part `{part}` starts");
        let measured = measure(part, &options).with_context(|| format!("the part `{part}`"))?;
        let mut tables = String::new();
        for table in &measured.tables {
            tables.push('\n');
            tables.push_str(&table.to_markdown());
        }
        markdown.push_str(&tables);
        // Each says where it was measured, since a document may have parts of several runs.
        sections.push(Section { part: part.to_string(), markdown: machine.to_markdown() + &tables });
        json.insert(part.to_string(), measured.rounds);
    }
    print!("{markdown}");
    write(&options, &markdown, &Value::Object(json))?;
    options.write.as_deref().map_or(Ok(()), |document| table::put_into(document, sections))
}

fn measure(part: Part, options: &Options) -> Result<Measured> {
    match part {
        Part::Application => application::measure(options),
        Part::Kernel => kernel::measure(options),
        Part::Agent => agent::measure(options),
        Part::Alternatives => alternatives::measure(options),
    }
}

/// Leaves the tables and all figures in files.
fn write(options: &Options, markdown: &str, json: &Value) -> Result<()> {
    let directory = &options.out;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, text) in [("cost.md", markdown), ("cost.json", &serde_json::to_string_pretty(json)?)] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("bench: wrote {}", path.display());
    }
    Ok(())
}
