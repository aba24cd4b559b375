//! How requests end: by their answer, or with the connection.

use super::{Connection, Step};
use crate::{
    deliveries,
    exchange::{ABORTED, CANCELLED, Ending, Exchange},
    flow::{EXPECTS, Flow, GUESSED, Part, TOLD, UNASKED},
    pending::Request,
    protocol::Protocol,
    reason::Reason,
    service::Role,
};

/// An answer that has ended.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Its [facts](Flow::facts).
    pub(super) facts: u8,
}

/// In place of a status: the answer's first line went by unread.
const UNSEEN: u16 = 0;
/// The one interim status that is final: 101 Switching Protocols.
const SWITCHING: u16 = 101;
/// Statuses below are of interim responses (RFC 9110, section 15.2).
const FINAL: u16 = 200;
/// No code of a status line is as great: see [`Ending`].
const NO_CODE: u16 = 1000;
/// In place of a status: the connection ended first.
const UNANSWERED: u16 = u16::MAX;

impl Connection {
    /// The oldest request has had its answer.
    #[inline(always)]
    pub(super) fn answered(&mut self, answer: &Answer) -> Step {
        let first = self.pending.first(answer.last);
        let Some(request) = first.filter(|_| answer.facts & UNASKED == 0) else {
            return Step::default();
        };
        let unread = self.pending.unread_for();
        self.pending.pop(request.started);
        if self.pending.waiting() == 0 && self.request.facts & EXPECTS != 0 && self.request.is_bare() {
            // Its content was refused: what comes next may be it all the same, or another request.
            self.request.next_message();
            self.request.facts = GUESSED;
        }
        if answer.status < FINAL && answer.status != SWITCHING {
            // Not even the first line of its answer was read.
            let told = answer.facts & TOLD != 0;
            let unmeasured = if told { None } else { Some(Reason::HeadLost) };
            return Step { unmeasured, ended: true, ..Step::default() };
        }
        let first_byte = answer.first.saturating_sub(request.started);
        let exchange = Exchange {
            protocol: self.protocol,
            method: request.method,
            status: match answer.status {
                UNANSWERED if self.client_left() => CANCELLED,
                UNANSWERED => ABORTED,
                status => status,
            },
            first_byte,
            duration: answer.last.saturating_sub(request.started),
            queue: if unread < first_byte { unread } else { first_byte },
            route: self.pending.route_of_removed(),
        };
        let mut unmeasured = None;
        // What was cut short, and what did not come, is not on its way to anybody.
        if answer.status < NO_CODE
            && self.role == Role::Server as u8
            && !self.deliveries.push(answer.first, self.response.cursor)
        {
            unmeasured = Some(Reason::DeliveriesFull);
        }
        Step { exchange: Some(exchange), unmeasured, ended: true, ..Step::default() }
    }

    /// The connection is over. To be called until it returns no exchange: one for each request that got no answer, or none to the
    /// end, by whoever left first. An answer that the server ends with the connection is complete; one whose end was lost is taken
    /// to be where both ends have said farewell.
    #[inline(always)]
    pub fn close(&mut self, now: u64) -> Step {
        let Some(Request { started, .. }) = self.pending.first(now) else {
            return Step::default();
        };
        if self.response.passed_by() {
            // Answers went by behind a gap that nothing filled: whose they were is not known.
            self.pending.pop(started);
            if self.pending.waiting() == 0 {
                self.response.synced = false;
            }
            return Step { unmeasured: Some(Reason::HeadLost), ended: true, ..Step::default() };
        }
        let complete = match self.response.part {
            // Whether a client that says farewell early wants the rest shows in whether it resets what still comes.
            Part::UntilClose => self.ended[1] && !self.is_reset(),
            Part::Lost => self.response.status == UNSEEN || self.ended == [true; 2] && !self.is_reset(),
            _ => false,
        };
        let Flow { status, started: first, latest: last, facts, .. } = self.response;
        // What nobody asked for is nobody's answer.
        let asked = facts & UNASKED == 0;
        let answer = if complete && asked {
            Answer { status, first, last, facts }
        } else if status >= FINAL && asked {
            let ending = if self.client_left() { Ending::CutByClient } else { Ending::CutByServer };
            Answer { status: ending.with(status), first, last: now, facts }
        } else {
            Answer { status: UNANSWERED, first: now, last: now, facts: 0 }
        };
        self.response.next_message();
        self.answered(&answer)
    }

    /// In how many directions messages went by behind a gap that nothing filled, and were not told by
    /// [`Connection::close`]: to be asked once, behind it.
    #[inline(always)]
    #[must_use]
    pub fn missed(&self) -> u32 {
        u32::from(self.request.passed_by()) + u32::from(self.response.passed_by())
    }

    /// What the connection leaves open that nothing will answer any more: to be asked once, when it is over. It spoke something that
    /// was never recognised, or its last request was malformed.
    #[inline(always)]
    #[must_use]
    pub fn unrecognised(&mut self) -> Option<Reason> {
        if self.attempts == 0 || matches!(self.protocol, Protocol::Opaque) {
            return None;
        }
        self.attempts = 0;
        if matches!(self.protocol, Protocol::Http1) {
            return Some(Reason::BadFraming);
        }
        self.protocol = Protocol::Opaque;
        Some(Reason::OpaqueProtocol)
    }

    /// How many answers the client never acknowledged: to be asked once, when the connection is over.
    #[inline(always)]
    pub fn undelivered(&mut self) -> u32 {
        let mut answers: u32 = 0;
        for _ in 0..deliveries::DEPTH {
            let Some(delivery) = self.deliveries.take_first() else { break };
            answers = answers.wrapping_add(delivery.answers);
        }
        answers
    }
}
