//! The hooks of an interface: where packets queue (TCX, or TC before it), and at its driver (XDP).

use aya::{
    Ebpf,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
        xdp::XdpLink,
    },
    util::KernelVersion,
};

use super::{
    clsact::{self, Clsact},
    error::{StartError, reason},
    object::{INTERFACE_DRIVER, INTERFACE_RECEIVE, INTERFACE_TRANSMIT, at_least},
};
use crate::settings::{TcAttachment, TcHook, TcxOrder};

/// What holds the programs at an interface; dropping it detaches them.
#[expect(dead_code, reason = "held for what their drop does")]
pub(super) struct Hooks {
    receive: Receive,
    transmit: SchedClassifierLink,
    /// Goes after the filters that are in it.
    clsact: Option<Clsact>,
}

#[expect(dead_code, reason = "held for what their drop does")]
enum Receive {
    Queue(SchedClassifierLink),
    Driver(XdpLink),
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
    /// Attaches the programs to the interface of an index and name.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        (index, name): (u32, &str),
        receive: ReceiveAt,
        attachment: TcAttachment,
    ) -> Result<Self, StartError> {
        let clsact = match hook(attachment) {
            TcHook::Clsact => Some(Clsact::prepare(index, name)),
            TcHook::Auto => {
                clsact::remove_left(index);
                None
            }
        };
        let options = || options(attachment, clsact.as_ref());
        let receive = match receive {
            ReceiveAt::Driver => Receive::Driver(attach_driver(ebpf, name)?),
            ReceiveAt::Queue => {
                Receive::Queue(attach_queue(ebpf, INTERFACE_RECEIVE, name, TcAttachType::Ingress, options())?)
            }
        };
        let transmit = attach_queue(ebpf, INTERFACE_TRANSMIT, name, TcAttachType::Egress, options())?;
        Ok(Self { receive, transmit, clsact })
    }
}

/// `Auto` stands for TCX, where the kernel has it.
fn hook(attachment: TcAttachment) -> TcHook {
    if at_least(KernelVersion::new(6, 6, 0)) { attachment.hook } else { TcHook::Clsact }
}

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

fn attach_queue(
    ebpf: &mut Ebpf,
    program: &'static str,
    interface: &str,
    way: TcAttachType,
    options: TcAttachOptions,
) -> Result<SchedClassifierLink, StartError> {
    let place = || format!("the interface {interface}");
    let classifier: &mut SchedClassifier = ebpf
        .program_mut(program)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: program })?;
    let failed = |error| StartError::Attach { program, place: place(), reason: reason(&error) };
    let link = classifier.attach_with_options(interface, way, options).map_err(failed)?;
    classifier.take_link(link).map_err(failed)
}

/// Attaches to the driver, or, where it cannot, to the stack behind it.
fn attach_driver(ebpf: &mut Ebpf, interface: &str) -> Result<XdpLink, StartError> {
    let program: &mut Xdp = ebpf
        .program_mut(INTERFACE_DRIVER)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: INTERFACE_DRIVER })?;
    let attached = program.attach(interface, XdpMode::Driver).or_else(|error| {
        tracing::warn!(
            "the driver of {interface} has no native XDP ({}): counting it by generic XDP, which costs more than TC; \
             leave out --xdp for this interface",
            reason(&error)
        );
        program.attach(interface, XdpMode::Skb)
    });
    let failed = |error| StartError::Attach {
        program: INTERFACE_DRIVER,
        place: format!("the interface {interface}"),
        reason: reason(&error),
    };
    program.take_link(attached.map_err(failed)?).map_err(failed)
}
