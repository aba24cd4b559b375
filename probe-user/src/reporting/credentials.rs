//! How to say to an agent who asks: a password, a token, a certificate, each from a file, so that none is on a command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, builder::NonEmptyStringValueParser, builder::TypedValueParser};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

/// The flags.
#[derive(Clone, Debug, Default, Args)]
pub struct Credentials {
    /// User name, as in the agent's web configuration
    #[arg(long, value_name = "NAME", requires = "password_file", env = "TRAFFIC_PROBE_USERNAME")]
    username: Option<String>,
    /// File with that user's password on its first line
    #[arg(long, value_name = "FILE", requires = "username", env = "TRAFFIC_PROBE_PASSWORD_FILE")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    password_file: Option<PathBuf>,
    /// File with a bearer token on its first line
    #[arg(long, value_name = "FILE", conflicts_with = "username", env = "TRAFFIC_PROBE_TOKEN_FILE")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    token_file: Option<PathBuf>,
    /// Client certificate (PEM), followed by any intermediate certificates
    #[arg(long, value_name = "FILE", requires = "key", env = "TRAFFIC_PROBE_CERT")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", env = "TRAFFIC_PROBE_KEY")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    key: Option<PathBuf>,
}

/// A file that holds none of what it should.
#[derive(Debug, thiserror::Error)]
#[error("cannot take {what} from {file}: {reason}")]
pub struct Unusable {
    what: &'static str,
    file: String,
    reason: String,
}

impl Credentials {
    /// The value of the field `Authorization`; none if neither password nor token is given.
    ///
    /// # Errors
    /// If the file cannot be read, or its first line is empty.
    pub(super) fn authorization(&self) -> Result<Option<String>, Unusable> {
        if let (Some(name), Some(file)) = (&self.username, &self.password_file) {
            let password = first_line("a password", file)?;
            return Ok(Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))));
        }
        let token = self.token_file.as_deref().map(|file| first_line("a token", file)).transpose()?;
        Ok(token.map(|token| format!("Bearer {token}")))
    }

    /// The certificate to show, if there is one.
    ///
    /// # Errors
    /// If a file cannot be read, or has no certificate, or no key.
    pub(super) fn certificate(&self) -> Result<Option<ClientCert>, Unusable> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        let private = PrivateKey::from_pem(&read("a private key", key)?);
        let private = private.map_err(|error| unusable("a private key", key, &error))?;
        Ok(Some(ClientCert::new_with_certs(&certificates("a certificate", cert)?, private)))
    }
}

/// All certificates of a file.
///
/// # Errors
/// If it cannot be read, or has none in PEM.
pub(super) fn certificates(what: &'static str, file: &Path) -> Result<Vec<Certificate<'static>>, Unusable> {
    let mut certificates = Vec::new();
    for item in parse_pem(&read(what, file)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| unusable(what, file, &error))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(unusable(what, file, &"there is none in it; it has to be in PEM"));
    }
    Ok(certificates)
}

fn first_line(what: &'static str, file: &Path) -> Result<String, Unusable> {
    let text = String::from_utf8(read(what, file)?).map_err(|error| unusable(what, file, &error))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(unusable(what, file, &"its first line is empty")),
    }
}

fn read(what: &'static str, file: &Path) -> Result<Vec<u8>, Unusable> {
    fs::read(file).map_err(|error| unusable(what, file, &error))
}

fn unusable(what: &'static str, file: &Path, reason: &impl ToString) -> Unusable {
    Unusable { what, file: file.display().to_string(), reason: reason.to_string() }
}
