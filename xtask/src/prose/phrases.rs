//! Phrases that read badly.

use std::{fs, path::Path};

use anyhow::{Context, Result};

const LIST: &str = "xtask/prose/phrases.txt";

/// Where people read: pages, messages and comments, settings.
const READ: [&str; 7] = [".md", ".rs", ".yml", ".yaml", ".toml", ".service", ".txt"];

/// A phrase, and what to write instead.
pub(super) struct Phrase {
    words: String,
    instead: String,
}

/// Whether a file is held to the list.
pub(super) fn applies(file: &str) -> bool {
    READ.iter().any(|end| file.ends_with(end))
        && ![LIST, "CHANGELOG.md", "xtask/src/prose/phrases.rs"].contains(&file)
}

/// The list in the repository.
pub(super) fn banned(root: &Path) -> Result<Vec<Phrase>> {
    let text = fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Phrase>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (words, instead) =
                line.split_once(" => ").with_context(|| format!("{LIST}: no \" => \" in: {line}"))?;
            Ok(Phrase { words: words.trim().to_lowercase(), instead: instead.trim().to_owned() })
        })
        .collect()
}

/// Every line at which a phrase begins, also where it goes on in the next one.
pub(super) fn complaints(file: &str, text: &str, phrases: &[Phrase]) -> Vec<String> {
    // Marks of comments and of strings that go on are no words.
    let words: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .flat_map(|(line, words)| words.split_whitespace().map(move |word| (line + 1, word.to_lowercase())))
        .filter(|(_, word)| !["//", "///", "//!", "#", "\\"].contains(&word.as_str()))
        .collect();
    let mut flowing = String::new();
    let mut starts = Vec::with_capacity(words.len());
    for (line, word) in &words {
        starts.push((flowing.len(), *line));
        flowing.push_str(word);
        flowing.push(' ');
    }
    let found = |phrase: &Phrase| -> Vec<String> {
        let at = flowing.match_indices(&phrase.words).map(|(at, _)| at);
        at.map(|at| {
            let before = starts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
            format!("{file}:{}: \"{}\": write \"{}\"", starts[before].1, phrase.words, phrase.instead)
        })
        .collect()
    };
    phrases.iter().flat_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_across_lines_and_comments() {
        let phrases = parse("# a comment\n\ntake it that => assume\n").unwrap();
        assert_eq!(
            complaints("a.md", "One.\nThe last two Take\nit that there is one.\n", &phrases),
            ["a.md:2: \"take it that\": write \"assume\""]
        );
        assert_eq!(complaints("a.rs", "/// they take it\n/// that\n", &phrases).len(), 1);
        assert!(complaints("a.md", "They take it. That is all.", &phrases).is_empty());
        assert!(parse("no arrow").is_err());
    }

    #[test]
    fn the_list_itself_and_the_past_are_exempt() {
        assert!(applies("docs/index.md") && applies("probe-user/src/feature.rs"));
        assert!(!applies("CHANGELOG.md") && !applies(LIST) && !applies("a.png"));
    }
}
