//! Who may ask: users with passwords, and bearers of tokens.
//!
//! A password costs tens of milliseconds to check, on purpose. So what was found is kept, as a digest under a key that
//! only this process has: a scraper's password is checked once. And one is checked at a time: guessing costs one CPU, and
//! keeps nobody from a place whose password is known already.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use lru::LruCache;
use ring::{
    digest::SHA256_OUTPUT_LEN,
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use tokio::sync::Semaphore;

use super::{
    BadWebConfig,
    file::{Place, WebConfig},
    tls::read_file,
};

/// How many that were admitted are remembered, and how many that were not: neither takes the other's room.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// For how long a password waits for its turn to be checked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom the configuration admits.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// Hashes by bcrypt.
    users: BTreeMap<String, String>,
    tokens: Vec<String>,
}

/// What a client's credentials come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Refused,
    /// Too many passwords are to be checked.
    Crowded,
}

impl Credentials {
    pub(super) fn new(
        config: &WebConfig,
        place: &Place<'_>,
        files: &mut Vec<PathBuf>,
    ) -> Result<Self, BadWebConfig> {
        let mut users = BTreeMap::new();
        for (name, hash) in &config.basic_auth_users {
            if bcrypt::HashParts::from_str(&hash.value).is_err() {
                let problem = format!(
                    "`basic_auth_users`: what {name} has is no hash of bcrypt: `htpasswd -nB {name}` makes one"
                );
                return Err(place.error(hash, problem));
            }
            users.insert(name.clone(), hash.value.clone());
        }
        let Some(file) = &config.bearer_token_file else { return Ok(Self { users, tokens: Vec::new() }) };
        let name = format!("`bearer_token_file` {}", file.value.display());
        let text = String::from_utf8_lossy(&read_file(file, &name, place, files)?).into_owned();
        let tokens: Vec<_> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if tokens.is_empty() {
            return Err(place.error(file, format!("{name} has no token in it: write one a line")));
        }
        Ok(Self { users, tokens })
    }

    /// Whether everybody may ask.
    pub(super) fn are_none(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    /// What a client is told that comes without (RFC 9110, section 11.6.1).
    pub(super) fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let basic =
            (!self.users.is_empty()).then(|| HeaderValue::from_static("Basic realm=\"traffic-probe\""));
        let bearer =
            (!self.tokens.is_empty()).then(|| HeaderValue::from_static("Bearer realm=\"traffic-probe\""));
        basic.into_iter().chain(bearer)
    }
}

/// Checks credentials, and remembers.
#[derive(Debug)]
pub(super) struct Checker {
    key: hmac::Key,
    known: Mutex<Known>,
    turn: Arc<Semaphore>,
}

type Digest = [u8; SHA256_OUTPUT_LEN];

#[derive(Debug)]
struct Known {
    admitted: LruCache<Digest, ()>,
    refused: LruCache<Digest, ()>,
}

impl Checker {
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(HMAC_SHA256, &SystemRandom::new())?,
            known: Mutex::new(Known {
                admitted: LruCache::new(REMEMBERED),
                refused: LruCache::new(REMEMBERED),
            }),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Looks at the field `Authorization`.
    pub(super) async fn check(self: &Arc<Self>, credentials: &Credentials, field: &HeaderValue) -> Verdict {
        let Some((scheme, value)) = field.to_str().ok().and_then(|field| field.split_once(' ')) else {
            return Verdict::Refused;
        };
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.check_token(credentials, value);
        }
        if !scheme.eq_ignore_ascii_case("basic") || credentials.users.is_empty() {
            return Verdict::Refused;
        }
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((name, password)) => self.check_password(credentials, name, password).await,
            None => Verdict::Refused,
        }
    }

    fn check_token(&self, credentials: &Credentials, token: &str) -> Verdict {
        // Digests are compared, in constant time, and all of them.
        let admitted = credentials.tokens.iter().fold(false, |admitted, known| {
            let known = hmac::sign(&self.key, known.as_bytes());
            admitted | hmac::verify(&self.key, token.as_bytes(), known.as_ref()).is_ok()
        });
        if admitted { Verdict::Admitted } else { Verdict::Refused }
    }

    async fn check_password(
        self: &Arc<Self>,
        credentials: &Credentials,
        name: &str,
        password: &str,
    ) -> Verdict {
        let user = credentials.users.get(name);
        // A name that nobody has takes as long as another: its password is held to somebody's hash, and refused.
        let Some(hash) = user.or_else(|| credentials.users.values().next()) else { return Verdict::Refused };
        let digest = self.digest(&[name, hash, password]);
        if let Some(verdict) = self.remembered(&digest) {
            return verdict;
        }
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turn).acquire_owned());
        let Ok(Ok(turn)) = turn.await else { return Verdict::Crowded };
        // Another of the same may have been before it.
        if let Some(verdict) = self.remembered(&digest) {
            return verdict;
        }
        let (hash, password, exists) = (hash.clone(), password.to_owned(), user.is_some());
        let checker = Arc::clone(self);
        // It goes on, and is remembered, when the client does not wait for it: it will ask again.
        let verdict = tokio::task::spawn_blocking(move || {
            let fits = bcrypt::verify(password, &hash).is_ok_and(|fits| fits);
            let verdict = if fits && exists { Verdict::Admitted } else { Verdict::Refused };
            checker.remember(digest, verdict);
            drop(turn);
            verdict
        });
        verdict.await.unwrap_or(Verdict::Refused)
    }

    fn remember(&self, digest: Digest, verdict: Verdict) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = if verdict == Verdict::Admitted { &mut known.admitted } else { &mut known.refused };
        of.put(digest, ());
    }

    fn remembered(&self, digest: &Digest) -> Option<Verdict> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = known.admitted.get(digest).map(|()| Verdict::Admitted);
        admitted.or_else(|| known.refused.get(digest).map(|()| Verdict::Refused))
    }

    /// With the lengths, so that no two lists of parts are alike.
    fn digest(&self, parts: &[&str]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn field(name: &str, password: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).parse().unwrap()
    }

    fn credentials() -> Credentials {
        let users = [("alice", "wonder:land"), ("bob", "builder")]
            .map(|(name, password)| (name.to_owned(), bcrypt::hash(password, 10).unwrap()));
        Credentials { users: users.into(), tokens: vec!["s3cret".into(), "next".into()] }
    }

    fn check(checker: &Arc<Checker>, credentials: &Credentials, field: &HeaderValue) -> (Verdict, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let began = Instant::now();
        (runtime.block_on(checker.check(credentials, field)), began.elapsed())
    }

    #[test]
    fn only_who_knows_is_admitted() {
        let (checker, credentials) = (Arc::new(Checker::new().unwrap()), credentials());
        let verdict = |field: &HeaderValue| check(&checker, &credentials, field).0;
        assert_eq!(verdict(&field("alice", "wonder:land")), Verdict::Admitted);
        assert_eq!(verdict(&field("bob", "builder")), Verdict::Admitted);
        for (name, password) in [("alice", "builder"), ("bob", ""), ("carol", "wonder:land"), ("", "")] {
            assert_eq!(verdict(&field(name, password)), Verdict::Refused, "{name}");
        }
        for (typed, expected) in [
            ("Bearer s3cret", Verdict::Admitted),
            ("bearer next", Verdict::Admitted),
            ("Bearer s3cre", Verdict::Refused),
            ("Bearer ", Verdict::Refused),
            ("Basic !!!", Verdict::Refused),
            ("Basic", Verdict::Refused),
            ("Digest s3cret", Verdict::Refused),
        ] {
            assert_eq!(verdict(&HeaderValue::from_static(typed)), expected, "{typed}");
        }
    }

    #[test]
    fn a_password_is_checked_once_and_a_name_that_nobody_has_takes_as_long() {
        let (checker, credentials) = (Arc::new(Checker::new().unwrap()), credentials());
        let time = |name: &str, password: &str| check(&checker, &credentials, &field(name, password)).1;
        let (first, again) = (time("alice", "wonder:land"), time("alice", "wonder:land"));
        assert!(again * 10 < first, "{first:?}, then {again:?}");
        // The least of several, taken in turns: other programs only add to it. On a busy machine it takes many to have one of each
        // that was not interrupted.
        let [mut known, mut unknown] = [Duration::MAX; 2];
        for guess in 0..40 {
            known = known.min(time("bob", &format!("guess {guess}")));
            unknown = unknown.min(time("nobody", &format!("guess {guess}")));
            let ratio = known.as_secs_f64() / unknown.as_secs_f64();
            if guess >= 4 && (0.5..2.0).contains(&ratio) {
                return;
            }
        }
        panic!("{known:?} for a user, {unknown:?} for nobody");
    }

    #[test]
    fn a_new_hash_is_a_new_question() {
        let (checker, before) = (Arc::new(Checker::new().unwrap()), credentials());
        let alice = field("alice", "wonder:land");
        assert_eq!(check(&checker, &before, &alice).0, Verdict::Admitted);
        let users = [("alice".to_owned(), bcrypt::hash("another", 4).unwrap())];
        let after = Credentials { users: users.into(), tokens: Vec::new() };
        assert_eq!(check(&checker, &after, &alice).0, Verdict::Refused);
    }
}
