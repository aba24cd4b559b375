//! A connection of the capture, from its handshake to its end.

use probe_common::{connection::Side, reason::Reason, sequence::distance, window::Window};

use super::{
    conversation::{Conversation, FirstBytes, Overheard},
    half::{Half, NEAR, Remains},
    pair::{End, Ends, Pair},
    roles::{ATTEMPTS, Listeners},
    routes::Routes,
    services::{Service, Services},
    tally::{Peer, Tally},
    tcp::Segment,
    validity::{self, Held},
    watch::Watch,
};

/// A connection that is followed.
pub(super) struct Talk {
    pair: Pair,
    phase: Phase,
    halves: Ends<Half>,
    /// What each end has sent that is not accepted yet.
    held: Ends<Option<Box<Held>>>,
    /// Segments that nothing has borne out.
    doubtful: u64,
    /// Requests that have ended.
    requests: u64,
    words: Words,
    /// Whether an acknowledgement has come of another connection of the same addresses and ports, before this one was granted.
    challenged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asked for, not established.
    Connecting,
    Established,
}

/// What is said.
enum Words {
    /// It is not known yet who is the server.
    Overheard {
        flows: Ends<Overheard>,
        tried: u8,
    },
    Known {
        server: End,
        service: Service,
        conversation: Box<Conversation>,
    },
}

/// What all connections share.
#[derive(Default)]
pub(super) struct Common {
    pub(super) services: Services,
    pub(super) listeners: Listeners,
    pub(super) window: Box<Window>,
    pub(super) routes: Routes,
    /// Segments that are held with their bytes.
    pub(super) kept: usize,
    /// Whether clients are told apart.
    pub(super) peers: bool,
    pub(super) watch: Watch,
}

/// How a connection ends, as far as the capture goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both ends have said that they are done, and have heard it.
    Farewell,
    Reset,
    /// Its addresses and ports are another connection's now.
    Reused,
    /// There was no room to follow it further.
    Evicted,
    /// The capture ends first.
    Cut,
}

/// What a SYN means to a connection of the same addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It is this connection's own.
    Own,
    /// It begins another one.
    Another,
}

impl Talk {
    /// One that begins with this SYN, or with the answer to one that was not captured.
    pub(super) fn begin(pair: Pair, from: End, segment: &Segment<'_>, common: &mut Common) -> Self {
        let (server, first) = match segment.acknowledged {
            None => (from.other(), FirstBytes { request: Some(segment.first()), response: None }),
            Some(request) => (from, FirstBytes { request: Some(request), response: Some(segment.first()) }),
        };
        let service = common.services.at(pair.at(server));
        let conversation = Box::new(Conversation::opened(first, common.routes));
        let mut halves = Ends::<Half>::default();
        halves[from].initial = Some(segment.sequence);
        halves[from.other()].initial = segment.acknowledged.map(|next| next.wrapping_sub(1));
        let words = Words::Known { server, service, conversation };
        Self {
            pair,
            phase: Phase::Connecting,
            halves,
            held: Ends::default(),
            doubtful: 0,
            requests: 0,
            words,
            challenged: false,
        }
    }

    /// One that is older than the capture.
    pub(super) fn join(pair: Pair) -> Self {
        let words = Words::Overheard { flows: Ends::default(), tried: 0 };
        let halves = Ends::default();
        Self {
            pair,
            phase: Phase::Established,
            halves,
            held: Ends::default(),
            doubtful: 0,
            requests: 0,
            words,
            challenged: false,
        }
    }

    /// Takes a SYN for this connection's own, or for another's.
    pub(super) fn greet(&mut self, from: End, segment: &Segment<'_>) -> Greeting {
        let expected = match (self.halves[from].initial, self.halves[from.other()].initial) {
            (Some(known), _) => {
                return if known == segment.sequence { Greeting::Own } else { Greeting::Another };
            }
            // The other end asked. This one answers, or asks at the same time.
            (None, Some(asked)) => segment.acknowledged.is_none_or(|next| {
                // With TCP Fast Open the answer is also one to the data that came with the question.
                let data = distance(asked.wrapping_add(1), next);
                data >= 0 && data.unsigned_abs() < NEAR
            }),
            (None, None) => false,
        };
        if expected {
            self.halves[from].initial = Some(segment.sequence);
            if let Words::Known { server, conversation, .. } = &mut self.words {
                let first = Some(segment.first());
                conversation.begin(if from == *server {
                    FirstBytes { request: None, response: first }
                } else {
                    FirstBytes { request: first, response: None }
                });
            }
            return Greeting::Own;
        }
        // Late, to a connection that was joined in between.
        if self.halves[from].is_near(segment) { Greeting::Own } else { Greeting::Another }
    }

    /// Takes a segment; false if it is not accepted, or not yet.
    pub(super) fn hear(&mut self, from: End, segment: &Segment<'_>, now: u64, common: &mut Common) -> bool {
        self.halves[from].volume.packets += 1;
        if self.challenges(from, segment) {
            self.challenged = true;
            return true;
        }
        let [own, other] = [from, from.other()].map(|end| self.halves[end].progress());
        let continued = |held: &mut Box<Held>| held.is_continued(segment);
        let answered = |held: &mut Box<Held>| held.is_answered(segment, other, own);
        for (end, held) in [
            (from, self.held[from].take_if(continued)),
            (from.other(), self.held[from.other()].take_if(answered)),
        ] {
            if let Some(held) = held {
                held.release(&mut common.kept);
                self.accept(end, &held.segment(), held.time, common);
            }
        }
        let [own, other] = [from, from.other()].map(|end| self.halves[end].progress());
        let doubted = self.phase == Phase::Established && !validity::plausible(segment, own, other);
        if doubted {
            let held = Box::new(Held::new(segment, now, &mut common.kept));
            if let Some(before) = self.held[from].replace(held) {
                before.release(&mut common.kept);
                self.doubtful += 1;
            }
        } else {
            self.accept(from, segment, now, common);
        }
        !doubted
    }

    fn accept(&mut self, from: End, segment: &Segment<'_>, now: u64, common: &mut Common) {
        let other = self.halves[from.other()].offer;
        self.halves[from].note(segment, &other);
        self.settle(from, segment, common);
        let heard = match &mut self.words {
            Words::Overheard { flows, tried } => {
                *tried += u8::from(segment.length > 0);
                flows[from].hear(segment)
            }
            Words::Known { server, service, conversation } => {
                let side = if from == *server { Side::Response } else { Side::Request };
                let tally = common.services.tally(*service, conversation.protocol());
                if self.phase == Phase::Connecting && !segment.syn && !segment.rst {
                    self.phase = Phase::Established;
                    tally.connections.opened += 1;
                }
                let heard = conversation.hear(side, segment, now, &mut common.window, tally);
                common.watch.carried(side, heard.fresh, now);
                heard
            }
        };
        self.tell_ended(common);
        let half = &mut self.halves[from];
        half.volume.bytes += heard.fresh;
        half.again += heard.again;
    }

    /// Passes on which requests have ended.
    fn tell_ended(&mut self, common: &mut Common) {
        let Words::Known { server, conversation, .. } = &mut self.words else { return };
        let (client, server) = (self.pair.at(server.other()), self.pair.at(*server));
        for ended in conversation.take_ended() {
            self.requests += 1;
            common.watch.ended(server, client, ended);
        }
    }

    /// Whether a segment is a challenge (RFC 5961, section 4): a bare acknowledgement by which a server answers a SYN that it takes for
    /// one amid an older connection. It has not granted anything.
    fn challenges(&self, from: End, segment: &Segment<'_>) -> bool {
        let bare = segment.length == 0 && !segment.syn && !segment.rst && !segment.fin;
        self.phase == Phase::Connecting && bare && self.halves[from].initial.is_none()
    }

    /// Whether a segment ends the connection by a reset. One with which the client answers a challenge ends what the server took it
    /// for.
    pub(super) fn is_reset_by(&self, from: End, segment: &Segment<'_>) -> bool {
        let asks = self.phase == Phase::Connecting && self.halves[from].initial.is_some();
        segment.rst && !(asks && self.challenged)
    }

    /// Decides who is the server, if this segment tells.
    fn settle(&mut self, from: End, segment: &Segment<'_>, common: &mut Common) {
        let Words::Overheard { tried, .. } = &self.words else { return };
        let told = common.listeners.server(&self.pair, from, segment, &mut common.window);
        if let Some(server) = told.or_else(|| (*tried >= ATTEMPTS).then(|| self.pair.lower_port())) {
            self.serve(server, common);
        }
    }

    fn serve(&mut self, server: End, common: &mut Common) {
        let Words::Overheard { flows, .. } = &self.words else { return };
        let conversation = Conversation::joined(flows[server.other()], flows[server], common.routes);
        let service = common.services.at(self.pair.at(server));
        common.services.tally(service, conversation.protocol()).connections.joined += 1;
        self.words = Words::Known { server, service, conversation: Box::new(conversation) };
    }

    /// Whether both ends are done, and each has heard it of the other.
    pub(super) fn is_over(&self) -> bool {
        [End::Low, End::High].into_iter().all(|end| {
            let (fin, heard) = (self.halves[end].fin, self.halves[end.other()].acknowledged);
            matches!((fin, heard), (Some(fin), Some(heard)) if distance(fin, heard) >= 0)
        })
    }

    /// Counts its end, and gives what is to be remembered of it.
    pub(super) fn end(mut self, ending: Ending, now: u64, common: &mut Common) -> Remains {
        if matches!(self.words, Words::Overheard { .. }) {
            self.serve(self.pair.lower_port(), common);
        }
        for end in [End::Low, End::High] {
            if let Some(held) = self.held[end].take() {
                held.release(&mut common.kept);
                self.doubtful += 1;
            }
        }
        let both_spoke = [End::Low, End::High].iter().all(|end| self.halves[*end].volume.bytes > 0);
        if let Words::Known { service, conversation, .. } = &mut self.words {
            let unrecognised = conversation.unrecognised(both_spoke);
            // The end of the capture may have cut off no more than the last acknowledgement.
            let said = self.halves[End::Low].fin.and(self.halves[End::High].fin).is_some();
            let ending = if ending == Ending::Cut && said { Ending::Farewell } else { ending };
            let tally = common.services.tally(*service, conversation.protocol());
            if let Some(reason) = unrecognised {
                tally.escaped(reason);
            }
            match self.phase {
                Phase::Connecting => count_attempt(ending, now, conversation, tally),
                Phase::Established => count_end(ending, now, conversation, tally),
            }
            tally.missed(Reason::OutOfWindow.label(), self.doubtful);
        }
        self.tell_ended(common);
        if let Words::Known { server, service, conversation } = &self.words {
            let tally = common.services.tally(*service, conversation.protocol());
            if common.peers {
                let client = self.pair.at(server.other()).ip();
                let [received, sent] = [server.other(), *server].map(|end| self.halves[end].volume.bytes);
                let requests = self.requests;
                tally.peer(Some(client)).add(&Peer { connections: 1, requests, received, sent });
            }
            for (side, end) in [(Side::Response, *server), (Side::Request, server.other())] {
                let half = &self.halves[end];
                tally.volume(side, half.volume, half.again);
            }
        }
        Remains { halves: self.halves, ended: now }
    }
}

fn count_attempt(ending: Ending, now: u64, conversation: &mut Conversation, tally: &mut Tally) {
    match ending {
        Ending::Farewell | Ending::Reset | Ending::Reused => {
            tally.connections.failed += 1;
            // There may have been a request with the SYN.
            conversation.close(now, tally);
        }
        Ending::Evicted => give_up(conversation, tally),
        Ending::Cut => {
            tally.connections.half_open += 1;
            conversation.wait(now, tally);
        }
    }
}

fn give_up(conversation: &Conversation, tally: &mut Tally) {
    tally.connections.evicted += 1;
    tally.missed("evicted", conversation.in_flight());
}

fn count_end(ending: Ending, now: u64, conversation: &mut Conversation, tally: &mut Tally) {
    match ending {
        Ending::Farewell | Ending::Reset | Ending::Reused => {
            tally.connections.closed += 1;
            tally.connections.reset += u64::from(ending == Ending::Reset);
            tally.connections.reused += u64::from(ending == Ending::Reused);
            conversation.close(now, tally);
        }
        Ending::Evicted => give_up(conversation, tally),
        Ending::Cut => {
            tally.connections.open += 1;
            conversation.wait(now, tally);
        }
    }
}
