//! The template of a path against its slow reference, over paths of what templates are made of.

use probe_common::{
    route::{LONGEST, SIZE},
    window::{CARRY, READ, Window},
};
use probe_fuzz::routes::{of_line, of_window};
use proptest::{collection::vec, prelude::*};

/// The kernel's template of a line.
fn made(line: &[u8]) -> Option<String> {
    let mut window = Box::<Window>::default();
    // Other bytes behind the line, as in a run.
    window.load(&[b'/'; READ][..], 0, u32::try_from(READ).unwrap()).unwrap();
    window.load(line, 0, u32::try_from(line.len()).unwrap()).unwrap();
    window.note_line(CARRY, window.end());
    of_window(&window)
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[0-9]{1,20}",
        3 => "[0-9a-fA-F]{6,12}",
        1 => "[0-9a-f]{30,140}",
        3 => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fA-F]{12}",
        1 => "[0-9a-g]{7,9}-[0-9a-f]{4}-?[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{11,13}",
        4 => "[a-z]{0,12}",
        1 => "[a-z.~-]{20,90}",
        3 => "[0-9a-zA-Z_-]{16,90}",
        1 => "[b-df-h]{2,5}[aeiouyAEIOUY][b-df-h]{2,5}[./e][b-df-h4]{8,12}",
        2 => "[a-z0-9]{0,30};[a-z]{0,8}=[!-.0-~]{0,20}",
        1 => "[!-~]{0,12}",
        1 => "[ -\u{ff}]{0,8}",
    ]
}

fn path(segments: &[impl AsRef<str>]) -> String {
    segments.iter().flat_map(|segment| ["/", segment.as_ref()]).collect()
}

fn line() -> impl Strategy<Value = String> {
    let method = prop_oneof!["GET", "POST", "OPTIONS", "[A-Z_-]{1,24}"];
    let origin = prop_oneof![4 => Just(String::new()), 1 => "(http|HTTPS)://[a-z.]{0,20}", 1 => "[!-~]{0,9}"];
    let query = prop_oneof![Just(String::new()), "[?#][!-~]{0,30}"];
    (method, origin, vec(segment(), 0..12), query).prop_map(|(method, origin, segments, query)| {
        let path = path(&segments);
        format!("{method} {origin}{path}{query} HTTP/1.1")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_template_is_that_of_the_reference(line in line(), shown in 0..READ) {
        let line = &line.as_bytes()[..line.len().min(READ)];
        prop_assert_eq!(made(line), of_line(line), "{}", line.escape_ascii());
        let start = &line[..shown.min(line.len())];
        if start.len() > 25 {
            prop_assert_eq!(made(start), of_line(start), "{}", start.escape_ascii());
        }
    }

    #[test]
    fn a_template_is_short_printable_and_of_few_segments(line in line()) {
        if let Some(text) = made(&line.as_bytes()[..line.len().min(READ)]) {
            prop_assert!(text.len() <= SIZE && text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
            prop_assert!(text.len() <= LONGEST as usize || text.ends_with("/**"), "{}", text);
            prop_assert!(text.matches('/').count() <= 9 && !text.contains(['?', '#']), "{}", text);
        }
    }

    #[test]
    fn identifiers_make_no_difference(segments in vec("[a-z]{1,5}|[0-9]{1,30}", 1..8), other in "[0-9]{1,30}") {
        let with = |replaced: &str| -> String {
            let number = |segment: &String| segment.as_bytes()[0].is_ascii_digit();
            let segments: Vec<_> = segments.iter().map(|s| if number(s) { replaced } else { s }).collect();
            path(&segments)
        };
        let of = |replaced: &str| made(format!("GET {} HTTP/1.1", with(replaced)).as_bytes());
        prop_assert_eq!(of(&other), of("7"));
    }
}
