//! Tables that people read: in the terminal and in Markdown, which is the same text.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// What stands around the tables in a document.
const MARKS: [&str; 2] = ["<!-- bench: begin -->", "<!-- bench: end -->"];

/// A table with its title.
#[derive(Clone)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows.
    pub(crate) fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table, its columns aligned.
    pub(crate) fn to_markdown(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:width$} |"));
            format!("|{}\n", padded.collect::<String>())
        };
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("### {}\n\n{}{}{rows}", self.title, line(&self.columns), line(&rule))
    }
}

/// What one part of the benchmark measured, for a document that has parts of other runs, too.
pub(crate) struct Section {
    /// The part's name.
    pub(crate) part: String,
    /// Its tables, and where they were measured.
    pub(crate) markdown: String,
}

/// Puts sections between a document's marks, each instead of an earlier one of its part; those of other parts stay.
pub(crate) fn put_into(document: &Path, sections: Vec<Section>) -> Result<()> {
    let shown = document.display();
    let text = fs::read_to_string(document).with_context(|| format!("cannot read {shown}"))?;
    let [begin, end] = MARKS;
    let parts = text.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?)));
    let (before, (there, after)) = parts
        .with_context(|| format!("{shown} has no lines {begin} and {end} for the tables to stand between"))?;
    let tables: String = merged(read(there), sections).iter().map(Section::marked).collect();
    fs::write(document, format!("{before}{begin}\n{tables}\n{end}{after}"))
        .with_context(|| format!("cannot write {shown}"))?;
    eprintln!("bench: wrote the tables into {shown}");
    Ok(())
}

/// What begins the mark of a section; its part follows.
const PART: &str = "<!-- bench: part ";

/// The sections of a document; what stands before the first mark is of a run that is not told apart, and goes.
fn read(text: &str) -> Vec<Section> {
    let section = |text: &str| {
        let (part, markdown) = text.split_once(" -->")?;
        Some(Section { part: part.to_owned(), markdown: format!("{}\n", markdown.trim()) })
    };
    text.split(PART).skip(1).filter_map(section).collect()
}

/// Both, the later ones where there are two of a part.
fn merged(mut sections: Vec<Section>, later: Vec<Section>) -> Vec<Section> {
    for section in later {
        match sections.iter_mut().find(|earlier| earlier.part == section.part) {
            Some(earlier) => *earlier = section,
            None => sections.push(section),
        }
    }
    sections
}

impl Section {
    /// With its mark before it.
    fn marked(&self) -> String {
        format!("\n{PART}{} -->\n\n{}", self.part, self.markdown)
    }
}
