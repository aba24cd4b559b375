//! When the listener's certificate can be used: clients refuse one that has expired, and say so to nobody here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// How long before its end a certificate is told of: those of cert-manager and of ACME are renewed earlier.
const AHEAD: Duration = Duration::from_hours(7 * 24);

/// From when, and until when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    from: i64,
    until: i64,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("the listener's certificate expired on {}: clients refuse it; replace it", day(*.0))]
    Expired(i64),
    #[error("the listener's certificate expires on {}: replace it before then", day(*.0))]
    Expires(i64),
    #[error("the listener's certificate is not valid before {}: clients refuse it until then; check the clock", day(*.0))]
    NotYet(i64),
}

impl Validity {
    /// That of the first certificate, which is the listener's own; none if it cannot be read.
    pub(super) fn of(certificates: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificates.first()?).ok()?;
        let validity = certificate.validity();
        Some(Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
    }

    /// What is wrong at a moment, if anything.
    pub(super) fn at(self, now: SystemTime) -> Option<Invalid> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let now = seconds(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        if now < self.from {
            return Some(Invalid::NotYet(self.from));
        }
        if now > self.until {
            return Some(Invalid::Expired(self.until));
        }
        (now > self.until.saturating_sub(seconds(AHEAD))).then_some(Invalid::Expires(self.until))
    }
}

fn day(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_before_and_after_its_time() {
        let day = 24 * 60 * 60;
        let validity = Validity { from: 100 * day, until: 190 * day };
        let at = |days: i64| {
            let seconds = u64::try_from(days * day).unwrap();
            validity.at(UNIX_EPOCH + Duration::from_secs(seconds + 1)).map(|invalid| invalid.to_string())
        };
        assert!(at(99).unwrap().contains("is not valid before 1970-04-11T00:00:00Z"));
        assert_eq!((at(100), at(150), at(182)), (None, None, None));
        assert!(at(183).unwrap().contains("expires on 1970-07-10T00:00:00Z"));
        assert!(at(190).unwrap().contains("expired on 1970-07-10T00:00:00Z"));
    }
}
