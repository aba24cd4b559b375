//! The engine over a script.

use probe_common::{
    connection::{Connection, Segment, Side, Stage, Step},
    exchange::Exchange,
    reason::Reason,
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
}

impl Counted {
    /// Method and status of each exchange, as they are exported.
    #[must_use]
    pub fn kinds(&self) -> Vec<(&'static str, u16)> {
        self.exchanges.iter().map(|exchange| (exchange.method.label(), exchange.status)).collect()
    }

    fn note(&mut self, step: &Step) {
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
        for _ in 0..=probe_common::pending::DEPTH {
            let step = connection.close(script.end);
            if step == Step::default() {
                return counted;
            }
            counted.note(&step);
        }
        panic!("a connection that is closed has no end");
    }
    counted
}

/// The connection that a script is about, before its first segment.
fn connection(script: &Script) -> Connection {
    if script.setting.joined {
        return Connection { stage: Stage::Joined, ..Connection::default() };
    }
    let mut connection = Connection { stage: Stage::Open, ..Connection::default() };
    connection.request.begin_at(script.setting.first(Side::Request));
    connection.response.begin_at(script.setting.first(Side::Response));
    connection
}

fn deliver(connection: &mut Connection, window: &mut Window, delivery: &Delivery, counted: &mut Counted) {
    let length = u32::try_from(delivery.bytes.len()).expect("a segment is far shorter than 4 GiB");
    let segment = Segment { side: delivery.side, sequence: delivery.sequence, length, fin: delivery.fin };
    let accepted = connection.accept(&segment);
    counted.fresh[delivery.side as usize] += u64::from(accepted.fresh);
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
