//! The pods of this node, by UID and by the ids of their containers.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::pod::{Pod, PodNames};

/// A pod that is gone keeps its names for this long: what it did may be seen at the next pass only.
const KEPT: Duration = Duration::from_mins(1);

/// How long a name is waited for that the API server should tell any moment.
const LAG: Duration = Duration::from_secs(10);

/// How long the first list is waited for, from the start on: later, names are given without.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// Of a pod whose containers start over and over, as many ids are kept.
const CONTAINERS: usize = 32;

/// What the API server told.
#[derive(Debug)]
pub(super) struct Directory {
    state: State,
    pods: HashMap<String, Entry>,
    containers: HashMap<String, Container>,
    /// Counts the lists: what the latest did not have is gone.
    list: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waiting for the first list.
    Listing { since: Instant },
    /// What is not here is not on this node, or came a moment ago.
    Listed,
    /// There is no API server, or it does not let us ask.
    WithoutServer,
}

#[derive(Debug)]
struct Entry {
    names: Arc<PodNames>,
    containers: VecDeque<String>,
    list: u64,
    gone: Option<Instant>,
}

#[derive(Debug)]
struct Container {
    pod: Arc<PodNames>,
    name: String,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A pod, and the name of the container: its id where the name is not known, empty if none was asked for.
    Container { pod: Arc<PodNames>, container: String },
    /// Nothing yet, but the API server may be about to tell.
    NotYet,
    /// Nothing, and nothing is to be expected.
    Nothing,
}

impl Directory {
    pub(super) fn new(now: Instant) -> Self {
        let state = State::Listing { since: now };
        Self { state, pods: HashMap::new(), containers: HashMap::new(), list: 0 }
    }

    /// Whether the pods were ever listed.
    pub(super) fn is_listed(&self) -> bool {
        self.state == State::Listed
    }

    /// How many pods there are now.
    pub(super) fn pods(&self) -> usize {
        self.pods.values().filter(|entry| entry.gone.is_none()).count()
    }

    /// Nothing is to be expected of the API server; what it told before stays true.
    pub(super) fn conclude_without_server(&mut self) {
        if !self.is_listed() {
            self.state = State::WithoutServer;
        }
    }

    /// A list of all pods begins; each follows by [`Self::apply`].
    pub(super) fn begin_list(&mut self) {
        self.list += 1;
    }

    /// That was all of them.
    pub(super) fn end_list(&mut self, now: Instant) {
        self.state = State::Listed;
        for entry in self.pods.values_mut().filter(|entry| entry.list != self.list) {
            entry.gone.get_or_insert(now);
        }
        self.forget(now);
    }

    /// A pod has come or changed.
    pub(super) fn apply(&mut self, pod: &Pod) {
        let names = Arc::new(pod.names());
        for uid in pod.uids() {
            let entry = self.pods.entry(uid.to_owned()).or_insert_with(|| Entry {
                names: Arc::clone(&names),
                containers: VecDeque::new(),
                list: 0,
                gone: None,
            });
            entry.names = Arc::clone(&names);
            entry.list = self.list;
            entry.gone = None;
            for (id, name) in pod.containers() {
                let container = Container { pod: Arc::clone(&names), name: name.to_owned() };
                if self.containers.insert(id.to_owned(), container).is_some()
                    && entry.containers.iter().any(|known| known == id)
                {
                    continue;
                }
                entry.containers.push_back(id.to_owned());
                if entry.containers.len() > CONTAINERS
                    && let Some(oldest) = entry.containers.pop_front()
                {
                    self.containers.remove(&oldest);
                }
            }
        }
    }

    /// A pod is gone.
    pub(super) fn remove(&mut self, pod: &Pod, now: Instant) {
        // Its last state may tell of a container that was never seen at work.
        self.apply(pod);
        for uid in pod.uids() {
            if let Some(entry) = self.pods.get_mut(uid) {
                entry.gone = Some(now);
            }
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |gone: Instant| now.saturating_duration_since(gone) >= KEPT;
        let containers = &mut self.containers;
        self.pods.retain(|_, entry| {
            let forgotten = entry.gone.is_some_and(is_old);
            if forgotten {
                for id in &entry.containers {
                    containers.remove(id);
                }
            }
            !forgotten
        });
    }

    /// The pod of a UID, and its container of an id; asked for since `since`.
    pub(super) fn find(&self, uid: &str, container: Option<&str>, since: Instant, now: Instant) -> Found {
        if let Some(Container { pod, name }) = container.and_then(|id| self.containers.get(id)) {
            return Found::Container { pod: Arc::clone(pod), container: name.clone() };
        }
        let waited = now.saturating_duration_since(since);
        let Some(entry) = self.pods.get(uid) else {
            let expected = match self.state {
                State::Listing { since } => now.saturating_duration_since(since) < FIRST_LIST,
                State::Listed => waited < LAG,
                State::WithoutServer => false,
            };
            return if expected { Found::NotYet } else { Found::Nothing };
        };
        let name = match (container, &entry.names.only_container) {
            (None, _) => String::new(),
            (Some(_), Some(only)) => only.clone(),
            // The kubelet tells the id a moment after the container began.
            (Some(_), None) if waited < LAG && entry.gone.is_none() => return Found::NotYet,
            (Some(id), None) => id.get(..12).unwrap_or(id).to_owned(),
        };
        Found::Container { pod: Arc::clone(&entry.names), container: name }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, containers: &[(&str, Option<&str>)]) -> Pod {
        let spec: Vec<_> = containers.iter().map(|(name, _)| json!({"name": name})).collect();
        let running = containers.iter().filter_map(|(name, id)| {
            Some(json!({"name": name, "containerID": format!("containerd://{}", (*id)?)}))
        });
        serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{uid}"), "namespace": "shop", "uid": uid},
            "spec": {"containers": spec},
            "status": {"containerStatuses": running.collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    /// What is found, as `pod/container`.
    fn found(directory: &Directory, uid: &str, id: &str, since: Instant, now: Instant) -> String {
        match directory.find(uid, Some(id), since, now) {
            Found::Container { pod, container } => format!("{}/{container}", pod.name),
            Found::NotYet => "not yet".into(),
            Found::Nothing => "nothing".into(),
        }
    }

    fn listed(pods: &[Pod], now: Instant) -> Directory {
        let mut directory = Directory::new(now);
        list(&mut directory, pods, now);
        directory
    }

    fn list(directory: &mut Directory, pods: &[Pod], now: Instant) {
        directory.begin_list();
        for pod in pods {
            directory.apply(pod);
        }
        directory.end_list(now);
    }

    #[test]
    fn a_container_is_known_by_its_id() {
        let now = Instant::now();
        let directory = listed(&[pod("u1", &[("web", Some("aa")), ("proxy", Some("bb"))])], now);
        assert_eq!(found(&directory, "u1", "bb", now, now), "pod-u1/proxy");
        assert_eq!(found(&directory, "another", "bb", now, now), "pod-u1/proxy", "ids are unique");
    }

    #[test]
    fn of_several_containers_a_new_one_is_waited_for() {
        let now = Instant::now();
        let mut directory = listed(&[pod("u1", &[("web", None), ("proxy", None)])], now);
        assert_eq!(found(&directory, "u1", "0123456789abcdef", now, now), "not yet");
        assert_eq!(found(&directory, "u1", "0123456789abcdef", now, now + LAG), "pod-u1/0123456789ab");
        directory.apply(&pod("u1", &[("web", Some("0123456789abcdef")), ("proxy", None)]));
        assert_eq!(found(&directory, "u1", "0123456789abcdef", now, now), "pod-u1/web");
    }

    #[test]
    fn the_only_container_needs_no_id() {
        let now = Instant::now();
        let directory = listed(&[pod("u1", &[("web", None)])], now);
        assert_eq!(found(&directory, "u1", "aa", now, now), "pod-u1/web");
        let Found::Container { container, .. } = directory.find("u1", None, now, now) else {
            panic!("the pod is known");
        };
        assert_eq!(container, "", "the cgroup is the pod's own");
    }

    #[test]
    fn the_first_list_is_waited_for_and_not_for_ever() {
        let now = Instant::now();
        let mut directory = Directory::new(now);
        assert_eq!(found(&directory, "u1", "aa", now, now + FIRST_LIST.mul_f32(0.9)), "not yet");
        assert_eq!(found(&directory, "u1", "aa", now, now + FIRST_LIST), "nothing");
        directory.conclude_without_server();
        assert_eq!(found(&directory, "u1", "aa", now, now), "nothing", "it will not come");
        list(&mut directory, &[pod("u1", &[("web", Some("aa"))])], now);
        assert_eq!(found(&directory, "u1", "aa", now, now), "pod-u1/web", "it came after all");
        directory.conclude_without_server();
        assert_eq!(found(&directory, "u1", "aa", now, now), "pod-u1/web", "what was told stays true");
        assert_eq!(found(&directory, "new", "bb", now, now), "not yet");
        assert_eq!(found(&directory, "new", "bb", now, now + LAG), "nothing");
    }

    #[test]
    fn a_pod_that_is_gone_is_known_a_while_longer() {
        let now = Instant::now();
        let mut directory = listed(&[pod("u1", &[("web", Some("aa"))])], now);
        directory.remove(&pod("u1", &[("web", Some("bb"))]), now);
        assert_eq!(directory.pods(), 0);
        assert_eq!(found(&directory, "u1", "aa", now, now), "pod-u1/web");
        assert_eq!(found(&directory, "x", "bb", now, now), "pod-u1/web", "seen in its last state only");
        directory.remove(&pod("u2", &[("job", None)]), now + KEPT);
        assert_eq!(found(&directory, "u1", "aa", now, now + KEPT + LAG), "nothing");
        assert_eq!((directory.pods.len(), directory.containers.len()), (1, 0), "nothing is leaked");
    }

    #[test]
    fn what_a_list_does_not_have_is_gone() {
        let now = Instant::now();
        let mut directory =
            listed(&[pod("u1", &[("web", Some("aa"))]), pod("u2", &[("db", Some("bb"))])], now);
        list(&mut directory, &[pod("u2", &[("db", Some("bb"))])], now);
        assert_eq!(directory.pods(), 1);
        assert_eq!(found(&directory, "u1", "aa", now, now), "pod-u1/web", "for a while");
        list(&mut directory, &[pod("u2", &[("db", Some("bb"))])], now + KEPT);
        assert_eq!((directory.pods.len(), directory.containers.len()), (1, 1));
    }

    #[test]
    fn a_crash_loop_takes_no_more_than_its_room() {
        let now = Instant::now();
        let mut directory = listed(&[], now);
        for number in 0..100 {
            let id = format!("{number:064}");
            directory.apply(&pod("u1", &[("web", Some(&id)), ("proxy", Some("bb"))]));
            assert_eq!(found(&directory, "u1", &id, now, now), "pod-u1/web");
        }
        assert!(directory.containers.len() <= CONTAINERS, "{}", directory.containers.len());
    }
}
