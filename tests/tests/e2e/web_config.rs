//! TLS and authentication by a web configuration, with the clients that users have: Prometheus, curl and openssl.

use std::{
    fmt::Write as _,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{poll, process, secured::Secured, tool};

const LIMIT: Duration = Duration::from_secs(20);

/// `wonderland`, hashed by the C library's bcrypt with a cost of 12, and `new` with one of 10.
const WONDERLAND: &str = "$2b$12$abcdefghijklmnopqrstuu3wWEVMNelR6A2tdDfkUrgsOQPKRHJ3a";
const NEW: &str = "$2y$10$abcdefghijklmnopqrstuu04wzKNv8ZVxX5zZ.yWmemdT/xwfIxoS";

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
const CLIENTS: &str = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: authority.pem\n";
const CERTIFICATE: [&str; 4] = ["--cert", "scraper.pem", "--key", "scraper.key"];

fn users() -> String {
    format!("basic_auth_users:\n  alice: {WONDERLAND}\n")
}

#[test]
fn prometheus_scrapes_with_what_it_is_given_and_not_without() -> Result<()> {
    let agent = Secured::start(&format!("{TLS}{CLIENTS}{}bearer_token_file: tokens\n", users()))
        .err()
        .context("a file that is not there was taken")?;
    ensure!(format!("{agent:#}").contains("line 8: `bearer_token_file` tokens cannot be read"), "{agent:#}");
    let agent = Secured::start(&format!("{TLS}{CLIENTS}{}", users()))?;
    agent.replace("tokens", "s3cret\n")?;
    agent.replace("web.yml", &format!("{TLS}{CLIENTS}{}bearer_token_file: tokens\n", users()))?;
    let authorization = [&CERTIFICATE[..], &["--header", "Authorization: Bearer s3cret"]].concat();
    poll::until("the token to be known", || {
        Ok((agent.ask("/metrics", &authorization)?.status == 200).then_some(()))
    })?;
    let certificate = "cert_file: scraper.pem, key_file: scraper.key";
    let jobs = [
        ("password", certificate, "basic_auth: {username: alice, password: wonderland}"),
        ("token", certificate, "authorization: {credentials: s3cret}"),
        ("wrong-password", certificate, "basic_auth: {username: alice, password: looking-glass}"),
        ("wrong-token", certificate, "authorization: {credentials: guess}"),
        ("no-credentials", certificate, "honor_labels: true"),
        ("no-certificate", "", "basic_auth: {username: alice, password: wonderland}"),
    ];
    let mut configuration = "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n".to_owned();
    for (name, certificate, authorization) in jobs {
        let _ = writeln!(
            configuration,
            "- job_name: {name}\n  scheme: https\n  tls_config: {{ca_file: authority.pem, {certificate}}}\n  {authorization}\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]",
            agent.port()
        );
    }
    let prometheus = agent.scraped_by(&configuration)?;
    let seen = poll::until_within(Duration::from_mins(1), "scrapes with a password", || {
        // The first check of a password, right or wrong, may take longer than a scrape may.
        let seen = prometheus.health()?;
        Ok(seen.filter(|seen| seen["password"].0 == "up" && seen["wrong-password"].1.contains("401")))
    })?;
    println!("{seen:#?}");
    for (job, health, words) in [
        ("password", "up", ""),
        ("token", "up", ""),
        ("wrong-password", "down", "401"),
        ("wrong-token", "down", "401"),
        ("no-credentials", "down", "401"),
        ("no-certificate", "down", "tls:"),
    ] {
        let (is, error) = seen.get(job).context(job)?;
        ensure!(is == health && error.contains(words), "{job} is {is}: {error}");
    }
    Ok(())
}

#[test]
fn curl_is_told_what_it_lacks_and_health_is_told_to_everybody() -> Result<()> {
    let headers = "http_server_config:\n  headers:\n    X-Content-Type-Options: nosniff\n";
    let agent = Secured::start(&format!("{TLS}{headers}{}", users()))?;
    let nobody = agent.ask("/metrics", &[])?;
    ensure!(nobody.status == 401, "{nobody:?}");
    ensure!(nobody.head.contains("www-authenticate: basic realm="), "{}", nobody.head);
    ensure!(nobody.head.contains("x-content-type-options: nosniff"), "{}", nobody.head);
    for path in ["/metrics", "/", "/api/v1/services", "/api/v1/stream", "/nothing", "/healthz/", "//healthz"]
    {
        let wrong = agent.ask(path, &["--user", "alice:looking-glass"])?;
        ensure!(wrong.status == 401, "{path}: {wrong:?}");
    }
    for path in ["/healthz", "/readyz"] {
        ensure!(agent.ask(path, &[])?.status == 200, "{path} asks for credentials");
    }
    let right = agent.ask("/metrics", &["--user", "alice:wonderland"])?;
    ensure!(right.status == 200 && right.body.contains("traffic_probe_build_info"), "{}", right.head);
    let plain = process::run_well(
        tool::command("curl")?
            .args(["--silent", "--noproxy", "*", "--write-out", " %{http_code}"])
            .arg(format!("http://127.0.0.1:{}/metrics", agent.port())),
        LIMIT,
    )?;
    ensure!(plain == "this port speaks TLS: use https\n 400", "{plain}");
    let untrusting = agent.try_ask("/healthz", &["--cacert", "/etc/ssl/certs/ca-certificates.crt"])?;
    ensure!(!untrusting.status.success(), "curl trusts an authority that it does not know");
    Ok(())
}

#[test]
fn a_password_costs_its_hash_once() -> Result<()> {
    const SCRAPES: u32 = 50;
    let agent = Secured::start(&users())?;
    let user = ["--user", "alice:wonderland"];
    let began = Instant::now();
    ensure!(agent.ask("/metrics", &user)?.status == 200, "not admitted");
    let first = began.elapsed();
    let before = cpu_ticks(agent.id())?;
    for _ in 0..SCRAPES {
        ensure!(agent.ask("/metrics", &user)?.status == 200, "not admitted again");
    }
    let spent = cpu_ticks(agent.id())? - before;
    println!("first {first:?}; CPU time of {SCRAPES} more: {spent} hundredths of a second");
    // A hash of this cost takes a fifth of a second on any machine of today: fifty would take ten.
    ensure!(spent < 200, "{SCRAPES} scrapes took {spent} hundredths of a second of CPU time");
    Ok(())
}

/// CPU time of a process, in hundredths of a second.
fn cpu_ticks(process: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<_> = stat.rsplit_once(") ").context("stat")?.1.split(' ').collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

/// The certificate that the agent shows, as its serial number.
fn shown(agent: &Secured) -> Result<String> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(
        "openssl s_client -connect 127.0.0.1:{} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        agent.port()
    ));
    process::run_well(&mut command, LIMIT)
}

fn written(agent: &Secured) -> Result<String> {
    let mut command = tool::command("openssl")?;
    command.args(["x509", "-noout", "-serial", "-in"]).arg(agent.authority().file("server.pem"));
    process::run_well(&mut command, LIMIT)
}

#[test]
fn what_changes_is_served_and_what_is_broken_is_not() -> Result<()> {
    let agent = Secured::start(&format!("{TLS}{}", users()))?;
    let first = shown(&agent)?;
    ensure!(first == written(&agent)?, "{first} is not the certificate of the file");
    agent.authority().sign("server", "IP:127.0.0.1")?;
    let second = written(&agent)?;
    ensure!(first != second, "the new certificate is the old one");
    poll::until("the new certificate", || Ok((shown(&agent)? == second).then_some(())))?;

    // Half of a rotation: a certificate without its key.
    let key = fs::read_to_string(agent.authority().file("server.key"))?;
    agent.replace("server.key", "no key\n")?;
    poll::until("a complaint", || {
        let log = agent.log()?;
        Ok(log.contains("line 3: `key_file` server.key has no private key").then_some(()))
    })?;
    ensure!(shown(&agent)? == second, "what was in force is not any more");
    agent.replace("server.key", &key)?;

    let new = format!("{TLS}basic_auth_users:\n  alice: {NEW}\n");
    agent.replace("web.yml", &new)?;
    poll::until("the new password", || {
        Ok((agent.ask("/metrics", &["--user", "alice:new"])?.status == 200).then_some(()))
    })?;
    ensure!(agent.ask("/metrics", &["--user", "alice:wonderland"])?.status == 401, "the old password holds");
    Ok(())
}

#[test]
fn versions_and_names_are_held_to() -> Result<()> {
    let names = "  client_allowed_sans: [other.example, scraper.example]\n  min_version: TLS13\n";
    let agent = Secured::start(&format!("{TLS}{CLIENTS}{names}"))?;
    ensure!(agent.ask("/metrics", &CERTIFICATE)?.status == 200, "not admitted");
    let refused = |flags: &[&str]| -> Result<()> {
        let output = agent.try_ask("/metrics", flags)?;
        ensure!(!output.status.success() && output.stdout.is_empty(), "{flags:?}: {}", output.stdout);
        Ok(())
    };
    refused(&[])?;
    refused(&[&CERTIFICATE[..], &["--tls-max", "1.2"]].concat())?;
    // The same authority, another name.
    agent.authority().sign("stranger", "DNS:stranger.example")?;
    refused(&["--cert", "stranger.pem", "--key", "stranger.key"])
}

#[test]
fn a_report_says_who_asks() -> Result<()> {
    let agent = Secured::start(&format!("{TLS}{CLIENTS}{}", users()))?;
    agent.replace("tokens", "s3cret\n")?;
    agent.replace("password", "wonderland\n")?;
    agent.replace("wrong", "looking-glass\n")?;
    agent.replace("web.yml", &format!("{TLS}{CLIENTS}{}bearer_token_file: tokens\n", users()))?;
    let url = format!("https://127.0.0.1:{}", agent.port());
    let file = |name: &str| agent.authority().file(name).display().to_string();
    let certificate = [file("scraper.pem"), file("scraper.key"), file("authority.pem")];
    let report = |flags: &[&str]| {
        let mut command = Command::new(tool::agent()?);
        command.args(["report", "--url", &url, "--ca", &certificate[2]]);
        process::run(command.args(flags), LIMIT)
    };
    let shown = ["--cert", &certificate[0], "--key", &certificate[1]];
    let (token, password, wrong) = (file("tokens"), file("password"), file("wrong"));
    poll::until("a report for the token", || {
        Ok(report(&[&shown[..], &["--token-file", &token]].concat())?.status.success().then_some(()))
    })?;
    let known = ["--username", "alice", "--password-file", &password];
    let answer = report(&[&shown[..], &known].concat())?;
    ensure!(answer.status.success() && answer.stdout.starts_with("SERVICE"), "{answer:?}");
    for (flags, words) in [
        ([&shown[..], &["--username", "alice", "--password-file", &wrong]].concat(), "--password-file"),
        (shown.to_vec(), "--token-file"),
        (known.to_vec(), "TLS"),
        (
            [&shown[..], &["--token-file", "/dev/null"]].concat(),
            "cannot take a token from /dev/null: its first line is empty",
        ),
        (vec!["--username", "alice"], "--password-file"),
    ] {
        let answer = report(&flags)?;
        println!("{}", answer.stderr);
        ensure!(!answer.status.success() && answer.stderr.contains(words), "{flags:?}: {answer:?}");
    }
    Ok(())
}

/// Whatever is written to its files, a listener that asked for TLS and a password goes on asking for both.
#[test]
fn no_file_takes_protection_away() -> Result<()> {
    let whole = format!("{TLS}{CLIENTS}{}", users());
    let agent = Secured::start(&whole)?;
    let user = ["--user", "alice:wonderland"];
    let admitted = [&CERTIFICATE[..], &user].concat();
    let still = |what: &str| -> Result<()> {
        let answer = agent.ask("/metrics", &admitted).with_context(|| what.to_owned())?;
        ensure!(answer.status == 200, "{what}: {}", answer.head);
        ensure!(agent.ask("/metrics", &CERTIFICATE)?.status == 401, "{what}: without a password");
        let without = agent.try_ask("/metrics", &user)?;
        ensure!(!without.status.success(), "{what}: without a certificate: {}", without.stdout);
        Ok(())
    };
    let path = agent.authority().file("web.yml");
    for (what, text, words) in [
        ("emptied", "", "TLS would go"),
        ("cut off behind TLS", &format!("{TLS}{CLIENTS}"), "the last password or token would go"),
        ("cut off within TLS", &format!("{TLS}{}", users()), "the demand for clients' certificates would go"),
        ("without TLS", &users(), "TLS would go"),
    ] {
        // In place, as a shell does it.
        fs::write(&path, text)?;
        poll::until(&format!("a complaint of a file that is {what}"), || {
            Ok(agent.log()?.lines().next_back().is_some_and(|line| line.contains(words)).then_some(()))
        })?;
        still(what)?;
        fs::write(&path, &whole)?;
        poll::until("the whole file to be in force again", || {
            Ok(agent
                .log()?
                .lines()
                .next_back()
                .is_some_and(|line| line.contains("is now in force"))
                .then_some(()))
        })?;
    }
    fs::remove_file(&path)?;
    poll::until("a complaint of a file that is not there", || {
        Ok(agent.log()?.contains("No such file").then_some(()))
    })?;
    still("removed")?;
    // A FIFO keeps the thread that reads from nothing.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR)?;
    poll::until("a complaint of a FIFO", || Ok(agent.log()?.contains("it is a FIFO").then_some(())))?;
    still("a FIFO")?;
    fs::remove_file(&path)?;
    agent.replace("web.yml", &format!("{TLS}{CLIENTS}basic_auth_users:\n  alice: {NEW}\n"))?;
    poll::until("a file behind it", || {
        let new = [&CERTIFICATE[..], &["--user", "alice:new"]].concat();
        Ok((agent.ask("/metrics", &new)?.status == 200).then_some(()))
    })
}

#[test]
fn a_certificate_that_has_expired_is_told_once() -> Result<()> {
    let agent = Secured::start(&format!("{TLS}{}", users()))?;
    agent.authority().sign_expired("server")?;
    poll::until("the certificate's end to be told", || {
        Ok(agent.log()?.contains("the listener's certificate expired on ").then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(3));
    let log = agent.log()?;
    let told = log.lines().filter(|line| line.contains("certificate expired on")).count();
    ensure!(told == 1 && log.contains("WARN"), "told {told} times: {log}");
    let refused = agent.try_ask("/metrics", &["--user", "alice:wonderland"])?;
    ensure!(!refused.status.success(), "curl takes it");
    Ok(())
}
