//! TLS and authentication of the listener, by a file in the form that Prometheus' exporters share (`--web-config`).
//!
//! The file and those that it names are read again when they change, by a thread of its own; what cannot be used does not
//! replace what is in force, nor does what protects less: a file that is cut off or emptied is still a configuration.

mod authentication;
mod client_names;
mod credentials;
mod error;
mod file;
mod follow;
mod protection;
mod tls;
mod validity;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use axum::http::HeaderMap;
use tokio_rustls::rustls::ServerConfig;

pub(super) use authentication::{Door, admit};
pub use error::BadWebConfig;

use credentials::Credentials;
use file::WebConfig;
use protection::Protection;
use validity::Validity;

/// How clients are received: what is in force now.
#[derive(Debug, Default)]
pub struct Web {
    path: Option<PathBuf>,
    current: RwLock<Arc<Reception>>,
}

/// What a web configuration comes to.
#[derive(Debug, Default)]
pub(super) struct Reception {
    /// None where the listener speaks plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    credentials: Credentials,
    /// Fields of every answer.
    headers: HeaderMap,
    /// Whom this keeps out.
    protection: Protection,
    /// When the certificate can be used.
    validity: Option<Validity>,
    /// What it was made from, beside the configuration itself.
    files: Vec<PathBuf>,
}

impl Web {
    /// Reads the configuration, if there is one: without, everybody is served over plain HTTP.
    pub fn read(path: Option<&Path>) -> Result<Arc<Self>, BadWebConfig> {
        let reception = path.map(Reception::read).transpose()?.unwrap_or_default();
        Ok(Arc::new(Self { path: path.map(Path::to_owned), current: RwLock::new(Arc::new(reception)) }))
    }

    /// The scheme under which it is asked.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.current().tls.is_some() { "https" } else { "http" }
    }

    pub(super) fn current(&self) -> Arc<Reception> {
        // A pointer is whole, whoever failed with the lock in hand.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, reception: Reception) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(reception);
    }
}

impl Reception {
    fn read(path: &Path) -> Result<Self, BadWebConfig> {
        let config = WebConfig::read(path)?;
        let place = file::Place::of(path);
        let mut files = Vec::new();
        let tls = config.tls_server_config.as_ref();
        let configured = tls.map(|tls| tls::configure(tls, &place, &mut files)).transpose()?;
        let (tls, validity) = configured.map_or((None, None), |(tls, validity)| (Some(tls), validity));
        let credentials = Credentials::new(&config, &place, &mut files)?;
        let headers = config.http_server_config.headers(&place)?;
        let protection = Protection::of(&config, &credentials);
        Ok(Self { tls, credentials, headers, protection, validity, files })
    }
}

#[cfg(test)]
mod tests;
