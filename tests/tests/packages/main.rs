//! The packages and the unit: `cargo xtask test packages` makes them and runs this.

mod debian;
mod rpm;
mod unit;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use probe_tests::{pins::PinDirectory, ports};

/// The package of a kind.
fn package(suffix: &str) -> Result<PathBuf> {
    const VARIABLE: &str = "TRAFFIC_PROBE_PACKAGES";
    let directory = env::var_os(VARIABLE)
        .map(PathBuf::from)
        .with_context(|| format!("{VARIABLE} is not set: `cargo xtask test packages` makes the packages"))?;
    let mut files = fs::read_dir(&directory)?.flatten().map(|entry| entry.path());
    files
        .find(|file| file.extension().is_some_and(|found| found == suffix))
        .with_context(|| format!("no .{suffix} in {}", directory.display()))
}

/// Shell functions for a life of the installed agent, with a port, a lock and pins that no other has.
fn life(pins: &Path) -> Result<String> {
    let port = ports::free()?;
    Ok(format!(
        r#"
pins={pins}
config=/etc/traffic-probe/traffic-probe.toml
configure() {{
    sed -i -e 's|^listen = .*|listen = "127.0.0.1:{port}"|' -e "s|^pin = .*|pin = \"$pins\"|" $config
    echo 'lock = "/run/traffic-probe-test"' >> $config
}}
live() {{
    /usr/bin/traffic-probe run --config $config 2> /tmp/log & agent=$!
    tries=0
    until curl --silent --fail --noproxy '*' http://127.0.0.1:{port}/readyz; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ]; then cat /tmp/log; exit 1; fi
        sleep 0.1
    done
    kill $agent
    wait $agent
    test -d $pins
}}
"#,
        pins = pins.display()
    ))
}

/// A place for pins of its own.
fn pins() -> Result<PinDirectory> {
    PinDirectory::new()
}
