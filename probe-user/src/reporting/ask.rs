//! Asking an agent over HTTP. Whatever goes wrong is a sentence that says what to do.

use std::{io, net::IpAddr, path::Path, time::Duration};

use serde::de::DeserializeOwned;
use ureq::{
    Agent, Error,
    http::{StatusCode, Uri, header::AUTHORIZATION},
    tls::{RootCerts, TlsConfig},
};

use super::credentials::{Credentials, Unusable, certificates};
use crate::api::Problem;

/// How long all of it may take: an agent answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// No node has so many services that the answer were longer.
const LONGEST: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Nobody is there.
    #[error(
        "cannot reach an agent at {url}: {reason}; is `traffic-probe run` at work there, and does it listen at that \
         address (--listen)? --url names another"
    )]
    Unreachable { url: String, reason: String },
    /// It takes too long.
    #[error("{url} did not respond within {} s; check its health: {url}/healthz", PATIENCE.as_secs())]
    Slow { url: String },
    /// TLS does not come about.
    #[error("cannot speak TLS with {url}: {reason}; name the CA of its certificate with --ca FILE")]
    Tls { url: String, reason: String },
    /// A file of ours.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The agent wants to know who asks.
    #[error(
        "the agent at {url} knows nobody of that name and password, or by that token: --username NAME with --password-file \
         FILE, or --token-file FILE, as its web configuration has them"
    )]
    Unknown { url: String },
    /// The agent gives a reason.
    #[error("the agent at {url} responded: {sentence}")]
    Refused { url: String, sentence: String },
    /// Something else is there.
    #[error("{url} is not the API of an agent: {reason}; check --url")]
    Stranger { url: String, reason: String },
}

/// The answer of an agent at a path, which begins with a slash.
pub(super) fn agent<T: DeserializeOwned>(
    url: &Uri,
    ca: Option<&Path>,
    credentials: &Credentials,
    path: &str,
) -> Result<T, Unanswered> {
    let base = url.to_string();
    let base = base.trim_end_matches('/');
    let failed = |error: Error| unanswered(base, error);
    let mut request = client(url, ca, credentials)?.get(format!("{base}{path}"));
    if let Some(authorization) = credentials.authorization()? {
        request = request.header(AUTHORIZATION, authorization);
    }
    let mut answer = request.call().map_err(failed)?;
    let status = answer.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(Unanswered::Unknown { url: base.to_owned() });
    }
    let body = answer.body_mut().with_config().limit(LONGEST).read_to_vec().map_err(failed)?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| stranger(base, &error));
    }
    Err(match serde_json::from_slice(&body) {
        Ok(Problem { error }) => Unanswered::Refused { url: base.to_owned(), sentence: error },
        Err(_) => stranger(base, &format!("it answers {status}")),
    })
}

fn client(url: &Uri, ca: Option<&Path>, credentials: &Credentials) -> Result<Agent, Unanswered> {
    let mut config = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    // A proxy that the environment names is none for this machine itself.
    if is_this_machine(url) {
        config = config.proxy(None);
    }
    let mut tls = TlsConfig::builder().client_cert(credentials.certificate()?);
    if let Some(file) = ca {
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates("certificates", file)?));
    }
    Ok(config.tls_config(tls.build()).build().new_agent())
}

fn is_this_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn unanswered(base: &str, error: Error) -> Unanswered {
    let url = base.to_owned();
    match error {
        Error::Timeout(_) => Unanswered::Slow { url },
        Error::Tls(reason) => Unanswered::Tls { url, reason: reason.to_owned() },
        Error::Rustls(error) => Unanswered::Tls { url, reason: error.to_string() },
        // What rustls has to say comes within an error of reading.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            Unanswered::Tls { url, reason: error.to_string() }
        }
        Error::Io(error) => Unanswered::Unreachable { url, reason: error.to_string() },
        error @ (Error::HostNotFound | Error::ConnectionFailed) => {
            Unanswered::Unreachable { url, reason: error.to_string() }
        }
        error => stranger(base, &error),
    }
}

fn stranger(base: &str, reason: &impl ToString) -> Unanswered {
    Unanswered::Stranger { url: base.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_needs_no_proxy() {
        let is_this = |url: &str| is_this_machine(&url.parse().unwrap());
        assert!(["http://127.0.0.9:1", "http://localhost", "https://[::1]:2"].into_iter().all(is_this));
        assert!(!is_this("http://192.0.2.1:9464"));
    }
}
