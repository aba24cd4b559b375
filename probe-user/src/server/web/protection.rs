//! What a configuration protects by. Reading it again takes none of this away: an editor, a full disk or a tool that writes in place
//! leave a file that is empty or cut off for a moment, and that is a configuration too, of a listener that is open to everybody.

use super::{
    credentials::Credentials,
    file::{ClientAuth, WebConfig},
};

/// Whom a configuration keeps out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is there or is not, whatever the others are")]
pub(super) struct Protection {
    tls: bool,
    /// A password or a token is asked for.
    credentials: bool,
    /// Clients must show a certificate.
    certificates: bool,
    /// And one of certain names.
    names: bool,
}

impl Protection {
    pub(super) fn of(config: &WebConfig, credentials: &Credentials) -> Self {
        let tls = config.tls_server_config.as_ref().map(|tls| &tls.value);
        Self {
            tls: tls.is_some(),
            credentials: !credentials.are_none(),
            certificates: tls.is_some_and(|tls| tls.client_auth_type == ClientAuth::RequireAndVerify),
            names: tls.is_some_and(|tls| tls.client_allowed_sans.is_some()),
        }
    }

    /// What a change to another configuration would take away, in words; none if nothing.
    pub(super) fn lost_by(self, new: Self) -> Option<&'static str> {
        let kinds = [
            (self.tls, new.tls, "TLS"),
            (self.credentials, new.credentials, "the last password or token"),
            (self.certificates, new.certificates, "the demand for clients' certificates"),
            (self.names, new.names, "the names that clients' certificates must have"),
        ];
        kinds.into_iter().find(|(is, stays, _)| *is && !stays).map(|(_, _, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_told_and_more_is_not() {
        let all = Protection { tls: true, credentials: true, certificates: true, names: true };
        let none = Protection::default();
        assert_eq!((all.lost_by(all), none.lost_by(all), none.lost_by(none)), (None, None, None));
        assert_eq!(all.lost_by(none), Some("TLS"));
        for (less, what) in [
            (Protection { credentials: false, ..all }, "the last password or token"),
            (Protection { certificates: false, ..all }, "the demand for clients' certificates"),
            (Protection { names: false, ..all }, "the names that clients' certificates must have"),
        ] {
            assert_eq!(all.lost_by(less), Some(what));
        }
    }
}
