//! Names as people are shown them on a terminal. Processes, cgroups and interfaces may be called anything; control characters move
//! the cursor, and those that change the direction of writing make one text look like another (U+202E shows `txt.exe` for
//! `exe.txt`). Labels and JSON have names as they are.

use std::borrow::Cow;

/// A name without what a terminal acts on.
#[must_use]
pub fn visible(name: &str) -> Cow<'_, str> {
    if !name.chars().any(acts) {
        return name.into();
    }
    name.chars()
        .map(|character| if acts(character) { char::REPLACEMENT_CHARACTER } else { character })
        .collect::<String>()
        .into()
}

fn acts(character: char) -> bool {
    character.is_control() || directs(character)
}

/// Whether it directs how others are shown: marks and embeddings of direction (Unicode Standard Annex 9), separators of lines and
/// paragraphs, and what has no width.
pub(crate) fn directs(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_replaced() {
        assert_eq!(visible("größer 网站"), "größer 网站");
        assert_eq!(
            visible("a\u{1b}[2Jb\nc\u{202e}d\u{200b}\u{2066}e\u{9b}"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}e\u{fffd}"
        );
    }
}
