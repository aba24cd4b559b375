//! Messages from the kernel side, which come through aya-log as numbers, put into words.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use probe_common::reason::Reason;

use crate::causes::with_causes;

/// What reads the messages; [`Messages::flush`] is to be called now and then.
pub(super) struct Messages(EbpfLogger<Words>);

impl Messages {
    /// The reader of the kernel side's messages; or, since the probe counts as well without it, why there is none.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, String> {
        EbpfLogger::init_with_logger(ebpf, Words)
            .map(Self)
            .map_err(|error| format!("the kernel side's messages cannot be read: {}", with_causes(&error)))
    }

    /// Logs what has come since.
    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

struct Words;

impl Log for Words {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args().to_string();
        let words = in_words(&message).unwrap_or_else(|| format!("from the kernel side: {message}"));
        tracing::warn!("{words}");
    }

    fn flush(&self) {}
}

/// A message is a reason's number and a service's index.
fn in_words(message: &str) -> Option<String> {
    let (reason, service) = message.split_once(' ')?;
    let number: usize = reason.parse().ok()?;
    let reason = Reason::ALL.get(number)?.label();
    Some(format!(
        "something of service {service} escaped measurement: {reason}; \
         traffic_probe_unmeasured_total counts it, docs/metrics.md explains it (at most one message in 10 s)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_words() {
        assert!(in_words("2 17").unwrap().contains("service 17 escaped measurement: latency_full"));
        assert_eq!(in_words("200 17"), None);
        assert_eq!(in_words("hello"), None);
    }
}
