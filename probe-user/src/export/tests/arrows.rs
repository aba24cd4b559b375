//! Holds the room `export` to what it may know: plain data, and nothing of BPF, of names or of servers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The modules of plain data, which will be the room `model`; and `latest`, by which a report is handed over.
const MAY_USE: [&str; 10] = [
    "export",
    "feature",
    "histogram",
    "identity",
    "latest",
    "place",
    "report",
    "resources",
    "snapshot",
    "tier",
];

/// The files of the room, without its tests.
fn files(of: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The modules of this crate that a file names, by `use crate::...` or in its text.
fn used(source: &str) -> BTreeSet<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => _ = used.insert(first_word(rest)),
            // A list: what stands at its outermost level.
            Some(list) => used.extend(outermost(list).into_iter().map(first_word)),
        }
    }
    used
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|one| one.is_ascii_alphanumeric() || *one == '_').collect()
}

/// The items of a list up to its closing brace.
fn outermost(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut items) = (0, 0, Vec::new());
    for (at, one) in list.char_indices() {
        match one {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(&list[begin..at]);
                begin = at + 1;
                if one == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

#[test]
fn uses_are_found_however_they_are_written() {
    let source = "use crate::{\n    a::{B, c::D},\n    e,\n};\n// crate::not\nuse crate::f::G;\nfn h() -> crate::i::J {}\n";
    assert_eq!(used(source).into_iter().collect::<Vec<_>>(), ["a", "e", "f", "i"]);
}

#[test]
fn export_uses_plain_data_and_nothing_else() {
    let sources = Path::new(SOURCES);
    let mut files = files(&sources.join("export"));
    assert!(files.len() > 10, "{files:?}");
    files.push(sources.join("export.rs"));
    for file in files {
        let used = used(&fs::read_to_string(&file).unwrap());
        let others: Vec<_> = used.iter().filter(|module| !MAY_USE.contains(&module.as_str())).collect();
        assert!(
            others.is_empty(),
            "{} uses {others:?}; the room `export` may use {MAY_USE:?}",
            file.display()
        );
    }
}
