//! The watch on the pods of this node.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use kube::{
    Api,
    runtime::watcher::{self, Event},
};

use super::{
    directory::Directory,
    locked,
    log::{self, Subject},
    pod::Pod,
    watch::{self, Keeper},
};

/// Keeps the directory up to date; returns only where there is no way to an API server.
pub(super) async fn follow(node: String, directory: Arc<Mutex<Directory>>) {
    match watch::client().await {
        Ok(client) => {
            let of_this_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
            let keeper = PodsOf { node: &node, directory: &directory };
            watch::follow(Api::all(client), of_this_node, Subject::Pods, &keeper).await;
        }
        Err(error) => {
            locked(&directory).conclude_without_server();
            log::without_server(&error);
        }
    }
}

struct PodsOf<'a> {
    node: &'a str,
    directory: &'a Mutex<Directory>,
}

impl Keeper<Pod> for PodsOf<'_> {
    fn take(&self, event: &Event<Pod>) {
        let mut directory = locked(self.directory);
        match event {
            Event::Init => directory.begin_list(),
            Event::InitApply(pod) | Event::Apply(pod) => directory.apply(pod),
            Event::Delete(pod) => directory.remove(pod, Instant::now()),
            Event::InitDone => directory.end_list(Instant::now()),
        }
    }

    fn conclude_without_server(&self) {
        locked(self.directory).conclude_without_server();
    }

    fn known(&self) -> String {
        format!("on {}: {} now", self.node, locked(self.directory).pods())
    }
}
