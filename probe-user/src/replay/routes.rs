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

/// The requests of a connection that have no answer yet, as far as the engine does not keep them.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// What is kept under an index, which begins at 1. As many as ever waited at a time.
    slots: Vec<Slot>,
    /// The slot that was taken last.
    last: usize,
}

/// Requests of one route that came together.
#[derive(Clone, Debug, Default)]
struct Slot {
    waiting: u32,
    kept: Request,
}

/// What is kept of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// When it began: all of the time, of which the engine has 52 bits.
    pub(super) began: u64,
    /// Where routes are counted; none if it is no route.
    pub(super) route: Option<Arc<str>>,
}

impl Waiting {
    /// Takes the request that has just begun, of which the first line is in the window.
    pub(super) fn begin(&mut self, began: u64, routes: Routes, window: &Window, pending: &mut Pending) {
        let route = (routes == Routes::Counted).then(|| template(window)).flatten();
        let kept = Request { began, route };
        let place = match self.slots.iter().position(|slot| slot.waiting == 0) {
            _ if self.slots.get(self.last).is_some_and(|last| last.waiting > 0 && last.kept == kept) => {
                self.last
            }
            Some(free) => free,
            None if self.slots.len() < pending::DEPTH as usize => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
            // The engine keeps no more times either: it has that of the one before.
            None => {
                self.slots[self.last].waiting += 1;
                return;
            }
        };
        self.last = place;
        self.slots[place].waiting += 1;
        self.slots[place].kept = kept;
        pending.route_last(u8::try_from(place + 1).unwrap_or(OTHER));
    }

    /// What was kept of a request that waits.
    pub(super) fn of(&self, index: u8) -> Option<&Request> {
        let slot = self.slots.get(usize::from(index).checked_sub(1)?)?;
        (slot.waiting > 0).then_some(&slot.kept)
    }

    /// What was kept of a request that has ended.
    pub(super) fn end(&mut self, index: u8) -> Option<Request> {
        let slot = self.slots.get_mut(usize::from(index).checked_sub(1)?)?;
        slot.waiting = slot.waiting.checked_sub(1)?;
        Some(if slot.waiting == 0 { std::mem::take(&mut slot.kept) } else { slot.kept.clone() })
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.waiting = 0);
    }
}

/// The route of a request, as far as something was kept of it.
pub(super) fn name(kept: Option<&Request>) -> Arc<str> {
    kept.and_then(|request| request.route.clone()).unwrap_or_else(|| Arc::from("other"))
}

/// The template of the path of a request, whose first line is in the window.
fn template(window: &Window) -> Option<Arc<str>> {
    let mut template = Template::default();
    template.begin(window);
    let mut key = RouteKey::default();
    let finished = (0..STEPS).any(|_| !template.step(window));
    (finished && template.name(0, &mut key)).then(|| text(&key))
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
