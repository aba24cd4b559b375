//! Routes of requests, by the template that the kernel side makes of a path.

use std::{collections::BTreeSet, sync::Arc};

use probe_common::{
    pending::{self, Pending},
    route::{OTHER, RouteKey, STEPS, Template},
    window::Window,
};

/// Whether requests are told apart by route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Routes {
    /// They are not.
    #[default]
    Ignored,
    /// They are.
    Counted,
}

/// Routes that a service may have, as in the live agent by default.
const ROOM: usize = 100;

/// The routes of a connection's requests that have no answer yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// The route that is kept under an index, which begins at 1.
    templates: [Option<Arc<str>>; pending::DEPTH as usize],
    next: usize,
}

impl Waiting {
    /// Takes the route of the request that has just begun, of which the first line is in the window.
    pub(super) fn begin(&mut self, window: &Window, pending: &mut Pending) {
        let mut template = Template::default();
        template.begin(window);
        let mut key = RouteKey::default();
        let finished = (0..STEPS).any(|_| !template.step(window));
        let found = (finished && template.name(0, &mut key)).then(|| text(&key));
        self.next = (self.next + 1) % self.templates.len();
        let index = found.as_ref().and_then(|_| u8::try_from(self.next + 1).ok());
        self.templates[self.next] = found;
        pending.route_last(index.unwrap_or(OTHER));
    }

    /// The route of a request that has ended.
    pub(super) fn end(&self, index: u8) -> Arc<str> {
        let place = usize::from(index).checked_sub(1);
        let found = place.and_then(|place| self.templates.get(place)?.clone());
        found.unwrap_or_else(|| Arc::from("other"))
    }
}

fn text(key: &RouteKey) -> Arc<str> {
    String::from_utf8_lossy(&key.bytes()).trim_end_matches('\0').into()
}

/// The routes that a service has: who comes first has the room.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(BTreeSet<Arc<str>>);

impl Known {
    /// Under which route a request is counted.
    pub(super) fn admit(&mut self, route: Arc<str>) -> Arc<str> {
        if self.0.contains(&route) {
            return route;
        }
        if self.0.len() >= ROOM {
            return Arc::from("other");
        }
        if &*route != "other" {
            self.0.insert(Arc::clone(&route));
        }
        route
    }
}
