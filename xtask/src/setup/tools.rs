//! The programs that tests and lints start. They are looked for as programs, not as packages: it does not matter who
//! installed them.

use std::process::Command;

use anyhow::{Result, bail};

use super::toolchain::{Plan, Toolchain};
use super::{apt, step::Steps, system::SystemChanges, toolchain};
use crate::exec;

/// A program, and the package that brings it.
pub(crate) struct Tool {
    program: &'static str,
    /// Debian's name for it, and Ubuntu's.
    pub(crate) package: &'static str,
    why: &'static str,
}

pub(super) const fn tool(program: &'static str, package: &'static str, why: &'static str) -> Tool {
    Tool { program, package, why }
}

/// What the tests start.
pub(crate) const TESTS: [Tool; 28] = [
    tool("nginx", "nginx-light", "the server that real requests go to"),
    tool("wrk", "wrk", "load, as much as the machine bears"),
    tool("h2load", "nghttp2-client", "load of an exact number of requests"),
    tool("nft", "nftables", "rules of a host's own firewall"),
    tool("iperf3", "iperf3", "bandwidth that is known exactly"),
    tool("dnsmasq", "dnsmasq-base", "a server over UDP"),
    tool("dnsperf", "dnsperf", "queries over UDP, an exact number of them"),
    tool("dig", "bind9-dnsutils", "single queries, by TCP too"),
    tool("tcpdump", "tcpdump", "captures that replay is held to"),
    tool("bpftool", "bpftool", "a second opinion on what is loaded"),
    tool("ip", "iproute2", "network namespaces"),
    tool("tc", "iproute2", "a second opinion on what is attached"),
    tool("ethtool", "ethtool", "interfaces that split and join packets, or do not"),
    tool("haproxy", "haproxy", "proxies that say for whom they speak"),
    tool("promtool", "prometheus", "Prometheus, and its judgement of metrics and rules"),
    tool("amtool", "prometheus-alertmanager", "alerts on their way to people"),
    tool("aiosmtpd", "python3-aiosmtpd", "the mail server that they come to"),
    tool("npm", "npm", "Grafana's types of a dashboard"),
    tool("docker-compose", "docker-compose", "judges the compose file; needs no daemon for it"),
    tool("curl", "curl", "single requests"),
    tool("gzip", "gzip", "reads what the agent has compressed"),
    tool("zstd", "zstd", "the same of the other kind"),
    tool("chromium", "chromium", "a browser as people have it"),
    tool("openssl", "openssl", "certificates"),
    tool("systemd-analyze", "systemd", "judges the unit"),
    tool("rpm", "rpm", "reads and installs the package"),
    tool("dpkg-deb", "dpkg", "reads the package"),
    tool("strace", "strace", "what system calls the agent makes"),
];

/// What the benchmark starts beside that.
pub(super) const BENCH: [Tool; 4] = [
    tool("redis-server", "redis-server", "a server that is dearest to observe"),
    tool("redis-benchmark", "redis-tools", "its load"),
    tool("mtail", "mtail", "makes metrics of logs: what a user may take instead of the probe"),
    tool("bpftrace", "bpftrace", "scripts at tracepoints: another such"),
];

/// What a static binary takes: what of its cryptography is C is compiled by it. The image is built by what is there.
pub(super) const IMAGE: [Tool; 1] = [tool("musl-gcc", "musl-tools", "it compiles C for static programs")];

/// What one for another processor takes.
pub(super) const FOREIGN_IMAGE: [Tool; 1] =
    [tool("clang", "clang", "it compiles C for processors of every kind")];

/// What the image's tests build and run it by.
pub(super) const CONTAINERS: [Tool; 3] = [
    tool("buildah", "buildah", "builds the image without a daemon"),
    tool("podman", "podman", "runs the image without a daemon"),
    tool("runc", "runc", "starts its containers"),
];

/// What fuzzing takes beside cargo.
pub(super) const FUZZ: [Tool; 1] = [tool("c++", "g++", "it compiles libFuzzer")];

/// Notes which of the tests' programs are missing.
pub(crate) fn tests(changes: &mut SystemChanges, steps: &Steps) -> Result<()> {
    collect(&TESTS, changes, steps)
}

/// Notes what the lints need: a clippy for either toolchain, and rustfmt.
pub(crate) fn lint(plan: &Plan, changes: &mut SystemChanges, steps: &mut Steps) -> Result<()> {
    if plan.is_debians() {
        let missing = apt::missing(&[toolchain::CLIPPY_PACKAGE]);
        if missing.is_empty() {
            steps.there(toolchain::CLIPPY_PACKAGE, "clippy for the kernel side");
        }
        changes.want(missing);
    } else if let Plan::Ready(Toolchain::Rustup { .. }) = plan {
        rustup_component("clippy", "clippy for the kernel side", Some("nightly"), steps)?;
    }
    if exec::find("rustup").is_some() {
        rustup_component("clippy", "clippy for this machine's side", None, steps)?;
        rustup_component("rustfmt", "the format of the source", None, steps)
    } else {
        const HOST: [Tool; 2] = [
            tool("cargo-clippy", toolchain::CLIPPY_PACKAGE, "clippy for this machine's side"),
            tool("cargo-fmt", "rustfmt-web", "the format of the source"),
        ];
        collect(&HOST, changes, steps)
    }
}

/// A component of the toolchain in use (which our environment names), or of a named one.
fn rustup_component(name: &str, why: &str, toolchain: Option<&str>, steps: &mut Steps) -> Result<()> {
    let rustup = |words: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(words);
        command
    };
    let program = if name == "clippy" { "clippy-driver" } else { name };
    let named = toolchain.map(|toolchain| ["--toolchain", toolchain]);
    let named = named.as_ref().map_or(&[][..], |words| &words[..]);
    if exec::output(rustup(&["which", program]).args(named)).is_some() {
        steps.there(&format!("rustup's {name}"), why);
        return Ok(());
    }
    steps.doing(&format!("adding rustup's component {name}"), why);
    exec::run_long(&format!("adding {name}"), rustup(&["component", "add", name]).args(named))
}

/// Notes which of some programs are missing.
pub(super) fn collect(tools: &[Tool], changes: &mut SystemChanges, steps: &Steps) -> Result<()> {
    let (there, missing): (Vec<_>, Vec<_>) =
        tools.iter().partition(|tool| exec::find(tool.program).is_some());
    for tool in there {
        steps.there(tool.program, tool.why);
    }
    if !missing.is_empty() && !apt::exists() {
        let programs: Vec<_> = missing.iter().map(|tool| tool.program).collect();
        bail!(
            "these programs are missing, and this system has no apt to install them with: {}; install them by this \
             system's own means, then run this again",
            programs.join(", ")
        );
    }
    changes.want(missing.iter().map(|tool| tool.package));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_asks_for_no_package() {
        let tools = [tool("sh", "dash", "a shell")];
        let mut changes = SystemChanges::default();
        collect(&tools, &mut changes, &Steps::new(super::super::step::Detail::Changes)).unwrap();
        assert!(changes.install.is_empty());
    }
}
