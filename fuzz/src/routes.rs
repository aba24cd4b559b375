//! The template of a path, read plainly: segment by segment, with the standard library.

use std::collections::HashSet;

use probe_common::{
    route::{DEPTH, LONG, LONGEST, RouteKey, STEPS, TOKEN, Template},
    window::Window,
};

/// How long a UUID is.
const UUID: usize = 36;

/// The template that the probe makes of the request line that was noted in a window; none if there is none.
///
/// # Panics
/// If it takes more steps than the kernel side has, or is no text with zeros behind it: a defect.
#[must_use]
pub fn of_window(window: &Window) -> Option<String> {
    let mut template = Template::default();
    template.begin(window);
    assert!((0..STEPS).any(|_| !template.step(window)), "a template has no end");
    let mut key = RouteKey::default();
    if !template.name(0, &mut key) {
        return None;
    }
    let text = String::from_utf8(key.bytes().to_vec()).expect("a template is ASCII");
    let text = text.trim_end_matches('\0');
    assert!(!text.contains('\0') && !text.is_empty(), "{text:?}");
    Some(text.to_owned())
}

/// The template of a request line, of which perhaps only the start is shown; none if it has none, or if what is shown does
/// not tell.
#[must_use]
pub fn of_line(line: &[u8]) -> Option<String> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let target = &line[space + 1..];
    if target.starts_with(b"/") {
        return of_path(target);
    }
    if target.starts_with(b"* ") {
        return Some("*".to_owned());
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let rest = &target[scheme.len()..];
    let path = &rest[rest.iter().position(|byte| b"/?# ".contains(byte))?..];
    if path.starts_with(b"/") { of_path(path) } else { Some("/".to_owned()) }
}

/// The template of what begins with a path.
fn of_path(shown: &[u8]) -> Option<String> {
    let end = shown.iter().position(|byte| b"?# ".contains(byte));
    let path = &shown[..end.unwrap_or(shown.len())];
    let segments: Vec<_> = path.split(|byte| *byte == b'/').skip(1).collect();
    let mut text = String::new();
    for (number, whole) in segments.iter().enumerate() {
        text.push('/');
        if number == DEPTH as usize {
            return Some(text + "**");
        }
        let room = LONGEST as usize - text.len().min(LONGEST as usize);
        let parameters = whole.iter().position(|byte| *byte == b';');
        let segment = &whole[..parameters.unwrap_or(whole.len())];
        // What has outgrown the text and is no identifier is not read to its end, which may not be shown.
        let outgrown = (8..=segment.len()).step_by(8).map(|length| &segment[..length]).find(|start| {
            let stays = !start.iter().all(u8::is_ascii_hexdigit) && !looks_like_no_word(start);
            start.len() > room && start.len() > UUID && stays
        });
        if let Some(start) = outgrown {
            return start.iter().all(u8::is_ascii_graphic).then(|| text + "**");
        }
        let is_last = number + 1 == segments.len();
        if is_last && end.is_none() || !segment.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let name = if is_one_among_many(segment) { "*" } else { str::from_utf8(segment).expect("ASCII") };
        if name.len() > room || text.len() > LONGEST as usize {
            return Some(text + "**");
        }
        text += name;
    }
    Some(text)
}

/// Whether a segment is a number, a UUID, long hexadecimal, or a token.
fn is_one_among_many(segment: &[u8]) -> bool {
    let hexadecimal = |text: &[u8]| text.iter().all(u8::is_ascii_hexdigit);
    let number = !segment.is_empty() && segment.iter().all(u8::is_ascii_digit);
    let long =
        segment.len() >= LONG as usize && hexadecimal(segment) && segment.iter().any(u8::is_ascii_digit);
    let groups: Vec<_> = segment.split(|byte| *byte == b'-').collect();
    let uuid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| hexadecimal(group));
    number || long || uuid || (segment.len() >= TOKEN as usize && looks_like_no_word(segment))
}

/// Whether three places of a segment or more have four letters or digits in a row that are no vowels.
fn looks_like_no_word(segment: &[u8]) -> bool {
    let is_no_vowel =
        |byte: &u8| byte.is_ascii_alphanumeric() && !b"aeiouy".contains(&byte.to_ascii_lowercase());
    let clusters: HashSet<_> = segment
        .windows(4)
        .enumerate()
        .filter(|(_, four)| four.iter().all(is_no_vowel))
        // The probe has a bit for each of 64 places.
        .map(|(place, _)| (place + 3) % 64)
        .collect();
    clusters.len() >= 3
}
