//! The file as it is written: YAML, with the fields of exporter-toolkit's web configuration, and `bearer_token_file`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_saphyr::Spanned;
use tokio_rustls::rustls::{CipherSuite, NamedGroup};

use super::BadWebConfig;
use crate::{config::with_nearest, regular_file};

/// All of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebConfig {
    pub(super) tls_server_config: Option<Spanned<TlsConfig>>,
    pub(super) http_server_config: HttpConfig,
    /// Hashes of passwords by name.
    pub(super) basic_auth_users: BTreeMap<String, Spanned<String>>,
    /// A file with a token a line.
    pub(super) bearer_token_file: Option<Spanned<PathBuf>>,
    #[serde(deserialize_with = "no_rate_limit")]
    rate_limit: (),
}

/// The certificate, and what is asked of clients.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsConfig {
    pub(super) cert: Option<Spanned<String>>,
    pub(super) cert_file: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) client_auth_type: ClientAuth,
    pub(super) client_ca: Option<Spanned<String>>,
    pub(super) client_ca_file: Option<Spanned<PathBuf>>,
    pub(super) client_allowed_sans: Option<Spanned<Vec<String>>>,
    #[serde(default = "Version::oldest", deserialize_with = "min_version")]
    pub(super) min_version: Version,
    #[serde(default = "Version::newest", deserialize_with = "max_version")]
    pub(super) max_version: Version,
    #[serde(default, deserialize_with = "cipher_suites")]
    pub(super) cipher_suites: Vec<CipherSuite>,
    #[serde(default = "yes")]
    pub(super) prefer_server_cipher_suites: bool,
    #[serde(default, deserialize_with = "curves")]
    pub(super) curve_preferences: Vec<NamedGroup>,
}

/// What is asked of clients' certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientAuth {
    #[default]
    None,
    VerifyIfGiven,
    RequireAndVerify,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// About answers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpConfig {
    /// Accepted, and without effect: the listener speaks HTTP/1.1, which every client of HTTP/2 speaks, too.
    http2: bool,
    headers: BTreeMap<String, Spanned<String>>,
}

/// Where a configuration is: for errors, and for the paths in it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    path: &'a Path,
}

impl<'a> Place<'a> {
    pub(super) const fn of(path: &'a Path) -> Self {
        Self { path }
    }

    /// A path in the file, which is relative to the file's directory.
    pub(super) fn join(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }

    /// What is wrong with a value.
    pub(super) fn error<T>(&self, value: &Spanned<T>, problem: impl Into<String>) -> BadWebConfig {
        BadWebConfig::At {
            path: self.path.to_owned(),
            line: value.referenced.line(),
            problem: problem.into(),
        }
    }
}

impl WebConfig {
    pub(super) fn read(path: &Path) -> Result<Self, BadWebConfig> {
        let text = regular_file::read_to_string(path)
            .map_err(|error| BadWebConfig::Unreadable { path: path.to_owned(), error })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, BadWebConfig> {
        let parsed: Result<Option<Self>, _> = serde_saphyr::from_str(text);
        parsed.map(Option::unwrap_or_default).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let said = error.without_snippet().to_string();
            // The parser's own words for the place are at the end of the first line.
            let said = said.lines().next().unwrap_or_default();
            let said = said.rsplit_once(" at line ").map_or(said, |(problem, _)| problem);
            let problem = with_field(text, line, &with_nearest(&quoted(said)));
            BadWebConfig::At { path: path.to_owned(), line, problem }
        })
    }
}

/// The parser's message on something unknown, with the names that it expected in quotes.
fn quoted(said: &str) -> String {
    let Some((problem, names)) = said.split_once("expected one of ") else { return said.to_owned() };
    let names: Vec<_> = names.split(", ").map(|name| format!("`{}`", name.trim_matches('`'))).collect();
    format!("{problem}expected one of {}", names.join(", "))
}

/// The problem with the field in whose line it is, unless it is named. What is behind the colon may be a secret.
fn with_field(text: &str, line: u64, problem: &str) -> String {
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let field = text.lines().nth(line).and_then(|line| line.split_once(':')).map(|(field, _)| field);
    match field.map(|field| field.trim().trim_start_matches("- ")) {
        Some(field) if !field.is_empty() && !problem.contains(field) => format!("`{field}`: {problem}"),
        _ => problem.to_owned(),
    }
}

impl HttpConfig {
    /// The fields of answers, of those that exporters may be told to set.
    pub(super) fn headers(&self, place: &Place<'_>) -> Result<HeaderMap, BadWebConfig> {
        const SETTABLE: [(&str, &[&str]); 5] = [
            ("Content-Security-Policy", &[]),
            ("Strict-Transport-Security", &[]),
            ("X-Content-Type-Options", &["nosniff"]),
            ("X-Frame-Options", &["deny", "sameorigin"]),
            ("X-XSS-Protection", &[]),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let Some((_, values)) = SETTABLE.iter().find(|(settable, _)| settable.eq_ignore_ascii_case(name))
            else {
                let names = SETTABLE.map(|(name, _)| name).join(", ");
                return Err(place.error(value, format!("header `{name}` cannot be set here: {names} can")));
            };
            if value.value.is_empty() {
                continue;
            }
            if !values.is_empty() && !values.contains(&value.value.as_str()) {
                let problem =
                    format!("header `{name}` is `{}`, and may be {}", value.value, values.join(" or "));
                return Err(place.error(value, problem));
            }
            let (Ok(name), Ok(field)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value.value))
            else {
                return Err(place.error(value, format!("header `{name}` has a value that no field can have")));
            };
            headers.insert(name, field);
        }
        Ok(headers)
    }
}

impl Version {
    const fn oldest() -> Self {
        Self::Tls12
    }

    const fn newest() -> Self {
        Self::Tls13
    }
}

const fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for ClientAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "NoClientCert" | "" => Ok(Self::None),
            "VerifyClientCertIfGiven" => Ok(Self::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Ok(Self::RequireAndVerify),
            given @ ("RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert") => {
                Err(D::Error::custom(format!(
                    "`client_auth_type` {given} would take a certificate that nobody verified, which proves nothing: choose RequireAndVerifyClientCert"
                )))
            }
            given => Err(D::Error::custom(format!(
                "`client_auth_type` is `{given}`, and may be NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            ))),
        }
    }
}

fn min_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    version("min_version", deserializer)
}

fn max_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    version("max_version", deserializer)
}

fn version<'de, D: Deserializer<'de>>(field: &str, deserializer: D) -> Result<Version, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "TLS12" => Ok(Version::Tls12),
        "TLS13" => Ok(Version::Tls13),
        old @ ("TLS10" | "TLS11") => Err(D::Error::custom(format!(
            "`{field}` {old} is older than what is spoken here: TLS12 and TLS13"
        ))),
        given => Err(D::Error::custom(format!("`{field}` is `{given}`, and may be TLS12 or TLS13"))),
    }
}

/// By the names that Go and the registry have.
fn cipher_suites<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CipherSuite>, D::Error> {
    let named = |name: &String| {
        let suite = super::tls::SUITES.into_iter().find(|suite| format!("{suite:?}") == *name);
        suite.ok_or_else(|| {
            let names = super::tls::SUITES.map(|suite| format!("{suite:?}")).join(", ");
            D::Error::custom(format!(
                "`cipher_suites`: `{name}` is not among those that are spoken here: {names}"
            ))
        })
    };
    Vec::<String>::deserialize(deserializer)?.iter().map(named).collect()
}

fn curves<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NamedGroup>, D::Error> {
    let named = |name: &String| match name.as_str() {
        "X25519" => Ok(NamedGroup::X25519),
        "CurveP256" => Ok(NamedGroup::secp256r1),
        "CurveP384" => Ok(NamedGroup::secp384r1),
        _ => Err(D::Error::custom(format!(
            "`curve_preferences`: `{name}` is not among those that are spoken here: X25519, CurveP256, CurveP384"
        ))),
    };
    Vec::<String>::deserialize(deserializer)?.iter().map(named).collect()
}

fn no_rate_limit<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom(
        "`rate_limit` is not for this listener, which has limits of its own: see --max-requests",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(Path::new("web.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_exporters_are_given_is_understood() {
        let config = parse(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n  min_version: TLS13\n  cipher_suites:\n    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  curve_preferences: [CurveP256]\nhttp_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\nbasic_auth_users:\n  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n",
        )
        .unwrap();
        let tls = config.tls_server_config.unwrap().value;
        assert_eq!(tls.client_auth_type, ClientAuth::RequireAndVerify);
        assert_eq!((tls.min_version, tls.max_version), (Version::Tls13, Version::Tls13));
        assert_eq!(tls.cipher_suites, [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]);
        assert!(tls.prefer_server_cipher_suites);
        let headers = config.http_server_config.headers(&Place::of(Path::new("web.yml"))).unwrap();
        assert_eq!(headers["x-frame-options"], "deny");
        assert!(config.basic_auth_users["alice"].value.starts_with("$2y$10$"));
        assert!(parse("# nothing yet\n").unwrap().tls_server_config.is_none());
    }

    #[test]
    fn what_is_wrong_is_a_sentence_with_line_and_field() {
        let wrong = |text: &str, words: &[&str]| {
            let said = parse(text).map(|_| ()).unwrap_err();
            for word in words {
                assert!(said.contains(word), "`{word}` is missing in: {said}");
            }
            assert!(!said.contains('\n'), "{said}");
        };
        wrong(
            "basic_auth_user: {}\n",
            &["web.yml, line 1: ", "unknown field", "did you mean `basic_auth_users`?"],
        );
        let tls = |field: &str| format!("tls_server_config:\n  cert_file: a\n  {field}\n");
        wrong(&tls("min_version: TLS10"), &["line 3: ", "`min_version` TLS10 is older"]);
        wrong(&tls("max_version: 7"), &["line 3: ", "max_version"]);
        wrong(&tls("client_auth_type: RequireAnyClientCert"), &["line 3: ", "proves nothing"]);
        wrong(&tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"), &["line 3: ", "TLS_RSA_WITH_RC4_128_SHA"]);
        wrong(&tls("curve_preferences: [CurveP521]"), &["line 3: ", "CurveP521"]);
        wrong("rate_limit:\n  burst: 1\n", &["--max-requests"]);
        wrong("basic_auth_users: [alice]\n", &["line 1: ", "basic_auth_users"]);
        wrong("http_server_config:\n  http2: perhaps\n", &["line 2: ", "http2"]);
        wrong("tls_server_config: [\n", &["web.yml, line "]);
        let headers = |text: &str| {
            let config = parse(text).unwrap();
            config.http_server_config.headers(&Place::of(Path::new("web.yml"))).unwrap_err().to_string()
        };
        let said = headers("http_server_config:\n  headers:\n    X-Powered-By: a\n");
        assert!(said.starts_with("web.yml, line 3: header `X-Powered-By` cannot be set"), "{said}");
        assert!(
            headers("http_server_config:\n  headers:\n    X-Frame-Options: x\n")
                .contains("deny or sameorigin")
        );
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let place = Place::of(Path::new("/etc/probe/web.yml"));
        assert_eq!(place.join(Path::new("tls/a.pem")), Path::new("/etc/probe/tls/a.pem"));
        assert_eq!(place.join(Path::new("/a.pem")), Path::new("/a.pem"));
    }
}
