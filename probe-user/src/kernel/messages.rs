//! Messages from the kernel side, which come through aya-log as numbers, put into words.
//!
//! A message is told once for each service and reason, and again only after an hour without one: what escapes is counted, and a log
//! that says the same every few seconds hides what else it has to say. What is so by design is no warning.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use probe_common::reason::Reason;

use crate::{causes::with_causes, snapshot::ServiceId, visible::visible};

/// When something that was told is news again.
const OLD: Duration = Duration::from_hours(1);

/// States that are remembered; beyond them a service may be told of twice.
const MOST: usize = 4096;

/// What reads the messages; [`Messages::flush`] is to be called now and then.
pub(super) struct Messages {
    logger: EbpfLogger<Inbox>,
    inbox: Inbox,
    told: Told,
}

/// Messages that have been read, and not told.
#[derive(Clone, Debug, Default)]
struct Inbox(Arc<Mutex<Vec<Message>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    Escaped {
        reason: Reason,
        /// By its index.
        service: u32,
    },
    Other(String),
}

impl Messages {
    /// The reader of the kernel side's messages; or, since the probe counts as well without it, why there is none.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, String> {
        let inbox = Inbox::default();
        EbpfLogger::init_with_logger(ebpf, inbox.clone())
            .map(|logger| Self { logger, inbox, told: Told::default() })
            .map_err(|error| format!("the kernel side's messages cannot be read: {}", with_causes(&error)))
    }

    /// Logs what has come since, with the names of services.
    pub(super) fn flush<'a>(&mut self, name: impl Fn(u32) -> Option<&'a ServiceId>) {
        self.logger.flush();
        let messages = mem::take(&mut *self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner));
        for message in messages {
            match message {
                Message::Escaped { reason, service }
                    if self.told.is_news((reason, service), Instant::now()) =>
                {
                    let words = in_words(reason, name(service));
                    if is_by_design(reason) {
                        tracing::debug!("{words}");
                    } else {
                        tracing::warn!("{words}");
                    }
                }
                Message::Escaped { .. } => {}
                Message::Other(text) => tracing::warn!("from the kernel side: {text}"),
            }
        }
    }
}

impl Log for Inbox {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let message = read(record.args().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    fn flush(&self) {}
}

/// A message is a reason's number and a service's index.
fn read(text: String) -> Message {
    let numbers = text.split_once(' ').and_then(|(reason, service)| {
        let reason = *Reason::ALL.get(reason.parse::<usize>().ok()?)?;
        Some(Message::Escaped { reason, service: service.parse().ok()? })
    });
    numbers.unwrap_or(Message::Other(text))
}

/// What was told, and when that was last the case.
#[derive(Debug, Default)]
struct Told(BTreeMap<(Reason, u32), Instant>);

impl Told {
    fn is_news(&mut self, state: (Reason, u32), now: Instant) -> bool {
        let is_old = |last: Instant| now.saturating_duration_since(last) >= OLD;
        if self.0.len() >= MOST {
            self.0.retain(|_, last| !is_old(*last));
        }
        if self.0.len() >= MOST && !self.0.contains_key(&state) {
            return true;
        }
        self.0.insert(state, now).is_none_or(is_old)
    }
}

/// Whether nothing is wrong where this happens: the probe reads no requests there, or nobody can know the figure.
fn is_by_design(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::OpaqueProtocol
            | Reason::KernelTooOld
            | Reason::JoinedLate
            | Reason::Undelivered
            | Reason::UnsolicitedResponse
            | Reason::EndLost
    )
}

fn in_words(reason: Reason, service: Option<&ServiceId>) -> String {
    let of = service.map_or_else(
        || "a service without a name yet".to_owned(),
        |service| format!("{}:{} ({})", visible(service.name()), service.port, service.role.label()),
    );
    format!(
        "unmeasured traffic of {of}: {}; counted in traffic_probe_unmeasured_total, explained in \
         docs/reference/metrics.md",
        reason.label()
    )
}

#[cfg(test)]
mod tests {
    use probe_common::{interface::Transport, service::Role};

    use super::*;
    use crate::identity::Identity;

    #[test]
    fn numbers_become_words_with_the_services_name() {
        let service = ServiceId {
            identity: Identity::named("shop\u{202e}"),
            port: 80,
            role: Role::Server,
            transport: Transport::Tcp,
        };
        let Message::Escaped { reason, service: 17 } = read("2 17".into()) else { panic!("not read") };
        let words = in_words(reason, Some(&service));
        assert!(
            words.starts_with("unmeasured traffic of shop\u{fffd}:80 (server): latency_full;"),
            "{words}"
        );
        assert!(in_words(reason, None).starts_with("unmeasured traffic of a service without a name yet:"));
        assert_eq!(read("200 17".into()), Message::Other("200 17".into()));
        assert_eq!(read("hello".into()), Message::Other("hello".into()));
    }

    #[test]
    fn a_state_is_told_once_and_again_when_it_comes_back() {
        let (mut told, begin) = (Told::default(), Instant::now());
        let state = (Reason::BadFraming, 4);
        assert!(told.is_news(state, begin) && !told.is_news(state, begin + OLD / 2));
        assert!(told.is_news((Reason::BadFraming, 5), begin), "another service");
        assert!(!told.is_news(state, begin + OLD), "it went on meanwhile");
        assert!(told.is_news(state, begin + OLD * 2));
        for service in 0..2 * u32::try_from(MOST).unwrap() {
            assert!(told.is_news((Reason::LatencyFull, service), begin + OLD * 3));
        }
        assert!(told.0.len() <= MOST, "{} are remembered", told.0.len());
    }

    #[test]
    fn what_is_by_design_is_no_warning() {
        assert!(is_by_design(Reason::OpaqueProtocol) && !is_by_design(Reason::LatencyFull));
    }
}
