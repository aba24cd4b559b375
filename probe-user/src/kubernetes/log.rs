//! What is said of the API server: each change once, however often it fails.

use kube::runtime::watcher;

/// What was said last; nothing at first.
#[derive(Debug, Default)]
pub(super) struct Told(Option<State>);

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

const CONSEQUENCE: &str =
    "until it does, pods that are not known yet go by their UID, and their services by their process";

/// Says that there is no way to an API server.
pub(super) fn without_server(error: &anyhow::Error) {
    tracing::warn!(
        "no way to the Kubernetes API server is known ({error:#}): pods go by their UID, and their services by their \
         process; give the pod a service account or the agent a kubeconfig, or run it with --kubernetes off"
    );
}

impl Told {
    /// The pods are known.
    pub(super) fn listed(&mut self, pods: usize, node: &str) {
        let again = if self.0.is_some() { " again" } else { "" };
        if self.becomes(State::Listed) {
            tracing::info!("the Kubernetes API server tells{again} of the pods on {node}: {pods} now");
        }
    }

    /// It failed; true if that is no passing trouble, so that nothing is to be expected of it for now.
    pub(super) fn failed(&mut self, error: &watcher::Error) -> bool {
        let Some(state) = state(error) else {
            tracing::debug!("the watch on pods begins anew: {error}");
            return false;
        };
        if self.becomes(state) {
            let why = match state {
                State::Forbidden => {
                    "does not let us read pods; allow the service account to list and watch pods of all namespaces"
                }
                State::Unauthorized => "does not accept our token, which is read again every minute",
                State::Listed | State::Unreachable => "cannot be asked, and is tried again",
            };
            tracing::warn!("the Kubernetes API server {why} ({error}): {CONSEQUENCE}");
        }
        state != State::Unreachable
    }

    /// Whether that is a change.
    fn becomes(&mut self, state: State) -> bool {
        self.0.replace(state) != Some(state)
    }
}

/// What an error says of the API server; none if it is part of every long watch.
fn state(error: &watcher::Error) -> Option<State> {
    use kube::Error::Api;
    let code = match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(Api(status))
        | watcher::Error::WatchStartFailed(Api(status))
        | watcher::Error::WatchFailed(Api(status)) => status.code,
        _ => 0,
    };
    match code {
        401 => Some(State::Unauthorized),
        403 => Some(State::Forbidden),
        // What happened since we last heard is forgotten: all is listed anew.
        410 => None,
        _ => Some(State::Unreachable),
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
        let mut told = Told::default();
        assert!(told.becomes(State::Unreachable));
        assert!(!told.becomes(State::Unreachable));
        assert!(told.becomes(State::Listed));
        assert!(!told.becomes(State::Listed));
    }

    #[test]
    fn only_what_does_not_pass_is_not_waited_for() {
        let mut told = Told::default();
        assert!(!told.failed(&error(410)), "begins anew");
        assert!(told.0.is_none(), "and nothing is said of it");
        assert!(!told.failed(&error(503)));
        assert!(told.failed(&error(401)));
        assert!(told.failed(&error(403)));
        assert!(!told.failed(&watcher::Error::NoResourceVersion));
    }
}
