//! What is said of the API server: each change once, however often it fails.

use kube::runtime::watcher;

/// What was said last; nothing at first.
#[derive(Debug)]
pub(super) struct Told {
    subject: Subject,
    last: Option<State>,
}

/// What is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The pods of this node.
    Pods,
    /// The `EndpointSlices` of the cluster.
    Slices,
    /// Its Services.
    Services,
}

impl Subject {
    /// As in an address of the API server.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Slices => "endpointslices",
            Self::Services => "services",
        }
    }

    const fn consequence(self) -> &'static str {
        match self {
            Self::Pods => {
                "until it does, pods that are not known yet go by their UID, and their services by their process"
            }
            Self::Slices | Self::Services => {
                "until it does, peers that are not known yet go by their address"
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The pods are known.
    Listed,
    /// It does not let us ask.
    Forbidden,
    /// It does not know us.
    Unauthorized,
    /// All else: most often it is not there.
    Unreachable,
}

/// Says that there is no way to an API server.
pub(super) fn without_server(error: &anyhow::Error) {
    tracing::warn!(
        "no credentials for the Kubernetes API server ({error:#}): pods are named by UID, and their services by \
         process; give the pod a service account or the agent a kubeconfig, or run it with --kubernetes off"
    );
}

impl Told {
    /// Nothing of this yet.
    pub(super) const fn of(subject: Subject) -> Self {
        Self { subject, last: None }
    }

    /// They are known: which, and how many.
    pub(super) fn listed(&mut self, which: impl FnOnce() -> String) {
        let again = if self.last.is_some() { " again" } else { "" };
        if self.becomes(State::Listed) {
            let (subject, which) = (self.subject.label(), which());
            tracing::info!("receiving the {subject} {which} from the Kubernetes API server{again}");
        }
    }

    /// It failed; true if that is no passing trouble, so that nothing is to be expected of it for now.
    pub(super) fn failed(&mut self, error: &watcher::Error) -> bool {
        let state = match code(error) {
            401 => State::Unauthorized,
            403 => State::Forbidden,
            _ => State::Unreachable,
        };
        if self.becomes(state) {
            let (what, consequence) = (self.subject.label(), self.subject.consequence());
            let why = match state {
                State::Forbidden => format!(
                    "denies access to {what}; allow the service account to list and watch {what} of all namespaces"
                ),
                State::Unauthorized => {
                    "does not accept our token; retrying with the token file's contents every minute"
                        .to_owned()
                }
                State::Listed | State::Unreachable => "cannot be reached and is retried".to_owned(),
            };
            tracing::warn!("the Kubernetes API server {why} ({error}): {consequence}");
        }
        state != State::Unreachable
    }

    /// Whether that is a change.
    fn becomes(&mut self, state: State) -> bool {
        self.last.replace(state) != Some(state)
    }
}

/// Whether what happened since we last heard is forgotten, so that all is listed anew: part of every long watch.
pub(super) fn is_forgotten(error: &watcher::Error) -> bool {
    code(error) == 410
}

/// The status that the API server answered with, or zero.
fn code(error: &watcher::Error) -> u16 {
    use kube::Error::Api;
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(Api(status))
        | watcher::Error::WatchStartFailed(Api(status))
        | watcher::Error::WatchFailed(Api(status)) => status.code,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn error(code: u16) -> watcher::Error {
        watcher::Error::WatchError(Box::new(Status { code, ..Status::failure("told so", "Test") }))
    }

    #[test]
    fn each_change_is_said_once() {
        let mut told = Told::of(Subject::Pods);
        assert!(told.becomes(State::Unreachable));
        assert!(!told.becomes(State::Unreachable));
        assert!(told.becomes(State::Listed));
        assert!(!told.becomes(State::Listed));
    }

    #[test]
    fn only_what_does_not_pass_is_not_waited_for() {
        let mut told = Told::of(Subject::Pods);
        assert!(is_forgotten(&error(410)) && !is_forgotten(&error(503)));
        assert!(!told.failed(&error(503)));
        assert!(told.failed(&error(401)));
        assert!(told.failed(&error(403)));
        assert!(!told.failed(&watcher::Error::NoResourceVersion));
    }
}
