//! Programs at an interface by netlink, where the kernel has no TCX: filters in a queueing discipline, `clsact`, that all
//! share.
//!
//! Unlike links, filters outlive the process that made them. So ours have a handle of their own, by which a later agent
//! finds what a killed one left. The handle also tells whether the `clsact` is ours: the discipline itself bears no mark. And it tells
//! by a token whose they are, so that an agent leaves those of another alone that is alive ([`ClsactOwner`]).

use std::{
    io,
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixListener},
    sync::OnceLock,
};

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

/// Who made the `clsact` of an interface. The value is in the lower two bits of the handles of our filters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Somebody = 1,
    /// This agent or another one.
    Us = 2,
}

/// How many bits of a handle say who made the `clsact`. Those above have the token of the agent whose filter it is.
const OF_MAKER: u16 = 2;

/// Tokens that are tried before an agent does without one.
const TRIES: u16 = 16;

/// An agent while it lives: the name of a socket that only it has. The kernel gives the name back however the agent ends. Filters and
/// such names are of the same network namespace.
#[derive(Debug)]
struct ClsactOwner {
    token: u16,
    _name: Option<UnixListener>,
}

impl ClsactOwner {
    /// This agent; without a token, as agents of old had none, if none can be had.
    fn this() -> &'static Self {
        static THIS: OnceLock<ClsactOwner> = OnceLock::new();
        THIS.get_or_init(|| {
            let first = std::process::id().to_ne_bytes();
            let first = u16::from_ne_bytes([first[0], first[1]]);
            let tokens = (0..TRIES).map(|step| token(first.wrapping_add(step)));
            tokens
                .filter(|token| *token != 0)
                .find_map(|token| Some(Self { token, _name: Some(claim(token).ok()?) }))
                .unwrap_or(Self { token: 0, _name: None })
        })
    }

    /// Whether the agent of a token lives, and is another.
    fn is_another(token: u16) -> bool {
        token != 0
            && token != Self::this().token
            && claim(token).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    }
}

/// A number as a token: as many bits as a handle has for it.
const fn token(number: u16) -> u16 {
    number << OF_MAKER >> OF_MAKER
}

fn claim(token: u16) -> io::Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(format!("traffic-probe/clsact/{token}"))?;
    UnixListener::bind_addr(&address)
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
        let inherited = clear(interface).0.unwrap_or(Maker::Somebody);
        // An error says that there is one. If there cannot be one, attaching says so.
        let maker = if qdisc_add_clsact(name).is_ok() { Maker::Us } else { inherited };
        Self { interface, maker }
    }

    /// The handle of our filters in it.
    pub(super) fn handle(&self) -> TcHandle {
        TcHandle::new(OURS, minor(self.maker))
    }

    /// How many of our filters are in it. Where they cannot be listed, they are taken to be there.
    pub(super) fn filters(&self) -> usize {
        let ours = |parent| {
            let filters = filters(self.interface, parent).ok()?;
            let is_ours = |filter: &Filter| matches!(filter, Filter::Ours { token, .. } if *token == ClsactOwner::this().token);
            Some(filters.iter().filter(|filter| is_ours(filter)).count())
        };
        PARENTS.into_iter().map(|parent| ours(parent).unwrap_or(1)).sum()
    }
}

/// The lower half of our handles.
fn minor(maker: Maker) -> u16 {
    ClsactOwner::this().token << OF_MAKER | maker as u16
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
    let (maker, removed) = clear(interface);
    if removed && maker == Some(Maker::Us) {
        remove_if_unused(interface);
    }
    removed
}

/// Removes a killed agent's filters. Says who made the `clsact` that they, or those of an agent that lives, are in, and whether there
/// were any to remove.
fn clear(interface: u32) -> (Option<Maker>, bool) {
    let (mut maker, mut removed) = (None, false);
    for parent in PARENTS {
        for filter in filters(interface, parent).unwrap_or_default() {
            let Filter::Ours { header, maker: its_maker, token } = filter else { continue };
            // The last agent to leave removes what any of them made.
            maker = Some(its_maker);
            if ClsactOwner::is_another(token) {
                continue;
            }
            removed = true;
            match rtnetlink::order(RouteNetlinkMessage::DelTrafficFilter(message(header))) {
                Ok(()) => tracing::info!(
                    "removed a filter that a killed agent had left on interface number {interface}"
                ),
                Err(error) => tracing::warn!(
                    "cannot remove a filter that a killed agent had left on interface number {interface}: {error}"
                ),
            }
        }
    }
    (maker, removed)
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
    /// Of this agent or of another one: by what it can be removed, who made the discipline that it is in, and whose it is.
    Ours {
        header: TcHeader,
        maker: Maker,
        token: u16,
    },
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
    let handle = message.header.handle;
    let maker = [Maker::Somebody, Maker::Us]
        .into_iter()
        .find(|maker| handle.major == OURS && handle.minor & ((1 << OF_MAKER) - 1) == *maker as u16);
    let Some(maker) = maker.filter(|_| bears_our_name(message)) else { return Some(Filter::Somebodys) };
    Some(Filter::Ours { header: message.header.clone(), maker, token: handle.minor >> OF_MAKER })
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
            assert!(matches!(found, Some(Filter::Ours { maker: found, token: 0, .. }) if found == maker));
        }
        let found = filter(&told(handle(minor(Maker::Us)), INTERFACE_RECEIVE));
        let this = ClsactOwner::this().token;
        assert!(matches!(found, Some(Filter::Ours { maker: Maker::Us, token, .. }) if token == this));
        assert_eq!(filter(&told(handle(1), "their_program")), Some(Filter::Somebodys));
        assert_eq!(filter(&told(handle(3), INTERFACE_RECEIVE)), Some(Filter::Somebodys));
        assert_eq!(filter(&told(tc::TcHandle::from(1), INTERFACE_RECEIVE)), Some(Filter::Somebodys));
    }

    #[test]
    fn an_agent_lives_for_as_long_as_its_name_is_taken() {
        let this = ClsactOwner::this().token;
        assert!(this != 0 && !ClsactOwner::is_another(this) && !ClsactOwner::is_another(0));
        let other = token(this.wrapping_add(4711));
        let name = claim(other).unwrap();
        assert!(ClsactOwner::is_another(other));
        drop(name);
        assert!(!ClsactOwner::is_another(other));
    }

    #[test]
    fn what_cannot_be_read_is_somebodys_and_a_priority_as_a_whole_is_no_filter() {
        assert_eq!(filter(&Told::Unreadable("why".into())), Some(Filter::Somebodys));
        assert_eq!(filter(&told(tc::TcHandle::UNSPEC, INTERFACE_RECEIVE)), None);
    }
}
