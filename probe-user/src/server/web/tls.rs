//! What the file says of TLS, as rustls wants it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_saphyr::Spanned;
use tokio_rustls::rustls::{
    CipherSuite, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    BadWebConfig,
    client_names::AllowedNames,
    file::{ClientAuth, Place, TlsConfig, Version},
    validity::Validity,
};
use crate::regular_file;

/// The suites of TLS 1.2 that are spoken; as everywhere, those of 1.3 are not chosen one by one.
pub(super) const SUITES: [CipherSuite; 6] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The server's side of TLS, and when its certificate is valid. Files that are read for it are noted.
pub(super) fn configure(
    config: &Spanned<TlsConfig>,
    place: &Place<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<(Arc<ServerConfig>, Option<Validity>), BadWebConfig> {
    let wrong = |problem: String| place.error(config, problem);
    let tls = &config.value;
    let certificate =
        Pem::read(("cert", "cert_file"), tls.cert.as_ref(), tls.cert_file.as_ref(), place, files)?
            .ok_or_else(|| wrong("`tls_server_config` names no certificate: set `cert_file`".into()))?;
    let key = Pem::read(("key", "key_file"), tls.key.as_ref(), tls.key_file.as_ref(), place, files)?
        .ok_or_else(|| wrong("`tls_server_config` names no key: set `key_file`".into()))?;
    let authorities = Pem::read(
        ("client_ca", "client_ca_file"),
        tls.client_ca.as_ref(),
        tls.client_ca_file.as_ref(),
        place,
        files,
    )?;
    let provider = Arc::new(provider(tls));
    let clients = clients(config, authorities.as_ref(), &provider, place)?;
    let certificates = certificate.certificates(place)?;
    let validity = Validity::of(&certificates);
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls))
        .map_err(|error| wrong(format!("these versions, suites and curves do not go together: {error}")))?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates, key.key(place)?)
        .map_err(|error| wrong(format!("certificate and key do not go together: {error}")))?;
    server.ignore_client_order = tls.prefer_server_cipher_suites;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(server), validity))
}

fn versions(tls: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let range = tls.min_version..=tls.max_version;
    let known = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
    known.into_iter().filter(|(version, _)| range.contains(version)).map(|(_, version)| version).collect()
}

/// The suites and curves that are asked for, in their order; all of them if none is named.
fn provider(tls: &TlsConfig) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        let all = std::mem::take(&mut provider.cipher_suites);
        let (settable, fixed): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|suite| SUITES.contains(&suite.suite()));
        let asked = tls.cipher_suites.iter();
        provider.cipher_suites = fixed;
        provider
            .cipher_suites
            .extend(asked.filter_map(|name| settable.iter().find(|suite| suite.suite() == *name).copied()));
    }
    if !tls.curve_preferences.is_empty() {
        let all = std::mem::take(&mut provider.kx_groups);
        let asked = tls.curve_preferences.iter();
        provider.kx_groups =
            asked.filter_map(|name| all.iter().find(|group| group.name() == *name).copied()).collect();
    }
    provider
}

/// How clients' certificates are looked at.
fn clients(
    config: &Spanned<TlsConfig>,
    authorities: Option<&Pem<'_>>,
    provider: &Arc<CryptoProvider>,
    place: &Place<'_>,
) -> Result<Arc<dyn ClientCertVerifier>, BadWebConfig> {
    let tls = &config.value;
    if let Some(names) =
        tls.client_allowed_sans.as_ref().filter(|_| tls.client_auth_type != ClientAuth::RequireAndVerify)
    {
        let problem = "`client_allowed_sans` takes `client_auth_type: RequireAndVerifyClientCert`";
        return Err(place.error(names, problem));
    }
    let Some(authorities) = authorities else {
        return match tls.client_auth_type {
            ClientAuth::None => Ok(Arc::new(NoClientAuth)),
            _ => Err(place.error(config, "`client_auth_type` takes a `client_ca_file` to verify clients by")),
        };
    };
    if tls.client_auth_type == ClientAuth::None {
        let problem = "has no effect without `client_auth_type: RequireAndVerifyClientCert`";
        return Err(authorities.error(place, problem));
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities.certificates(place)? {
        roots
            .add(authority)
            .map_err(|error| authorities.error(place, &format!("is no authority: {error}")))?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if tls.client_auth_type == ClientAuth::VerifyIfGiven {
        verifier = verifier.allow_unauthenticated();
    }
    let verifier =
        verifier.build().map_err(|error| authorities.error(place, &format!("verifies nobody: {error}")))?;
    Ok(match &tls.client_allowed_sans {
        Some(names) if !names.value.is_empty() => AllowedNames::among(names.value.clone(), verifier),
        _ => verifier,
    })
}

/// PEM, from a file or from the configuration itself.
struct Pem<'a> {
    /// As what it is in the configuration: `cert_file server.crt`.
    name: String,
    bytes: Vec<u8>,
    at: At<'a>,
}

/// Where the configuration has it.
enum At<'a> {
    Text(&'a Spanned<String>),
    File(&'a Spanned<PathBuf>),
}

impl<'a> Pem<'a> {
    fn read(
        (text_name, file_name): (&str, &str),
        text: Option<&'a Spanned<String>>,
        file: Option<&'a Spanned<PathBuf>>,
        place: &Place<'_>,
        files: &mut Vec<PathBuf>,
    ) -> Result<Option<Self>, BadWebConfig> {
        match (text, file) {
            (Some(text), Some(_)) => {
                Err(place
                    .error(text, format!("`{text_name}` and `{file_name}` are both there: take one out")))
            }
            (Some(text), None) => {
                let bytes = text.value.clone().into_bytes();
                Ok(Some(Self { name: format!("`{text_name}`"), bytes, at: At::Text(text) }))
            }
            (None, Some(file)) => {
                let name = format!("`{file_name}` {}", file.value.display());
                let bytes = read_file(file, &name, place, files)?;
                Ok(Some(Self { name, bytes, at: At::File(file) }))
            }
            (None, None) => Ok(None),
        }
    }

    fn error(&self, place: &Place<'_>, problem: &str) -> BadWebConfig {
        let problem = format!("{} {problem}", self.name);
        match self.at {
            At::Text(text) => place.error(text, problem),
            At::File(file) => place.error(file, problem),
        }
    }

    fn certificates(&self, place: &Place<'_>) -> Result<Vec<CertificateDer<'static>>, BadWebConfig> {
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match parsed {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            Ok(_) => Err(self.error(place, "has no certificate in it, in PEM")),
            Err(error) => Err(self.error(place, &format!("is no PEM: {error}"))),
        }
    }

    fn key(&self, place: &Place<'_>) -> Result<PrivateKeyDer<'static>, BadWebConfig> {
        PrivateKeyDer::from_pem_slice(&self.bytes)
            .map_err(|error| self.error(place, &format!("has no private key in it, in PEM: {error}")))
    }
}

/// A file that the configuration names.
pub(super) fn read_file(
    file: &Spanned<PathBuf>,
    name: &str,
    place: &Place<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<Vec<u8>, BadWebConfig> {
    let path: &Path = &place.join(&file.value);
    let bytes = regular_file::read(path)
        .map_err(|error| place.error(file, format!("{name} cannot be read: {error}")))?;
    files.push(path.to_owned());
    Ok(bytes)
}
