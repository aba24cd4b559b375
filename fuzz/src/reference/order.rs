//! Whether the segments of a script come in an order in which a client and a server can have sent them.

use probe_common::{connection::Side, pending::DEPTH};

use super::{Ending, Framed};
use crate::script::Script;

/// Whether no answer is seen before its request, none behind a change of protocol is seen before that, and no more
/// requests are under way than the engine keeps times of.
pub(super) fn permits(script: &Script, exchanges: &[Framed]) -> bool {
    if exchanges.len() > DEPTH as usize || !ends_stay(script) {
        return false;
    }
    let mut seen = [0; 2];
    for delivery in &script.deliveries {
        let from = delivery.sequence.wrapping_sub(script.setting.first(delivery.side)) as usize;
        let side = delivery.side as usize;
        let before = seen[side];
        seen[side] = seen[side].max(from + delivery.bytes.len());
        if delivery.side == Side::Response && seen[side] > before && !in_time(seen, before, exchanges) {
            return false;
        }
    }
    true
}

/// Whether the response bytes from `before` on may be seen when so much of each side has been.
fn in_time(seen: [usize; 2], before: usize, exchanges: &[Framed]) -> bool {
    exchanges.iter().all(|framed| {
        let begun = seen[1] > framed.answered_from;
        let switched = framed.ending == Ending::Switched && seen[1] >= framed.answer_head;
        let first = before < framed.answer_head;
        (!begun || seen[0] >= framed.request[1]) && !(switched && first && seen[0] != framed.request[2])
    })
}

/// Whether a direction that has ended stays so.
fn ends_stay(script: &Script) -> bool {
    let mut ended = [false; 2];
    script.deliveries.iter().all(|delivery| {
        let goes_on = ended[delivery.side as usize] && !delivery.bytes.is_empty();
        ended[delivery.side as usize] |= delivery.fin;
        !goes_on
    })
}

/// Whether the client was the first to end its direction.
pub(super) fn client_leaves_first(script: &Script) -> bool {
    script
        .deliveries
        .iter()
        .find(|delivery| delivery.fin)
        .is_some_and(|delivery| delivery.side == Side::Request)
}

/// Whether the server ended its direction.
pub(super) fn answers_end(script: &Script) -> bool {
    script.deliveries.iter().any(|delivery| delivery.side == Side::Response && delivery.fin)
}
