//! The lint of prose: spelling, phrases that read badly, links that lead nowhere, pages that nobody finds, and their lengths.
//!
//! Spelling is `typos`' (`_typos.toml`), phrases are listed in `xtask/prose/phrases.txt`. Links are followed offline: files and
//! headings of this repository, not other sites.

mod links;
mod phrases;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use self::links::Pages;
use crate::{exec, setup, workspace};

/// From here every page is reached.
const INDEX: &str = "docs/index.md";

/// What a reader takes in one sitting, in lines.
const LONGEST: usize = 300;

/// Pages made from code or by measurements, or grown from a list.
const ANY_LENGTH: [&str; 3] = ["docs/reference/flags.md", "docs/reference/cost.md", "CHANGELOG.md"];

/// The first page has to fit the first look.
const FIRST: (&str, usize) = ("README.md", 120);

/// Checks all prose, and shows everything that is wrong before it fails.
pub(crate) fn prose() -> Result<()> {
    let root = workspace::root();
    let files = tracked(root)?;
    let mut complaints = Vec::new();
    let mut pages = Pages::default();
    for file in &files {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        if phrases::applies(file) {
            complaints.extend(phrases::complaints(file, &text, &phrases::banned(root)?));
        }
        if Path::new(file).extension().is_some_and(|end| end == "md") {
            complaints.extend(too_long(file, &text));
            pages.add(file, &text);
        }
    }
    complaints.extend(pages.dead(&|file: &Path| root.join(file).exists()));
    complaints.extend(pages.unreached(INDEX, "docs/"));
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} things are wrong with the prose, as the lines above say", complaints.len());
    }
    spelling(root)
}

fn too_long(file: &str, text: &str) -> Option<String> {
    let most = if file == FIRST.0 { FIRST.1 } else { LONGEST };
    let lines = text.lines().count();
    (lines > most && !ANY_LENGTH.contains(&file)).then(|| {
        format!("{file}: {lines} lines, and {most} are the limit: cut it, or split it by what readers want")
    })
}

fn spelling(root: &Path) -> Result<()> {
    let mut typos = Command::new(setup::typos()?);
    exec::run(typos.args(["--format", "brief"]).current_dir(root))
        .context("the lines above are misspelt; where they are right, say so in _typos.toml")
}

/// Files of the project, those that are not committed yet included.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed =
        exec::output(&mut git).context("cannot list the files: this tree is not a git repository")?;
    let mut files: Vec<_> = listed.lines().map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files.retain(|file| root.join(file).is_file());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_have_so_many_lines() {
        let page = "line\n".repeat(121);
        assert!(too_long("README.md", &page).is_some_and(|said| said.contains("121 lines")));
        assert_eq!(too_long("README.md", &page[5..]), None);
        assert_eq!(too_long("docs/a.md", &page), None);
        assert!(too_long("docs/a.md", &page.repeat(3)).is_some());
        assert_eq!(too_long("docs/reference/flags.md", &page.repeat(3)), None);
    }
}
