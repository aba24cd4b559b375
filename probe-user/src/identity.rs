//! Who a service is, as attribution finds out.

use std::sync::Arc;

use crate::place::Place;

/// Parts a kept text into the name and the parts of the place: none of them can hold it.
const SEPARATOR: char = '\n';

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
        let mut text =
            std::iter::once(&*self.identity.service).chain(parts).collect::<Vec<_>>().join(&separator);
        // A part of a path is another's: rather none.
        if let Some(pod) = self.pod.as_ref().filter(|pod| text.len() + separator.len() + pod.len() < limit) {
            text += &separator;
            text += pod;
        }
        text
    }

    /// What was kept by [`Self::to_text`].
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut parts = text.split(SEPARATOR);
        let service = parts.next().unwrap_or_default().into();
        let mut parts = parts.peekable();
        let place = parts.peek().is_some().then(|| {
            let mut place = Place::default();
            for (part, kept) in place.parts_mut().into_iter().zip(parts.by_ref()) {
                kept.clone_into(part);
            }
            Arc::new(place)
        });
        Self { identity: Identity { service, place }, pod: parts.next().map(Into::into) }
    }
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
}
