//! The programs of a Kubernetes node, for `cargo xtask cluster`: Kubernetes' own and helm compiled by Go from their
//! released modules, of which `xtask/cluster/go.sum` pins every one; the rest are Debian's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    apt,
    archive::Processor,
    cached,
    step::{Detail, Steps},
    system::SystemChanges,
    tools::{self, Tool, tool},
};
use crate::{exec, workspace};

/// The version that `xtask/cluster/go.mod` requires.
const VERSION: &str = "1.36.0";

/// Compiled one after the other: each takes two gigabytes at its worst. Minutes are those of two idle cores.
const PROGRAMS: [&str; 5] =
    ["kube-apiserver", "kubectl", "kubelet", "kube-controller-manager", "kube-scheduler"];

const HELM: (&str, &str) = ("helm.sh/helm/v3/cmd/helm", "v3.22.0");

/// What the module of Kubernetes demands.
const OLDEST_GO: (u32, u32) = (1, 26);

/// What of a node Debian has.
pub(super) const TOOLS: [Tool; 13] = [
    tool("etcd", "etcd-server", "the API server keeps its objects in it"),
    tool("containerd", "containerd", "runs the pods' containers"),
    tool("runc", "runc", "starts a container"),
    tool("buildah", "buildah", "builds images without a registry"),
    tool("openssl", "openssl", "the cluster's certificates"),
    tool("unshare", "util-linux", "the node's own mounts and network"),
    tool("ip", "iproute2", "the node's addresses"),
    tool("iptables", "iptables", "the plug-ins of the pods' network look for it"),
    tool("h2load", "nghttp2-client", "load of an exact number of requests"),
    tool("nginx", "nginx-light", "the server that goes into the tests' image"),
    tool("curl", "curl", "single requests"),
    tool("redis-server", "redis-server", "a server whose requests are not read"),
    tool("redis-benchmark", "redis-tools", "its load"),
];

/// It brings no program of the search path, but a directory of them.
const PLUGINS: (&str, &str) = ("containernetworking-plugins", "/usr/lib/cni/bridge");

/// Where the compiled programs are.
pub(crate) struct Kubernetes {
    /// The directory of Kubernetes' own.
    pub(crate) programs: PathBuf,
    /// helm.
    pub(crate) helm: PathBuf,
    /// What a pod's first container runs.
    pub(crate) busybox: PathBuf,
}

/// Notes which packages are missing.
pub(super) fn system_part(changes: &mut SystemChanges, steps: &Steps) -> Result<()> {
    tools::collect(&TOOLS, changes, steps)?;
    if !Path::new(PLUGINS.1).exists() {
        changes.want(apt::missing(&[PLUGINS.0]));
    }
    Ok(())
}

/// Fetches and compiles what is missing, telling only of that.
pub(crate) fn kubernetes() -> Result<Kubernetes> {
    prepare(&mut Steps::new(Detail::Changes))
}

/// helm alone, likewise.
pub(crate) fn helm() -> Result<PathBuf> {
    compiled_helm(&mut Steps::new(Detail::Changes))
}

/// The same as a part of a set-up.
pub(super) fn prepare(steps: &mut Steps) -> Result<Kubernetes> {
    Ok(Kubernetes {
        programs: programs(steps)?,
        helm: compiled_helm(steps)?,
        busybox: super::machine::busybox(Processor::Own, steps)?,
    })
}

fn programs(steps: &mut Steps) -> Result<PathBuf> {
    const WHY: &str = "a real node for the tests; about 8 minutes on two idle cores, once for this user";
    let directory = workspace::cache()?.join(format!("kubernetes-{VERSION}"));
    let last = Path::new(PROGRAMS[PROGRAMS.len() - 1]);
    if cached::existing(&directory, last).is_some() {
        steps.there(&format!("Kubernetes {VERSION}"), WHY);
        return Ok(directory);
    }
    steps.doing(&format!("compiling Kubernetes {VERSION} into {}", directory.display()), WHY);
    demand_go()?;
    // What an interrupted predecessor finished stays: the last is compiled last.
    let partial = cached::beside(&directory, "partial");
    fs::create_dir_all(&partial).with_context(|| format!("could not create {}", partial.display()))?;
    let objects = cached::beside(&directory, "objects");
    for (number, program) in (1..).zip(PROGRAMS) {
        if partial.join(program).is_file() {
            continue;
        }
        let unfinished = partial.join(format!("{program}.unfinished"));
        let mut go = go("build");
        // Four gigabytes that nobody needs afterwards.
        go.env("GOCACHE", &objects);
        // As Kubernetes' own builds tell their version.
        let told = format!("-X k8s.io/component-base/version.gitVersion=v{VERSION}");
        go.args(["-mod=readonly", &format!("-ldflags=-s -w {told}"), "-o"]).arg(&unfinished);
        go.arg(format!("k8s.io/kubernetes/cmd/{program}"));
        go.current_dir(workspace::root().join("xtask/cluster"));
        exec::run_long(&format!("compiling {program}, {number} of {}", PROGRAMS.len()), &mut go)?;
        fs::rename(&unfinished, partial.join(program))
            .with_context(|| format!("could not rename {}", unfinished.display()))?;
    }
    cached::adopt(&partial, &directory, last)?;
    // Only disk space: nothing depends on it.
    let _ = fs::remove_dir_all(&objects);
    Ok(directory)
}

fn compiled_helm(steps: &mut Steps) -> Result<PathBuf> {
    const WHY: &str = "it installs the chart; two minutes on two idle cores, once for this user";
    let (module, version) = HELM;
    let directory = workspace::cache()?.join(format!("helm-{version}"));
    let file = Path::new("helm");
    if let Some(there) = cached::existing(&directory, file) {
        steps.there(&there.display().to_string(), WHY);
        return Ok(there);
    }
    steps.doing(&format!("compiling helm {version} into {}", directory.display()), WHY);
    demand_go()?;
    let partial = cached::beside(&directory, "partial");
    let mut go = go("install");
    go.args(["-ldflags=-s -w", &format!("{module}@{version}")]).env("GOBIN", &partial).current_dir("/");
    exec::run_long("compiling helm", &mut go)?;
    cached::adopt(&partial, &directory, file)
}

/// Go, for programs that need no library of this machine.
fn go(subcommand: &str) -> Command {
    let mut go = Command::new("go");
    go.arg(subcommand).env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    go
}

fn demand_go() -> Result<()> {
    let (major, minor) = OLDEST_GO;
    let found = exec::output(Command::new("go").arg("version")).and_then(|text| version(&text));
    match found {
        Some(found) if found >= OLDEST_GO => Ok(()),
        Some((is_major, is_minor)) => bail!(
            "the go on PATH is {is_major}.{is_minor}, and Kubernetes {VERSION} wants {major}.{minor}: put a newer one \
             before it (https://go.dev/dl)"
        ),
        None => bail!(
            "there is no go on PATH, and Kubernetes {VERSION} is compiled by it: install {major}.{minor} or later \
             (https://go.dev/dl)"
        ),
    }
}

/// The version in `go version go1.26.8 linux/amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(' ').nth(2)?.strip_prefix("go")?.split(['.', 'r', 'b', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_go_is_understood() {
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version("go version go1.27rc1 linux/arm64"), Some((1, 27)));
        assert_eq!(version("go: unknown"), None);
    }

    #[test]
    fn the_module_requires_just_the_version_that_the_cache_is_named_after() {
        let module = fs::read_to_string(workspace::root().join("xtask/cluster/go.mod")).unwrap();
        let required = module.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
        assert_eq!(required.and_then(|rest| rest.split(' ').next()), Some(VERSION));
        for program in PROGRAMS {
            assert!(module.contains(&format!("k8s.io/kubernetes/cmd/{program}\n")), "{program}");
        }
    }
}
