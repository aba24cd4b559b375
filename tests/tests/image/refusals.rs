//! One thing fewer than it needs: each is a sentence that names it, and `check` in the same container agrees with `run`.

use anyhow::{Context, Result, ensure};
use probe_tests::container::{Engine, Profile, Setup};

/// Has the agent fail in one line, all of whose words are wanted.
fn fails(setup: &Setup<'_>, flags: &[&str], words: &[&str]) -> Result<String> {
    let output = setup.run_agent(flags)?;
    let said = output.stderr.trim_end().to_owned();
    println!("{said}");
    ensure!(output.status.code() == Some(1), "it ended with {}: {said}", output.status);
    ensure!(said.starts_with("error: ") && said.lines().count() == 1, "not one line of an error: {said}");
    for word in words {
        ensure!(said.contains(word), "`{word}` is missing in: {said}");
    }
    Ok(said)
}

/// Makes sure that `check` says the same of one subject, and whether the agent would run.
fn check_says(setup: &Setup<'_>, mark: &str, subject: &str, words: &[&str]) -> Result<()> {
    let output = setup.run(&["check"])?;
    let line = output.stdout.lines().find(|line| line.starts_with(&format!("{mark} {subject} ")));
    let line = line.with_context(|| format!("no `{mark}` at {subject}:\n{}", output.stdout))?;
    println!("{line}");
    for word in words {
        ensure!(line.contains(word), "`{word}` is missing in: {line}");
    }
    let would_run = mark != "FAIL";
    ensure!(output.status.success() == would_run, "check ended with {}:\n{}", output.status, output.stdout);
    Ok(())
}

#[test]
fn with_one_capability_fewer_it_names_that_one() -> Result<()> {
    let engine = Engine::new()?;
    for capability in engine.probe()?.capabilities() {
        let probe = engine.probe()?.without(capability);
        let lacks = format!("lacks CAP_{capability}: ");
        fails(&probe, &[], &[&lacks, "--cap-add BPF,NET_ADMIN,PERFMON"])?;
        check_says(&probe, "FAIL", "privileges", &[&lacks])?;
    }
    Ok(())
}

#[test]
fn a_profile_without_bpf_is_told_from_a_missing_capability() -> Result<()> {
    let engine = Engine::new()?;
    let probe = engine.probe()?.under(Profile::Old);
    let words = ["has the capabilities", "seccomp", "--security-opt seccomp=unconfined"];
    fails(&probe, &[], &words)?;
    check_says(&probe, "FAIL", "privileges", &words)
}

#[test]
fn capabilities_of_another_user_namespace_are_told_from_the_hosts() -> Result<()> {
    let engine = Engine::new()?;
    let probe = engine.probe()?.flag("--uidmap=0:100000:65536").flag("--gidmap=0:100000:65536");
    let words = ["has the capabilities", "user namespace", "rootless"];
    fails(&probe, &[], &words)?;
    check_says(&probe, "FAIL", "privileges", &words)
}

/// It counts all the same, and says that nothing is pinned.
fn pins_nothing(setup: &Setup<'_>, words: &[&str]) -> Result<()> {
    let pins = format!("/sys/fs/bpf/traffic-probe-image-{}", std::process::id());
    let output = setup.run(&["check", "--pin", &pins])?;
    ensure!(output.status.success(), "check ended with {}:\n{}", output.status, output.stdout);
    let line = output.stdout.lines().find(|line| line.starts_with("warn pin "));
    let line = line.with_context(|| format!("nothing is said of pin:\n{}", output.stdout))?;
    for word in words.iter().chain(&[&*format!("--pin {pins} ")]) {
        ensure!(line.contains(word), "`{word}` is missing in: {line}");
    }
    Ok(())
}

#[test]
fn a_bpffs_that_is_read_only_is_named_where_it_is_pinned_to() -> Result<()> {
    let engine = Engine::new()?;
    let probe = engine.probe()?.flag("--volume=/sys/fs/bpf:/sys/fs/bpf:ro");
    pins_nothing(&probe, &["read-only", "without `:ro`"])?;
    check_says(&probe, "warn", "bpffs", &["read-only at /sys/fs/bpf", "--pin"])
}

#[test]
fn a_pin_without_a_bpffs_is_named_with_how_to_mount_one() -> Result<()> {
    let engine = Engine::new()?;
    let probe = engine.probe()?;
    pins_nothing(&probe, &["not on a bpffs", "mount -t bpf bpf"])?;
    check_says(&probe, "warn", "bpffs", &["not mounted"])
}

#[test]
fn without_btf_it_says_what_a_container_must_be_shown() -> Result<()> {
    let engine = Engine::new()?;
    let probe = engine.probe()?.flag("--security-opt=mask=/sys/kernel/btf");
    let words = ["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF", "a container needs /sys/kernel/btf"];
    let said = fails(&probe, &[], &words)?;
    ensure!(said.matches("No such file").count() == 1, "the cause is not told just once: {said}");
    check_says(&probe, "FAIL", "BTF", &words)
}

#[test]
fn without_cgroup2_it_names_the_volume() -> Result<()> {
    let engine = Engine::new()?;
    let hidden = engine.probe()?.without_cgroups().flag("--security-opt=mask=/sys/fs/cgroup");
    let words = ["no cgroup2 hierarchy is mounted", "--volume /sys/fs/cgroup:/host/cgroup:ro"];
    fails(&hidden, &[], &words)?;
    check_says(&hidden, "FAIL", "cgroup2", &words)
}
