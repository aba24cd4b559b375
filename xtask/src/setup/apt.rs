//! Debian's packages: asked about once and cheaply, installed only where missing, and never to the user's surprise:
//! no service is started, nothing is removed.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::exec;

/// Says "do not start services" to packages that are being installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// By which a policy of ours is known, should one have been left behind.
const MARK: &str = "left by traffic-probe's cargo xtask setup; safe to remove";

/// Runs its arguments while a policy of ours forbids to start services, unless the machine has a policy already.
///
/// A shell of its own, because it also cleans up when Ctrl-C or a kill ends *us* at once.
const WITHOUT_SERVICES: &str = r#"
if [ ! -e "$1" ]; then
    trap 'rm -f "$1"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\n# %s\nexit 101\n' "$2" >"$1" && chmod 755 "$1"
fi
(shift 2; exec "$@")
"#;

/// Services that come with packages of the tests; a reboot must not start them either.
const SERVICES: [(&str, &str); 6] = [
    ("nginx-light", "nginx.service"),
    ("prometheus", "prometheus.service"),
    ("prometheus-alertmanager", "prometheus-alertmanager.service"),
    ("mtail", "mtail.service"),
    ("etcd-server", "etcd.service"),
    ("containerd", "containerd.service"),
];

/// Whether this system is apt's.
pub(crate) fn exists() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// Those of the packages that are not fully installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(packages).stderr(Stdio::null());
    // Its exit status only says that one of them is unknown.
    let listing = query.output().map(|output| output.stdout).unwrap_or_default();
    not_installed(packages, &String::from_utf8_lossy(&listing))
}

fn not_installed<'a>(packages: &[&'a str], listing: &str) -> Vec<&'a str> {
    let installed = |package| listing.lines().any(|line| line.strip_suffix(" installed") == Some(package));
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

/// Installs packages, as root, whatever state an interrupted predecessor left.
pub(crate) fn install(packages: &[String]) -> Result<()> {
    recover();
    let mut update = Command::new("apt-get");
    // Another source of packages may be broken without any harm to us: the installation itself decides.
    if let Err(error) = exec::run_long("fetching the lists of packages", update.arg("update")) {
        eprintln!("setup: going on with the lists of packages as they are: {error:#}");
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]);
    // Whoever has a package that conflicts with ours is to decide on it.
    install.arg("--no-remove");
    for option in ["DPkg::Lock::Timeout=300", "Dpkg::Use-Pty=0", "Dpkg::Options::=--force-confold"] {
        install.args(["-o", option]);
    }
    without_services("installing packages", install.args(packages)).context(
        "apt could not install the packages; its own words are above. If it did not find one, enable this \
         distribution's security (Debian) or universe (Ubuntu) archive; if one conflicts with a package that you \
         have, remove that or use rustup's nightly with rust-src and bpf-linker; then run this again",
    )?;
    keep_services_off(packages);
    Ok(())
}

/// Runs a command of the package system that must neither ask questions nor start services.
fn without_services(what: &str, command: &Command) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", WITHOUT_SERVICES, "sh", POLICY, MARK]);
    shell.arg(command.get_program()).args(command.get_args());
    let status = exec::watch(what, shell.env("DEBIAN_FRONTEND", "noninteractive"))?;
    if !status.success() {
        bail!("this command ended with {status}: {}", exec::quoted(command));
    }
    Ok(())
}

/// Removes a policy that a killed run of ours left, and has dpkg finish what an interrupted apt began.
fn recover() {
    if fs::read_to_string(POLICY).is_ok_and(|policy| policy.contains(MARK)) {
        eprintln!("setup: removing {POLICY}, which an interrupted run left");
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("setup: could not remove {POLICY}: {error}");
        }
    }
    let interrupted = fs::read_dir("/var/lib/dpkg/updates").is_ok_and(|mut entries| entries.next().is_some());
    if interrupted {
        // Where another apt is just at work this fails, harmlessly: the installation waits for that one.
        let mut dpkg = Command::new("dpkg");
        dpkg.args(["--configure", "-a", "--force-confold"]);
        if let Err(error) = without_services("finishing an interrupted installation", &dpkg) {
            eprintln!("setup: {error:#}");
        }
    }
}

fn keep_services_off(installed: &[String]) {
    if exec::find("systemctl").is_none() {
        return;
    }
    for (package, service) in SERVICES {
        let ours = installed.iter().any(|name| name == package);
        if ours && let Err(error) = exec::run(Command::new("systemctl").args(["--quiet", "disable", service]))
        {
            eprintln!("setup: {service} may start at the next boot: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fully_installed_package_counts() {
        let listing = "wrk installed\ncurl half-configured\nnginx not-installed\n";
        assert_eq!(not_installed(&["wrk", "curl", "nginx", "iperf3"], listing), ["curl", "nginx", "iperf3"]);
    }

    #[test]
    fn the_policy_lasts_as_long_as_the_command() {
        let policy = std::env::temp_dir().join(format!("traffic-probe-policy-{}", std::process::id()));
        let shell = |command: &str| {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", WITHOUT_SERVICES, "sh"])
                .arg(&policy)
                .args([MARK, "sh", "-c", command])
                .arg("sh")
                .arg(&policy);
            exec::status(&mut shell).unwrap().code()
        };
        assert_eq!(shell(r#""$1"; test $? = 101 && grep -q traffic-probe "$1""#), Some(0));
        assert!(!policy.exists());
        assert_eq!(shell("exit 7"), Some(7));
        assert!(!policy.exists(), "a failure leaves a policy behind");
        fs::write(&policy, "the machine's own").unwrap();
        assert_eq!(shell("true"), Some(0));
        assert_eq!(fs::read_to_string(&policy).unwrap(), "the machine's own");
        fs::remove_file(&policy).unwrap();
    }
}
