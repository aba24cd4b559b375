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

    /// A text of it, to be kept for the next agent: see [`Self::from_kept`].
    #[must_use]
    pub fn to_kept(&self) -> String {
        let parts = self.place.iter().flat_map(|place| place.values());
        std::iter::once(&*self.service).chain(parts).collect::<Vec<_>>().join(&SEPARATOR.to_string())
    }

    /// What was kept by [`Self::to_kept`].
    #[must_use]
    pub fn from_kept(text: &str) -> Self {
        let (service, parts) =
            text.split_once(SEPARATOR).map_or((text, None), |(name, rest)| (name, Some(rest)));
        let place = parts.map(|parts| {
            let mut place = Place::default();
            for (part, kept) in place.parts_mut().into_iter().zip(parts.split(SEPARATOR)) {
                kept.clone_into(part);
            }
            Arc::new(place)
        });
        Self { service: service.into(), place }
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
        for place in [None, Some(Arc::new(Place::default())), Some(Arc::new(place))] {
            let identity = Identity { service: "web".into(), place };
            assert_eq!(Identity::from_kept(&identity.to_kept()), identity);
        }
    }
}
