//! The Debian package, by dpkg.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe_tests::{own_root, process, tool};

const LIMIT: Duration = Duration::from_mins(1);

fn dpkg_deb(arguments: &[&str]) -> Result<String> {
    let mut command = tool::command("dpkg-deb")?;
    process::run_well(command.args(&arguments[..1]).arg(super::package("deb")?).args(&arguments[1..]), LIMIT)
}

#[test]
fn it_holds_what_it_should_and_says_what_is_settings() -> Result<()> {
    let contents = dpkg_deb(&["--contents"])?;
    for file in [
        "./usr/bin/traffic-probe",
        "/systemd/system/traffic-probe.service",
        "./etc/traffic-probe/traffic-probe.toml",
        "./etc/default/traffic-probe",
        "./usr/share/doc/traffic-probe/copyright",
        "./usr/share/doc/traffic-probe/THIRD-PARTY-NOTICES",
    ] {
        ensure!(contents.contains(file), "{file} is not in it:\n{contents}");
    }
    let settings = dpkg_deb(&["--info", "conffiles"])?;
    for file in ["/etc/traffic-probe/traffic-probe.toml", "/etc/default/traffic-probe"] {
        ensure!(settings.lines().any(|line| line == file), "{file} is no conffile:\n{settings}");
    }
    let fields = dpkg_deb(&["--field"])?;
    for field in ["Package: traffic-probe", "Section: net", "Architecture: "] {
        ensure!(fields.contains(field), "{field} is missing:\n{fields}");
    }
    Ok(())
}

/// MIT, ISC and BSD ask that their notices go with every copy.
#[test]
fn it_has_the_notices_of_what_it_is_linked_with() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut extract = tool::command("dpkg-deb")?;
    process::run_well(extract.arg("--extract").arg(super::package("deb")?).arg(root.path()), LIMIT)?;
    let notices =
        std::fs::read_to_string(root.path().join("usr/share/doc/traffic-probe/THIRD-PARTY-NOTICES"))?;
    for words in ["rustls ", "tokio ", "aya-ebpf ", "Permission is hereby granted", "ISC License"] {
        ensure!(notices.contains(words), "no `{words}` in the notices");
    }
    Ok(())
}

#[test]
fn it_is_installed_upgraded_removed_and_purged_without_a_trace() -> Result<()> {
    let pins = super::pins()?;
    let script = format!(
        r#"
export DEBIAN_FRONTEND=noninteractive
{life}
package=$(ls /tmp/*.deb)
dpkg -i $package
test -z "$(dpkg --verify traffic-probe)"
test -L /etc/systemd/system/multi-user.target.wants/traffic-probe.service
traffic-probe --version
configure
live
echo upgrade
dpkg -i $package
grep -q "$pins" $config
test -d $pins
echo remove
dpkg -r traffic-probe
test ! -e $pins
test ! -e /usr/bin/traffic-probe
test -e $config
echo purge
dpkg -P traffic-probe
test ! -e /etc/traffic-probe
test ! -e /etc/default/traffic-probe
rm $package
"#,
        life = super::life(pins.path())?
    );
    let (said, left) = own_root::run(&script, &super::package("deb")?, "*traffic-probe*")?;
    println!("{said}");
    ensure!(said.contains("ready\n"), "the agent did not run:\n{said}");
    ensure!(left.is_empty(), "purged, and still there: {left:?}");
    Ok(())
}
