//! The RPM package, by rpm.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe_tests::{own_root, process, tool};

const LIMIT: Duration = Duration::from_mins(1);

fn query(arguments: &[&str]) -> Result<String> {
    let mut command = tool::command("rpm")?;
    process::run_well(command.args(arguments).arg(super::package("rpm")?), LIMIT)
}

#[test]
fn it_holds_what_it_should_and_says_what_is_settings() -> Result<()> {
    let files = query(&["-qlp"])?;
    for file in [
        "/usr/bin/traffic-probe",
        "/usr/lib/systemd/system/traffic-probe.service",
        "/etc/traffic-probe/traffic-probe.toml",
        "/etc/sysconfig/traffic-probe",
    ] {
        ensure!(files.lines().any(|line| line == file), "{file} is not in it:\n{files}");
    }
    let settings = query(&["-qp", "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]"])?;
    let kept = settings.lines().filter(|line| line.starts_with("/etc/") && line.ends_with(" cn")).count();
    ensure!(kept == 2, "{kept} files are settings that an upgrade keeps:\n{settings}");
    ensure!(query(&["-K", "--nosignature"])?.contains("digests OK"), "its digests are wrong");
    Ok(())
}

#[test]
fn it_is_installed_upgraded_and_erased_without_a_trace() -> Result<()> {
    let pins = super::pins()?;
    // The machine's rpm knows of no shell: Debian's was installed by dpkg.
    let script = format!(
        r#"
{life}
package=$(ls /tmp/*.rpm)
rpm --initdb
rpm -i --nodeps $package
rpm -V --nodeps traffic-probe
traffic-probe --version
configure
live
echo upgrade
rpm -U --nodeps --replacepkgs $package
grep -q "$pins" $config
test -d $pins
echo erase
rpm -e traffic-probe
test ! -e $pins
test ! -e /usr/bin/traffic-probe
# What was changed is kept, under another name, as rpm does.
rm -r /etc/traffic-probe
rm $package
"#,
        life = super::life(pins.path())?
    );
    let (said, left) = own_root::run(&script, &super::package("rpm")?, "*traffic-probe*")?;
    println!("{said}");
    ensure!(said.contains("ready\n"), "the agent did not run:\n{said}");
    ensure!(left.is_empty(), "erased, and still there: {left:?}");
    Ok(())
}
