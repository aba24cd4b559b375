//! Links between pages: to files and headings that exist, and to every page.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

/// The pages of a repository: what each links to, and what can be linked to in it.
#[derive(Default)]
pub(super) struct Pages(BTreeMap<String, Page>);

struct Page {
    /// The line, and the target as it is written.
    links: Vec<(usize, String)>,
    anchors: BTreeSet<String>,
}

impl Pages {
    /// Takes a page in.
    pub(super) fn add(&mut self, file: &str, text: &str) {
        let mut page = Page { links: Vec::new(), anchors: BTreeSet::new() };
        let mut in_block = false;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if !in_block {
                if let Some(heading) = line.strip_prefix('#') {
                    let slug = slug(heading.trim_start_matches('#').trim());
                    let repeated = (1..).map(|count| format!("{slug}-{count}"));
                    let free =
                        std::iter::once(slug.clone()).chain(repeated).find(|one| !page.anchors.contains(one));
                    page.anchors.extend(free);
                }
                page.links.extend(targets(line).map(|target| (number, target)));
            }
        }
        self.0.insert(file.to_owned(), page);
    }

    /// Links to files that are not there, or to headings that their page does not have.
    pub(super) fn dead(&self, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let mut complaints = Vec::new();
        for (file, page) in &self.0 {
            for (line, target) in &page.links {
                let Some((to, anchor)) = local(file, target) else { continue };
                let there = exists(Path::new(&to));
                let has_heading =
                    |anchor: &str| self.0.get(&to).is_none_or(|page| page.anchors.contains(anchor));
                if !there {
                    complaints.push(format!("{file}:{line}: {target} leads to no file"));
                } else if anchor.is_some_and(|anchor| !has_heading(anchor)) {
                    complaints.push(format!("{file}:{line}: {target} leads to no heading"));
                }
            }
        }
        complaints
    }

    /// Pages below a folder to which no way leads from the index.
    pub(super) fn unreached(&self, index: &str, folder: &str) -> Vec<String> {
        let mut reached = BTreeSet::from([index.to_owned()]);
        let mut next = vec![index.to_owned()];
        while let Some(file) = next.pop() {
            let links = self.0.get(&file).into_iter().flat_map(|page| &page.links);
            for (to, _) in links.filter_map(|(_, target)| local(&file, target)) {
                if reached.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        let lost = self.0.keys().filter(|file| file.starts_with(folder) && !reached.contains(*file));
        lost.map(|file| format!("{file}: no way leads here from {index}")).collect()
    }
}

/// Where a link leads within the repository, and to which heading; none if it leads out.
fn local<'a>(file: &str, target: &'a str) -> Option<(String, Option<&'a str>)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() {
        return Some((file.to_owned(), anchor));
    }
    let mut to = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                to.pop();
            }
            Component::Normal(name) => to.push(name),
            _ => {}
        }
    }
    Some((display(&to), anchor))
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Targets of a line's links, but for those within code.
fn targets(line: &str) -> impl Iterator<Item = String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let found: Vec<_> = prose
        .match_indices("](")
        .filter_map(|(at, _)| prose[at + 2..].split_once(')').map(|(target, _)| target.to_owned()))
        .collect();
    found.into_iter()
}

/// The anchor of a heading, as forges make it.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(all: &[(&str, &str)]) -> Pages {
        let mut pages = Pages::default();
        for (file, text) in all {
            pages.add(file, text);
        }
        pages
    }

    #[test]
    fn links_that_lead_nowhere_are_told_with_their_line() {
        let pages = pages(&[
            (
                "docs/a.md",
                "# A\n\n[b](b.md#two-words) [c](../README.md) [me](#a)\n[x](x.md)\n[y](b.md#y) [out](https://a/x.md)\n",
            ),
            ("docs/b.md", "# B\n## Two `words`!\n```\n[code](nowhere.md)\n```\n`[code](nowhere.md)`\n"),
            ("README.md", "[a](docs/a.md)"),
        ]);
        let there = ["docs/a.md", "docs/b.md", "README.md"];
        let dead = pages.dead(&|file: &Path| there.contains(&&*file.to_string_lossy()));
        assert_eq!(dead, ["docs/a.md:4: x.md leads to no file", "docs/a.md:5: b.md#y leads to no heading"]);
    }

    #[test]
    fn headings_of_one_name_have_anchors_of_their_own() {
        let pages = pages(&[("a.md", "# X\n## X\n[one](#x) [two](#x-1) [three](#x-2)\n")]);
        assert_eq!(pages.dead(&|_: &Path| true), ["a.md:3: #x-2 leads to no heading"]);
    }

    #[test]
    fn a_page_that_nobody_finds_is_told() {
        let pages = pages(&[
            ("docs/index.md", "[b](b.md)"),
            ("docs/b.md", "[c](in/c.md)"),
            ("docs/in/c.md", ""),
            ("docs/lost.md", "[b](b.md)"),
            ("README.md", "[lost](docs/lost.md)"),
        ]);
        assert_eq!(
            pages.unreached("docs/index.md", "docs/"),
            ["docs/lost.md: no way leads here from docs/index.md"]
        );
    }
}
