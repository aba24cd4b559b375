//! Pods without a kubelet: cgroups in the shape that each runtime and driver gives them, each with a process of its own in a
//! network namespace of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{cgroup, poll, process::complain};

/// The paths that kubelets and runtimes make: UID with dashes or underscores, ID of the container, NODE that of a container
/// which is itself a node (kind).
const SHAPES: [&str; 10] = [
    // cgroupfs: containerd and Docker, CRI-O; each class of service.
    "kubepods/burstable/podUID/ID",
    "kubepods/besteffort/podUID/ID",
    "kubepods/podUID/ID",
    "kubepods/burstable/podUID/crio-ID",
    // systemd: containerd, Docker, CRI-O, and CRI-O with the container's own cgroup below.
    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/cri-containerd-ID.scope",
    "kubepods.slice/kubepods-podU_D.slice/docker-ID.scope",
    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_D.slice/crio-ID.scope",
    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-ID.scope/container",
    // A kubelet in a container.
    "docker/NODE/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID.scope",
    "system.slice/docker-NODE.scope/kubelet/kubepods/besteffort/podUID/ID",
];

/// The middle of our pods' UIDs; no random one has it.
const MARK: &str = "-0000-4000-8000-";

/// How much a pod sends to itself.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Requests, one after the other.
    pub requests: u32,
    /// Milliseconds after each.
    pub pause: u64,
}

/// A running pod; killed, and its cgroups removed, when dropped.
#[derive(Debug)]
pub struct Pod {
    child: Child,
    said: BufReader<ChildStdout>,
    /// The topmost directory that is its own.
    directory: PathBuf,
    /// Its UID, as the API would have it.
    pub uid: String,
    /// The first twelve characters of its container's id.
    pub container: String,
    /// What it was told to do.
    pub work: Work,
}

impl Pod {
    /// Starts the program `pod` in new cgroups below `top`, and waits until it could begin. The number makes its ids, and
    /// chooses its shape.
    pub fn start(program: &str, top: &Path, number: u32, work: Work) -> Result<Self> {
        let uid = format!("{number:08x}{MARK}{number:012x}");
        let (id, node) = (format!("{number:08x}{number:056x}"), "f".repeat(64));
        let shape = SHAPES[number as usize % SHAPES.len()];
        let path = shape.replace("UID", &uid).replace("U_D", &uid.replace('-', "_"));
        let leaf = top.join(path.replace("ID", &id).replace("NODE", &node));
        fs::create_dir_all(&leaf).with_context(|| format!("cannot make {}", leaf.display()))?;
        let mut above = leaf.ancestors();
        let is_pods = |directory: &&Path| {
            directory.file_name().is_some_and(|name| name.to_string_lossy().contains("pod0"))
        };
        let directory = above.find(is_pods).context("a shape without a pod")?.to_owned();
        let mut command = Command::new(program);
        command.arg(leaf.join("cgroup.procs"));
        command.args([work.requests.to_string(), work.pause.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let said = BufReader::new(child.stdout.take().context("its standard output")?);
        let container = id[..12].to_owned();
        let mut pod = Self { child, said, directory, uid, container, work };
        pod.says("ready")?;
        Ok(pod)
    }

    /// Whether a UID is one of ours.
    #[must_use]
    pub fn is_ours(uid: &str) -> bool {
        uid.contains(MARK)
    }

    /// Has it send its requests.
    pub fn begin(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its standard input")?;
        input.write_all(b"begin\n").with_context(|| format!("the pod {} is gone", self.uid))
    }

    /// Waits until all are answered.
    pub fn is_done(&mut self) -> Result<()> {
        self.says("done")
    }

    fn says(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        if self.said.buffer().is_empty() {
            poll::readable(self.said.get_ref(), &format!("the pod {} to say {word}", self.uid))?;
        }
        self.said.read_line(&mut line)?;
        ensure!(line.trim() == word, "the pod {} said {line:?}, not {word}", self.uid);
        Ok(())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        // A process that was waited for may be among the cgroup's for a moment longer.
        let removed = poll::until("a pod's cgroup to be empty", || Ok(cgroup::remove(&self.directory).ok()));
        if let Err(error) = ended.map_err(Into::into).and(removed) {
            complain(&format!("the pod at {} has not gone cleanly: {error:#}", self.directory.display()));
        }
    }
}
