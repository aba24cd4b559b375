//! Programs at an interface by netlink, where the kernel has no TCX: filters in a queueing discipline, `clsact`, that all
//! share.
//!
//! Unlike links, filters outlive the process that made them. So ours have a handle of their own, by which a later agent
//! finds what a killed one left. The handle also tells whether the `clsact` is ours: the discipline itself bears no mark.

use std::io;

use aya::programs::tc::{TcHandle, qdisc_add_clsact};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{self, TcAttribute, TcFilterBpfOption, TcHeader, TcMessage, TcOption},
};

use super::{
    object::{INTERFACE_RECEIVE, INTERFACE_TRANSMIT},
    rtnetlink::{self, Told},
};

/// The upper half of the handles of our filters: "tp".
const OURS: u16 = 0x7470;

/// Where filters hang: what an interface receives, what it transmits.
const PARENTS: [tc::TcHandle; 2] = [
    tc::TcHandle { major: u16::MAX, minor: tc::TcHandle::MIN_INGRESS },
    tc::TcHandle { major: u16::MAX, minor: tc::TcHandle::MIN_EGRESS },
];

/// Who made the `clsact` of an interface. The value is the lower half of the handles of our filters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Somebody = 1,
    Us = 2,
}

/// The `clsact` of an interface. Drop it after the filters: if it is ours and nobody else uses it, it is removed.
#[derive(Debug)]
pub(super) struct Clsact {
    interface: u32,
    maker: Maker,
}

impl Clsact {
    /// Makes sure that an interface has one, free of what a killed agent left.
    pub(super) fn prepare(interface: u32, name: &str) -> Self {
        let inherited = clear(interface).unwrap_or(Maker::Somebody);
        // An error says that there is one. If there cannot be one, attaching says so.
        let maker = if qdisc_add_clsact(name).is_ok() { Maker::Us } else { inherited };
        Self { interface, maker }
    }

    /// The handle of our filters in it.
    pub(super) fn handle(&self) -> TcHandle {
        TcHandle::new(OURS, self.maker as u16)
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if self.maker == Maker::Us {
            remove_if_unused(self.interface);
        }
    }
}

/// Removes what a killed agent left on an interface; true if there was something.
pub(super) fn remove_left(interface: u32) -> bool {
    let maker = clear(interface);
    if maker == Some(Maker::Us) {
        remove_if_unused(interface);
    }
    maker.is_some()
}

/// Removes a killed agent's filters, and says who made the `clsact` that they were in; none if there were none.
fn clear(interface: u32) -> Option<Maker> {
    let mut maker = None;
    for parent in PARENTS {
        for filter in filters(interface, parent).unwrap_or_default() {
            let Filter::Ours(header, its_maker) = filter else { continue };
            maker = Some(its_maker);
            match rtnetlink::order(RouteNetlinkMessage::DelTrafficFilter(message(header))) {
                Ok(()) => tracing::info!(
                    "removed a filter that an agent which was killed had left on interface number {interface}"
                ),
                Err(error) => tracing::warn!(
                    "cannot remove a filter that an agent which was killed left on interface number {interface}: {error}"
                ),
            }
        }
    }
    maker
}

/// Removes a `clsact` in which no filter is left. Where that cannot be told, it stays.
fn remove_if_unused(interface: u32) {
    let is_unused =
        PARENTS.iter().all(|&parent| filters(interface, parent).is_ok_and(|found| found.is_empty()));
    let Ok(index) = i32::try_from(interface) else { return };
    if !is_unused {
        return;
    }
    let mut discipline = message(TcHeader {
        index,
        handle: tc::TcHandle { major: u16::MAX, minor: 0 },
        parent: tc::TcHandle::CLSACT,
        ..TcHeader::default()
    });
    discipline.attributes.push(TcAttribute::Kind("clsact".into()));
    // The interface may have gone.
    if let Err(error) = rtnetlink::order(RouteNetlinkMessage::DelQueueDiscipline(discipline)) {
        tracing::debug!("cannot remove the clsact of interface number {interface}: {error}");
    }
}

/// A filter of an interface.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    /// By what it can be removed, and who made the discipline that it is in.
    Ours(TcHeader, Maker),
    Somebodys,
}

fn filters(interface: u32, parent: tc::TcHandle) -> io::Result<Vec<Filter>> {
    let index = i32::try_from(interface).map_err(io::Error::other)?;
    let request = message(TcHeader { index, parent, ..TcHeader::default() });
    let told = rtnetlink::list(RouteNetlinkMessage::GetTrafficFilter(request))?;
    Ok(told.iter().filter_map(filter).collect())
}

/// The filter that the kernel tells of, if it is one: it also tells of each priority as a whole.
fn filter(told: &Told) -> Option<Filter> {
    let Told::Readable(message) = told else { return Some(Filter::Somebodys) };
    let RouteNetlinkMessage::NewTrafficFilter(message) = message else { return None };
    if message.header.handle == tc::TcHandle::UNSPEC {
        return None;
    }
    let maker = [Maker::Somebody, Maker::Us]
        .into_iter()
        .find(|maker| message.header.handle == tc::TcHandle { major: OURS, minor: *maker as u16 });
    let Some(maker) = maker.filter(|_| bears_our_name(message)) else { return Some(Filter::Somebodys) };
    Some(Filter::Ours(message.header.clone(), maker))
}

fn bears_our_name(message: &TcMessage) -> bool {
    let options = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    options.flatten().any(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => {
            name == INTERFACE_RECEIVE || name == INTERFACE_TRANSMIT
        }
        _ => false,
    })
}

fn message(header: TcHeader) -> TcMessage {
    TcMessage::from_parts(header, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(handle: tc::TcHandle, name: &str) -> Told {
        let mut message = message(TcHeader { handle, ..TcHeader::default() });
        let name = TcOption::Bpf(TcFilterBpfOption::ProgName(name.into()));
        message.attributes = vec![TcAttribute::Kind("bpf".into()), TcAttribute::Options(vec![name])];
        Told::Readable(RouteNetlinkMessage::NewTrafficFilter(message))
    }

    #[test]
    fn ours_is_what_bears_both_our_handle_and_our_name() {
        let handle = |minor| tc::TcHandle { major: OURS, minor };
        for (minor, maker) in [(1, Maker::Somebody), (2, Maker::Us)] {
            let found = filter(&told(handle(minor), INTERFACE_TRANSMIT));
            assert!(matches!(found, Some(Filter::Ours(_, found)) if found == maker));
        }
        assert_eq!(filter(&told(handle(1), "their_program")), Some(Filter::Somebodys));
        assert_eq!(filter(&told(handle(3), INTERFACE_RECEIVE)), Some(Filter::Somebodys));
        assert_eq!(filter(&told(tc::TcHandle::from(1), INTERFACE_RECEIVE)), Some(Filter::Somebodys));
    }

    #[test]
    fn what_cannot_be_read_is_somebodys_and_a_priority_as_a_whole_is_no_filter() {
        assert_eq!(filter(&Told::Unreadable("why".into())), Some(Filter::Somebodys));
        assert_eq!(filter(&told(tc::TcHandle::UNSPEC, INTERFACE_RECEIVE)), None);
    }
}
