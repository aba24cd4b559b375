//! The engine over a script.

use probe_common::{
    connection::{Connection, Segment, Side, Stage, Step},
    exchange::{Exchange, code_of},
    pending,
    reason::Reason,
    service::Role,
    window::Window,
};

use crate::script::{Delivery, Script};

/// What the engine counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The requests that came to an end, in the order in which they did.
    pub exchanges: Vec<Exchange>,
    /// What escaped.
    pub unmeasured: Vec<Reason>,
    /// Bytes of each direction that were new.
    pub fresh: [u64; 2],
    /// Requests that began.
    pub began: u64,
    /// Requests that are in flight no more.
    pub ended: u64,
    /// Answers that the client has acknowledged.
    pub delivered: u64,
    /// Answers that it had not when the connection was over.
    pub undelivered: u64,
}

impl Counted {
    /// Method and status of each exchange, as they are exported: whether a response was cut short is no label.
    #[must_use]
    pub fn kinds(&self) -> Vec<(&'static str, u16)> {
        self.exchanges.iter().map(|exchange| (exchange.method.label(), code_of(exchange.status))).collect()
    }

    fn note(&mut self, step: &Step) {
        self.began += u64::from(step.began);
        self.ended += u64::from(step.ended);
        self.exchanges.extend(step.exchange);
        self.unmeasured.extend(step.unmeasured);
    }
}

/// Runs the engine over a script, as a hook runs it over packets.
///
/// # Panics
/// If it does not come to an end: a defect.
#[must_use]
pub fn run(script: &Script) -> Counted {
    let mut connection = connection(script);
    let mut window = Box::<Window>::default();
    let mut counted = Counted::default();
    for delivery in &script.deliveries {
        deliver(&mut connection, &mut window, delivery, &mut counted);
    }
    if script.setting.closed {
        close(&mut connection, script.end, &mut counted);
    }
    counted
}

fn close(connection: &mut Connection, now: u64, counted: &mut Counted) {
    for _ in 0..=pending::MOST {
        let step = connection.close(now);
        if step == Step::default() {
            counted.undelivered = u64::from(connection.undelivered());
            counted.unmeasured.extend((0..connection.missed()).map(|_| Reason::HeadLost));
            counted.unmeasured.extend(connection.unrecognised());
            return;
        }
        counted.note(&step);
    }
    panic!("a connection that is closed has no end");
}

/// The connection that a script is about, before its first segment; a server's.
#[must_use]
pub fn connection(script: &Script) -> Connection {
    let stage = if script.setting.joined { Stage::Joined } else { Stage::Open };
    let mut connection = Connection { stage, role: Role::Server as u8, ..Connection::default() };
    if script.setting.joined {
        return connection;
    }
    connection.request.begin_at(script.setting.first(Side::Request));
    connection.response.begin_at(script.setting.first(Side::Response));
    connection
}

fn deliver(connection: &mut Connection, window: &mut Window, delivery: &Delivery, counted: &mut Counted) {
    let length = u32::try_from(delivery.bytes.len()).expect("a segment is far shorter than 4 GiB");
    let segment = Segment {
        side: delivery.side,
        sequence: delivery.sequence,
        length,
        acknowledged: Some(delivery.acknowledged),
        fin: delivery.fin,
    };
    if connection.delivers(&segment) {
        while let Some(delivered) = connection.deliver(delivery.acknowledged) {
            counted.delivered += u64::from(delivered.answers);
        }
    }
    let accepted = connection.accept(&segment);
    counted.fresh[delivery.side as usize] += u64::from(accepted.fresh);
    counted.unmeasured.extend(accepted.lost);
    window.clear();
    let mut more = accepted.due;
    // A step reads a byte at least, or moves the window, or turns the connection to another state.
    let mut left = 4 * delivery.bytes.len() + 16;
    while more {
        let step = connection.step(&segment, delivery.time, window, &delivery.bytes[..]);
        more = step.more;
        counted.note(&step);
        assert!(left > 0, "reading a segment has no end");
        left -= 1;
    }
}
