//! The hooks of an interface: where packets queue (TCX, or TC before it), and at its driver (XDP). With `--pin`, what holds
//! a program there is pinned by the interface's index, and taken up by the next agent.

use std::io;

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::FdLink,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
        xdp::XdpLink,
    },
};

use super::{
    attachments::Attachments,
    clsact::{self, Clsact},
    error::{StartError, reason},
    features::Features,
    object::{INTERFACE_DRIVER, INTERFACE_RECEIVE, INTERFACE_TRANSMIT, load_program},
    pinning::{Pin, PinError, Pins},
};
use crate::{
    feature::Feature,
    settings::{TcAttachment, TcxOrder},
};

/// What holds the programs at an interface; dropping it detaches those that are not pinned.
pub(super) struct Hooks {
    hooks: [Hook; 2],
    /// Goes after the filters that are in it.
    clsact: Option<Clsact>,
}

enum Hook {
    Queue(SchedClassifierLink),
    Driver(XdpLink),
    Pinned(Pin),
}

/// Where what an interface receives is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiveAt {
    /// Where all see it.
    Queue,
    /// Before anyone else sees it.
    Driver,
}

impl Hooks {
    /// Attaches the programs to the interface of an index and a name, or takes up those that are pinned there.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        features: &mut Features,
        (index, name): (u32, &str),
        receive: ReceiveAt,
        (queue, attachment): (Queue, TcAttachment),
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        let clsact = match queue {
            Queue::Tcx => {
                clsact::remove_left(index);
                None
            }
            Queue::Clsact => Some(Clsact::prepare(index, name)),
        };
        let options = || options(attachment, clsact.as_ref());
        let receive = match receive {
            ReceiveAt::Driver => {
                remove(pins, INTERFACE_RECEIVE, index)?;
                hold(pins, INTERFACE_DRIVER, index, || attach_driver(ebpf, features, name))?
            }
            ReceiveAt::Queue => {
                remove(pins, INTERFACE_DRIVER, index)?;
                let attach = || attach_queue(ebpf, INTERFACE_RECEIVE, name, TcAttachType::Ingress, options());
                hold(pins, INTERFACE_RECEIVE, index, attach)?
            }
        };
        let attach = || attach_queue(ebpf, INTERFACE_TRANSMIT, name, TcAttachType::Egress, options());
        let transmit = hold(pins, INTERFACE_TRANSMIT, index, attach)?;
        Ok(Self { hooks: [receive, transmit], clsact })
    }

    /// Whether somebody has taken one of them off the interface of an index.
    pub(super) fn are_off(&self, index: u32, attachments: &Attachments) -> bool {
        let is_filter = |hook: &&Hook| self.clsact.is_some() && matches!(hook, Hook::Queue(_));
        let filters = self.hooks.iter().filter(is_filter).count();
        attachments.at_interface(index) < self.hooks.len() - filters
            || self.clsact.as_ref().is_some_and(|clsact| clsact.filters() < filters)
    }

    /// Detaches the programs, pinned or not.
    pub(super) fn detach(self) {
        for hook in self.hooks {
            if let Hook::Pinned(pin) = hook
                && let Err(error) = pin.remove()
            {
                tracing::warn!("{error}");
            }
        }
    }
}

impl From<SchedClassifierLink> for Hook {
    fn from(link: SchedClassifierLink) -> Self {
        Self::Queue(link)
    }
}

impl From<XdpLink> for Hook {
    fn from(link: XdpLink) -> Self {
        Self::Driver(link)
    }
}

/// By which of the kernel's two ways programs are at the queues of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// By links, which can be pinned.
    Tcx,
    /// By filters of netlink.
    Clsact,
}

impl Queue {
    /// Finds out which way this kernel has, by a program that is at the loopback device for a moment, where it counts nothing.
    pub(super) fn find(ebpf: &mut Ebpf, features: &mut Features) -> Self {
        if !features.has(Feature::Tcx) {
            return Self::Clsact;
        }
        let Ok(classifier) = classifier(ebpf, INTERFACE_TRANSMIT) else { return Self::Clsact };
        let options = TcAttachOptions::TcxOrder(LinkOrder::last());
        let attached = classifier.attach_with_options(LOOPBACK, TcAttachType::Egress, options);
        match attached.and_then(|link| classifier.take_link(link)) {
            Ok(_) => Self::Tcx,
            // An earlier agent pinned it there: a program is at an interface once.
            Err(error) if is_there_already(&error) => Self::Tcx,
            Err(error) => {
                let reason = reason(&error);
                features.lose(Feature::Tcx, format!("TCX is refused on the interface {LOOPBACK}: {reason}"));
                Self::Clsact
            }
        }
    }
}

/// Whether the kernel answered that the same program is there.
fn is_there_already(error: &ProgramError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Every network namespace has it.
const LOOPBACK: &str = "lo";

fn options(attachment: TcAttachment, clsact: Option<&Clsact>) -> TcAttachOptions {
    match (clsact, attachment.order) {
        (Some(clsact), _) => TcAttachOptions::Netlink(NlOptions {
            priority: attachment.priority,
            handle: clsact.handle(),
            classid: None,
        }),
        // A neighbour that redirects or drops ends the chain: behind it packets would not be seen.
        (None, TcxOrder::Head) => TcAttachOptions::TcxOrder(LinkOrder::first()),
        (None, TcxOrder::Tail) => TcAttachOptions::TcxOrder(LinkOrder::last()),
    }
}

/// Whether an earlier agent left programs at an interface. Those that it left at another one of the same index, which has
/// gone since, are removed.
pub(super) fn are_left(pins: Option<&Pins>, index: u32) -> Result<bool, PinError> {
    let Some(pins) = pins else { return Ok(false) };
    let mut left = false;
    for program in [INTERFACE_RECEIVE, INTERFACE_DRIVER, INTERFACE_TRANSMIT] {
        let Some(pin) = pins.find(&link_name(program, index))? else { continue };
        if pin.interface() == Some(index) {
            left = true;
        } else {
            pin.remove()?;
        }
    }
    Ok(left)
}

/// Removes what an earlier agent left at interfaces that are not attached to.
pub(super) fn remove_left(pins: &Pins, is_attached: impl Fn(u32) -> bool) -> Result<(), PinError> {
    for link in pins.links()? {
        if index_in(&link).is_some_and(|index| !is_attached(index))
            && let Some(pin) = pins.find(&link)?
        {
            pin.remove()?;
        }
    }
    Ok(())
}

/// Under which name the link of a program at an interface is pinned.
fn link_name(program: &str, index: u32) -> String {
    format!("{program}_{index}")
}

/// The interface's index in such a name.
fn index_in(link: &str) -> Option<u32> {
    let programs = [INTERFACE_RECEIVE, INTERFACE_DRIVER, INTERFACE_TRANSMIT];
    let index = programs.iter().find_map(|program| link.strip_prefix(program)?.strip_prefix('_'))?;
    index.parse().ok()
}

/// Removes the link of a program that is not to be at an interface, if there is one.
fn remove(pins: Option<&Pins>, program: &str, index: u32) -> Result<(), PinError> {
    let pin = pins.map(|pins| pins.find(&link_name(program, index))).transpose()?.flatten();
    pin.map_or(Ok(()), Pin::remove)
}

/// What holds a program at an interface: the pinned link, if there is one; else a new one.
fn hold<L>(
    pins: Option<&Pins>,
    program: &str,
    index: u32,
    attach: impl FnOnce() -> Result<L, StartError>,
) -> Result<Hook, StartError>
where
    L: Into<Hook>,
{
    let Some(pins) = pins else { return Ok(attach()?.into()) };
    let name = link_name(program, index);
    if let Some(pin) = pins.find(&name)? {
        return Ok(Hook::Pinned(pin));
    }
    if program == INTERFACE_DRIVER {
        // A driver takes one program: that of another layout, which is about to be removed, makes way.
        pins.take_place(&name)?;
    }
    let link: Result<FdLink, _> = match attach()?.into() {
        Hook::Queue(link) => link.try_into(),
        Hook::Driver(link) => link.try_into(),
        Hook::Pinned(pin) => return Ok(Hook::Pinned(pin)),
    };
    let link = link.map_err(|error| PinError::unpinnable(&name, &error))?;
    Ok(Hook::Pinned(pins.pin(link, &name)?))
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, StartError> {
    let program = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
    program.ok_or(StartError::Missing { what: "program", name })
}

fn attach_queue(
    ebpf: &mut Ebpf,
    program: &'static str,
    interface: &str,
    way: TcAttachType,
    options: TcAttachOptions,
) -> Result<SchedClassifierLink, StartError> {
    let place = || format!("the interface {interface}");
    let classifier = classifier(ebpf, program)?;
    let failed = |error| StartError::Attach { program, place: place(), reason: reason(&error) };
    let link = classifier.attach_with_options(interface, way, options).map_err(failed)?;
    classifier.take_link(link).map_err(failed)
}

/// Attaches to the driver, loading the program where an earlier agent had; or, if that cannot be, to the stack behind it.
fn attach_driver(ebpf: &mut Ebpf, features: &mut Features, interface: &str) -> Result<XdpLink, StartError> {
    if ebpf.program(INTERFACE_DRIVER).is_some_and(|program| program.fd().is_err()) {
        load_program(ebpf, INTERFACE_DRIVER)?;
    }
    let program: &mut Xdp = ebpf
        .program_mut(INTERFACE_DRIVER)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: INTERFACE_DRIVER })?;
    let attached = program.attach(interface, XdpMode::Driver).or_else(|error| {
        let refused = reason(&error);
        let why = format!(
            "the driver of {interface} has no native XDP, and it is counted by generic XDP: {refused}"
        );
        program.attach(interface, XdpMode::Skb).inspect(|_| features.lose(Feature::Xdp, why))
    });
    let failed = |error| StartError::Attach {
        program: INTERFACE_DRIVER,
        place: format!("the interface {interface}"),
        reason: reason(&error),
    };
    program.take_link(attached.map_err(failed)?).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_name_tells_its_interface() {
        assert_eq!(index_in(&link_name(INTERFACE_DRIVER, 17)), Some(17));
        for other in ["socket_receive", "interface_receive", "interface_receive_x", "connections_3"] {
            assert_eq!(index_in(other), None, "{other}");
        }
    }
}
