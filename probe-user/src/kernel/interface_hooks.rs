//! The hooks of an interface: where packets queue (TCX, or TC before it), and at its driver (XDP).

use aya::{
    Ebpf,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{SchedClassifierLink, TcAttachOptions, qdisc_add_clsact},
        xdp::XdpLink,
    },
    util::KernelVersion,
};

use super::{
    error::{StartError, reason},
    object::{INTERFACE_DRIVER, INTERFACE_RECEIVE, INTERFACE_TRANSMIT, at_least},
};

/// What holds the programs at an interface; dropping it detaches them.
#[expect(dead_code, reason = "held for what their drop does")]
pub(super) struct Hooks {
    receive: Receive,
    transmit: SchedClassifierLink,
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
    /// Attaches the programs to the interface of a name.
    pub(super) fn attach(ebpf: &mut Ebpf, name: &str, receive: ReceiveAt) -> Result<Self, StartError> {
        let receive = match receive {
            ReceiveAt::Driver => Receive::Driver(attach_driver(ebpf, name)?),
            ReceiveAt::Queue => {
                Receive::Queue(attach_queue(ebpf, INTERFACE_RECEIVE, name, TcAttachType::Ingress)?)
            }
        };
        let transmit = attach_queue(ebpf, INTERFACE_TRANSMIT, name, TcAttachType::Egress)?;
        Ok(Self { receive, transmit })
    }
}

fn attach_queue(
    ebpf: &mut Ebpf,
    program: &'static str,
    interface: &str,
    way: TcAttachType,
) -> Result<SchedClassifierLink, StartError> {
    let place = || format!("the interface {interface}");
    let classifier: &mut SchedClassifier = ebpf
        .program_mut(program)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: program })?;
    let failed = |error| StartError::Attach { program, place: place(), reason: reason(&error) };
    let options = if at_least(KernelVersion::new(6, 6, 0)) {
        // At the head: a neighbour that redirects ends the chain.
        TcAttachOptions::TcxOrder(LinkOrder::first())
    } else {
        // It is there already, if another program made it.
        let _ = qdisc_add_clsact(interface);
        TcAttachOptions::Netlink(aya::programs::tc::NlOptions::default())
    };
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
