//! The image for 64-bit ARM, on a machine that is none: it says what it is for, and its binary counts under a kernel that is.

use anyhow::{Context, Result, ensure};
use probe_tests::{
    container::Engine,
    emulated::{self, Given},
    metrics::{Role, Scrape, Series},
};

const REQUESTS: u32 = 100;
const PORT: u16 = 8080;

/// Before what the agent shows, and behind it.
const MARKS: [&str; 2] = ["-- metrics --", "-- over --"];

/// A server and a client of busybox, with the agent of the image beside them.
fn script() -> String {
    let [begin, end] = MARKS;
    format!(
        r#"
uname -m
/traffic-probe check || echo "check ends with $?"
/traffic-probe run --listen 127.0.0.1:9464 >/run/agent.log 2>&1 &
waited=0
until wget -q -O /dev/null http://127.0.0.1:9464/metrics; do
    waited=$((waited + 1)); [ $waited -lt 120 ] || {{ echo "no metrics"; break; }}
    sleep 1
done
echo content >/tmp/file
httpd -p 127.0.0.1:{PORT} -h /tmp
for request in $(seq {REQUESTS}); do wget -q -O /dev/null http://127.0.0.1:{PORT}/file || echo "no answer"; done
wget -q -O /dev/null http://127.0.0.1:{PORT}/missing
sleep 5
cat /run/agent.log
echo "{begin}"
wget -q -O - http://127.0.0.1:9464/metrics
echo "{end}"
"#
    )
}

#[test]
fn its_binary_counts_every_request_under_a_kernel_for_arm64() -> Result<()> {
    let engine = Engine::of("TRAFFIC_PROBE_ARM64_IMAGE")?;
    let image = engine.inspect()?;
    ensure!(
        image[0]["Architecture"] == "arm64" && image[0]["Os"] == "linux",
        "it says that it is for {} of {}",
        image[0]["Architecture"],
        image[0]["Os"]
    );
    let agent = engine.file("traffic-probe")?;
    let said = emulated::run(&[Given { name: "traffic-probe", contents: &agent }], &script())?;
    let (before, rest) = said.split_once(MARKS[0]).with_context(|| format!("no metrics: {said}"))?;
    println!("{before}");
    let (metrics, _) = rest.split_once(MARKS[1]).with_context(|| format!("no end: {rest}"))?;
    ensure!(
        before.contains("aarch64") && !before.contains("no answer"),
        "the machine is not as it should be"
    );
    ensure!(!before.contains("check ends with"), "check finds something wrong");
    let scrape = Scrape::parse(metrics.trim_start().to_owned())?;
    for role in [Role::Server, Role::Client] {
        let counted = |status: u16| scrape.sum(&Series::requests(PORT, role).with("status", status));
        ensure!(
            (counted(200) - f64::from(REQUESTS)).abs() < f64::EPSILON
                && (counted(404) - 1.0).abs() < f64::EPSILON,
            "as {role:?} {} and {} counted of {REQUESTS} and 1",
            counted(200),
            counted(404)
        );
    }
    Ok(())
}
