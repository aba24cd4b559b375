//! Who a service is, as attribution finds out.

use std::{borrow::Cow, sync::Arc};

use crate::place::Place;

/// Parts a kept text into the name and the parts of the place. A process may call itself anything, this included: within a part
/// it is escaped, as are the zero that ends what is kept, and what escapes.
const SEPARATOR: char = '\n';
const ESCAPE: char = '\\';

/// Who a service is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The name of its unit, container, workload or process.
    pub service: Arc<str>,
    /// Where it runs in a cluster, if this is a node of one.
    pub place: Option<Arc<Place>>,
}

impl Identity {
    /// A service that is told by its name alone.
    #[must_use]
    pub fn named(service: &str) -> Self {
        Self { service: service.into(), place: None }
    }
}

/// What is kept of a service for the next agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who it is.
    pub identity: Identity,
    /// The cgroup of its pod, if nobody but that pod has its names.
    pub pod: Option<Arc<str>>,
}

impl Kept {
    /// A text of it that is shorter than `limit` bytes, if its names are: see [`Self::from_text`].
    #[must_use]
    pub fn to_text(&self, limit: usize) -> String {
        let separator = SEPARATOR.to_string();
        let parts = self.identity.place.iter().flat_map(|place| place.values());
        let parts = std::iter::once(&*self.identity.service).chain(parts).map(escaped);
        let mut text = parts.collect::<Vec<_>>().join(&separator);
        // A part of a path is another's: rather none.
        let pod = self.pod.as_deref().map(escaped);
        if let Some(pod) = pod.filter(|pod| text.len() + separator.len() + pod.len() < limit) {
            text += &separator;
            text += &pod;
        }
        text
    }

    /// What was kept by [`Self::to_text`].
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut parts = text.split(SEPARATOR).map(unescaped);
        let service = parts.next().unwrap_or_default().into();
        let mut parts = parts.peekable();
        let place = parts.peek().is_some().then(|| {
            let mut place = Place::default();
            for (part, kept) in place.parts_mut().into_iter().zip(parts.by_ref()) {
                *part = kept;
            }
            Arc::new(place)
        });
        Self { identity: Identity { service, place }, pod: parts.next().map(Into::into) }
    }
}

fn escaped(part: &str) -> Cow<'_, str> {
    let is_plain = |character| !matches!(character, SEPARATOR | ESCAPE | '\0');
    if part.chars().all(is_plain) {
        return part.into();
    }
    let mut text = String::with_capacity(part.len() + 1);
    for character in part.chars() {
        let coded = match character {
            SEPARATOR => 'n',
            '\0' => '0',
            ESCAPE => ESCAPE,
            plain => {
                text.push(plain);
                continue;
            }
        };
        text.extend([ESCAPE, coded]);
    }
    text.into()
}

fn unescaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            // One that ends the text was cut off from what it escaped.
            ESCAPE => match characters.next() {
                Some('n') => SEPARATOR,
                Some('0') => '\0',
                Some(other) => other,
                None => break,
            },
            plain => plain,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let place = Place {
            namespace: "shop".into(),
            pod: "web-6d9f-x7k2p".into(),
            node: "node1".into(),
            ..Place::default()
        };
        for place in [None, Some(Arc::new(Place::default())), Some(Arc::new(place.clone()))] {
            let kept = Kept { identity: Identity { service: "web".into(), place }, pod: None };
            assert_eq!(Kept::from_text(&kept.to_text(1024)), kept);
        }
        let identity = Identity { service: "web".into(), place: Some(Arc::new(place)) };
        let kept = Kept { identity, pod: Some("/kubepods/pod1".into()) };
        let whole = kept.to_text(1024);
        assert_eq!(Kept::from_text(&whole), kept);
        assert_eq!(
            Kept::from_text(&kept.to_text(whole.len())),
            Kept { pod: None, ..kept },
            "there is no room for it"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_kept_comes_back_whatever_it_is(names in proptest::array::uniform4(".{0,40}")) {
            let [service, namespace, pod, node] = names;
            let cgroup = Some(service.as_str().into());
            let place = Place { namespace, pod, node, ..Place::default() };
            let identity = Identity { service: service.as_str().into(), place: Some(place.into()) };
            let kept = Kept { identity, pod: cgroup };
            proptest::prop_assert_eq!(Kept::from_text(&kept.to_text(4096)), kept);
        }
    }

    #[test]
    fn a_name_is_data_whatever_it_holds() {
        for name in ["shop\nprod\nweb\nx", "\n", "a\\", "\\n", "\\\n", "a\0b", "\0", "größer\u{202e}", ""] {
            let place = Place { pod: name.into(), node: name.into(), ..Place::default() };
            for place in [None, Some(Arc::new(place))] {
                for pod in [None, Some(name.into())].into_iter().take(1 + usize::from(place.is_some())) {
                    let identity = Identity { service: name.into(), place: place.clone() };
                    let kept = Kept { identity, pod };
                    let text = kept.to_text(1024);
                    assert_eq!(Kept::from_text(&text), kept, "{name:?} as {text:?}");
                    assert!(!text.contains('\0'), "{text:?} would end there");
                }
            }
        }
    }
}
