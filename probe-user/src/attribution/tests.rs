//! On a made-up node: a tree of cgroups and a procfs in temporary directories.

use std::{fs, os::unix::fs::MetadataExt, os::unix::fs::symlink, path::Path};

use super::*;

mod in_cluster;

struct Node {
    cgroups: tempfile::TempDir,
    procfs: tempfile::TempDir,
    attribution: Attribution,
}

impl Node {
    fn new() -> Self {
        let cgroups = tempfile::tempdir().unwrap();
        let procfs = tempfile::tempdir().unwrap();
        let attribution = Attribution::with_procfs(cgroups.path().into(), Procfs::at(procfs.path()));
        Self { cgroups, procfs, attribution }
    }

    fn cgroup(&self, path: &str) -> u64 {
        let directory = self.cgroups.path().join(path);
        fs::create_dir_all(&directory).unwrap();
        fs::metadata(directory).unwrap().ino()
    }

    /// A process in a cgroup with threads; the first is the main one.
    fn process(&self, number: u32, cgroup: &str, threads: &[&str]) {
        let directory = self.procfs.path().join(number.to_string());
        for (thread, name) in (number..).zip(threads) {
            let task = directory.join("task").join(thread.to_string());
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("comm"), format!("{name}\n")).unwrap();
        }
        fs::write(directory.join("comm"), format!("{}\n", threads[0])).unwrap();
        fs::write(directory.join("cgroup"), format!("1:cpu:/\n0::{cgroup}\n")).unwrap();
    }

    /// Has a process listen, in the network namespace `namespace`.
    fn listen(&self, number: u32, namespace: &str, port: u16, inode: u64) {
        let directory = self.procfs.path().join(number.to_string());
        for below in ["fd", "net", "ns"] {
            fs::create_dir_all(directory.join(below)).unwrap();
        }
        symlink(Path::new(namespace), directory.join("ns/net")).unwrap();
        symlink(format!("socket:[{inode}]"), directory.join("fd/3")).unwrap();
        let line = format!("0: 00000000:{port:04X} 00000000:0000 0A 0:0 0:0 0 0 0 {inode} 1\n");
        fs::write(directory.join("net/tcp"), format!("header\n{line}")).unwrap();
    }

    fn name(&mut self, key: ServiceKey, process: u32) -> String {
        let entry = ServiceEntry { index: 1, process, ..ServiceEntry::default() };
        self.attribution.name(&key, &entry).expect("there was no look before").service.to_string()
    }
}

fn command(name: &str) -> [u8; 16] {
    let mut command = [0; 16];
    command[..name.len()].copy_from_slice(name.as_bytes());
    command
}

fn server(cgroup: u64, name: &str) -> ServiceKey {
    ServiceKey { cgroup, command: command(name), port: 80, ..ServiceKey::default() }
}

#[test]
fn a_unit_comes_before_the_process() {
    let mut node = Node::new();
    let cgroup = node.cgroup("system.slice/web.service");
    assert_eq!(node.name(server(cgroup, "nginx"), 0), "web");
}

#[test]
fn where_the_cgroup_tells_nothing_the_process_does() {
    let mut node = Node::new();
    let session = node.cgroup("user.slice/session-1.scope");
    assert_eq!(node.name(server(session, "nginx"), 10), "nginx");
}

#[test]
fn a_thread_has_the_name_of_its_process() {
    let mut node = Node::new();
    let cgroup = node.cgroup("session-1.scope");
    node.process(10, "/session-1.scope", &["java", "http-nio"]);
    let key = ServiceKey { process: 10, ..server(cgroup, "http-nio") };
    assert_eq!(node.name(key, 10), "java");
}

#[test]
fn a_number_that_is_anothers_by_now_is_not_trusted() {
    let mut node = Node::new();
    let cgroup = node.cgroup("session-1.scope");
    node.process(10, "/system.slice/cron.service", &["cron"]);
    let key = ServiceKey { process: 10, ..server(cgroup, "http-nio") };
    assert_eq!(node.name(key, 10), "http-nio");
}

#[test]
fn a_socket_older_than_the_probe_belongs_to_the_listener_in_its_cgroup() {
    let mut node = Node::new();
    let cgroup = node.cgroup("session-2.scope");
    node.process(10, "/session-1.scope", &["apache2"]);
    node.listen(10, "net:[1]", 80, 100);
    node.process(20, "/session-2.scope", &["nginx"]);
    node.listen(20, "net:[2]", 80, 200);
    assert_eq!(node.name(server(cgroup, ""), 0), "nginx");
}

#[test]
fn a_socket_that_systemd_opened_belongs_to_the_service() {
    let mut node = Node::new();
    let cgroup = node.cgroup("init.scope");
    node.process(1, "/init.scope", &["systemd"]);
    node.listen(1, "net:[1]", 80, 100);
    node.process(30, "/system.slice/cups.service", &["cupsd"]);
    node.listen(30, "net:[1]", 80, 100);
    // A container of a lower number has its own socket on a port of that number.
    node.process(20, "/session-2.scope", &["other"]);
    node.listen(20, "net:[2]", 80, 200);
    assert_eq!(node.name(server(cgroup, "systemd"), 1), "cups");
}

#[test]
fn whoever_systemd_starts_for_a_socket_is_waited_for() {
    let mut node = Node::new();
    let key = server(node.cgroup("init.scope"), "systemd");
    node.process(1, "/init.scope", &["systemd"]);
    node.listen(1, "net:[1]", 80, 100);
    let start = Instant::now();
    let entry = ServiceEntry { index: 1, process: 1, ..ServiceEntry::default() };
    assert_eq!(node.attribution.name_at(start, &key, entry), None);
    node.process(30, "/system.slice/cups.service", &["cupsd"]);
    node.listen(30, "net:[1]", 80, 100);
    let later = start + Duration::from_secs(1);
    assert_eq!(
        node.attribution.name_at(later, &key, entry).map(|found| found.service).as_deref(),
        Some("cups")
    );
}

#[test]
fn a_socket_that_systemd_keeps_is_its_own() {
    let mut node = Node::new();
    let key = server(node.cgroup("init.scope"), "systemd");
    node.process(1, "/init.scope", &["systemd"]);
    node.listen(1, "net:[1]", 22, 100);
    let start = Instant::now();
    let entry = ServiceEntry { index: 1, process: 1, ..ServiceEntry::default() };
    assert_eq!(node.attribution.name_at(start, &key, entry), None);
    let later = start + Duration::from_secs(11);
    assert_eq!(
        node.attribution.name_at(later, &key, entry).map(|found| found.service).as_deref(),
        Some("systemd")
    );
}

#[test]
fn a_container_that_only_version_1_knows_has_its_name() {
    let mut node = Node::new();
    let engine = node.cgroup("system.slice/containerd.service");
    for (number, digit) in [(10, "a"), (20, "b")] {
        node.process(number, "/system.slice/containerd.service", &["nginx"]);
        let container =
            format!("4:memory:/docker/{}\n0::/system.slice/containerd.service\n", digit.repeat(64));
        fs::write(node.procfs.path().join(number.to_string()).join("cgroup"), container).unwrap();
        let key = ServiceKey { process: number, ..server(engine, "nginx") };
        assert_eq!(node.name(key, number), digit.repeat(12));
    }
    assert_eq!(node.name(ServiceKey { process: 30, ..server(engine, "dockerd") }, 30), "containerd");
}

#[test]
fn of_those_who_share_a_socket_the_oldest_opened_it() {
    let mut node = Node::new();
    let cgroup = node.cgroup("session-1.scope");
    // The numbers of processes have begun anew: the worker has the lower one.
    for (number, name, began) in [(300, "unicorn", 1000), (20, "worker", 2000)] {
        node.process(number, "/session-1.scope", &[name]);
        node.listen(number, "net:[1]", 80, 100);
        let fields = format!("{number} (a) b) S {}{began} 0\n", "0 ".repeat(18));
        fs::write(node.procfs.path().join(number.to_string()).join("stat"), fields).unwrap();
    }
    assert_eq!(node.name(server(cgroup, ""), 0), "unicorn");
}

#[test]
fn a_caller_is_its_command_and_else_unknown() {
    let mut node = Node::new();
    let cgroup = node.cgroup("session-1.scope");
    let client = |name| ServiceKey { role: Role::Client as u8, ..server(cgroup, name) };
    assert_eq!(node.name(client("curl"), 10), "curl");
    assert_eq!(node.name(client(""), 0), "unknown");
}

#[test]
fn the_service_without_a_place_is_other() {
    let entry = ServiceEntry { index: OTHER, process: 0, ..ServiceEntry::default() };
    assert_eq!(
        Node::new().attribution.name(&ServiceKey::default(), &entry).map(|found| found.service).as_deref(),
        Some("other")
    );
}

#[test]
fn a_name_stays() {
    let mut node = Node::new();
    let cgroup = node.cgroup("system.slice/web.service");
    assert_eq!(node.name(server(cgroup, "nginx"), 10), "web");
    fs::remove_dir(node.cgroups.path().join("system.slice/web.service")).unwrap();
    let later = Instant::now() + Duration::from_mins(1);
    let entry = ServiceEntry { index: 1, process: 0, ..ServiceEntry::default() };
    let name = node.attribution.name_at(later, &server(cgroup, "nginx"), entry);
    assert_eq!(name.map(|found| found.service).as_deref(), Some("web"));
}

#[test]
fn one_that_comes_right_after_a_look_waits_for_the_next() {
    let mut node = Node::new();
    let start = Instant::now();
    let entry = ServiceEntry { index: 1, process: 0, ..ServiceEntry::default() };
    assert!(node.attribution.name_at(start, &server(u64::MAX, "gone"), entry).is_some());
    let web = server(node.cgroup("web.service"), "nginx");
    let soon = start + Duration::from_millis(100);
    assert_eq!(node.attribution.name_at(soon, &web, entry), None, "a guess would have to stay");
    let later = start + Duration::from_secs(1);
    assert_eq!(
        node.attribution.name_at(later, &web, entry).map(|found| found.service).as_deref(),
        Some("web")
    );
}
