//! The routes that the kernel side has given indices.

use std::{
    collections::HashMap as StdHashMap,
    sync::{Arc, LazyLock},
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use probe_common::route::{self, RouteKey};

use super::{collector::take, error::StartError};

/// What stands for all requests without a route of their own. No path is spelled like that: they begin with `/`, or are `*`.
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("other"));

/// The table of routes, and what of it is known.
pub(super) struct Routes {
    map: HashMap<MapData, RouteKey, u32>,
    /// By the service's index and the route's.
    known: StdHashMap<(u32, u8), Arc<str>>,
    /// Whether the table has been read in this pass.
    read: bool,
}

impl Routes {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, StartError> {
        Ok(Self { map: take(ebpf, "ROUTES")?, known: StdHashMap::new(), read: false })
    }

    /// A pass begins.
    pub(super) fn begin_pass(&mut self) {
        self.read = false;
    }

    /// The template of a service's route. The table is read only where a route is not known, at most once in a pass: an entry is
    /// there before anything is counted under its index.
    pub(super) fn template(&mut self, service: u32, index: u8) -> Result<Arc<str>, MapError> {
        if index == route::OTHER {
            return Ok(Arc::clone(&OTHER));
        }
        if !self.read && !self.known.contains_key(&(service, index)) {
            self.read()?;
        }
        Ok(Arc::clone(self.known.get(&(service, index)).unwrap_or(&OTHER)))
    }

    /// Forgets the routes of a service whose index has been given back.
    pub(super) fn forget(&mut self, service: u32) {
        self.known.retain(|(of, _), _| *of != service);
    }

    /// How many routes there are.
    pub(super) fn entries(&self) -> u64 {
        self.known.len() as u64
    }

    fn read(&mut self) -> Result<(), MapError> {
        self.read = true;
        for entry in &self.map {
            let (key, index) = entry?;
            if let Ok(index) = u8::try_from(index) {
                self.known.entry((key.service, index)).or_insert_with(|| text(&key));
            }
        }
        Ok(())
    }
}

/// The template is printable ASCII, by what the kernel side takes for one.
fn text(key: &RouteKey) -> Arc<str> {
    let bytes = key.bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_the_text_before_the_zeros() {
        let mut key = RouteKey::default();
        assert_eq!(&*text(&key), "");
        key.text[0] = u64::from_le_bytes(*b"/users/*");
        assert_eq!(&*text(&key), "/users/*");
        key.text = [u64::from_le_bytes(*b"/longest"); 8];
        assert_eq!(text(&key).len(), route::SIZE);
    }
}
