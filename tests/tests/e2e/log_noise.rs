//! What the log says of traffic that escapes, repeatedly: nothing where that is by design, and a line for a state where it is not.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Setup,
    http1,
    metrics::{Role, Series},
    process,
    server::Server,
    stream,
    tls::TlsFront,
    tool,
};

/// The kernel side tells of a reason every ten seconds at most: long enough for three times.
const PERIOD: Duration = Duration::from_secs(22);
const EVERY: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(10);

/// Answers with two lengths, of which nobody can know the right one.
fn contradict(mut stream: TcpStream) -> Result<()> {
    let mut reader = std::io::BufReader::new(stream.try_clone()?);
    http1::head(&mut reader)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab")?;
    Ok(())
}

fn ask(server: SocketAddr) -> Result<()> {
    let mut stream = stream::connect(server)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn what_escapes_each_second_is_told_once_by_name_and_what_is_by_design_not_at_all() -> Result<()> {
    // Alone, since the kernel side tells a reason of one service in ten seconds, whichever it is.
    let agent = Setup::default().alone().start()?;
    let behind = Server::start(Ipv4Addr::LOCALHOST, contradict)?;
    let front = TlsFront::start(behind.address())?;
    let mark = agent.mark()?;
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < PERIOD {
        ask(behind.address())?;
        let mut curl = tool::command("curl")?;
        curl.args(["--silent", "--output", "/dev/null", "--insecure", "--noproxy", "*", "--head"])
            .arg(front.url());
        // It is told that the page behind is bad, or that there is none.
        process::run(&mut curl, LIMIT)?;
        rounds += 1;
        thread::sleep(EVERY);
    }
    let port = front.url().rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
    let of_front = Series::at("traffic_connections_opened_total", port.parse()?, Role::Server);
    let scrape = mark.rises_by_exactly(&[(of_front, rounds)])?;
    let reason = |name| Series::named("traffic_probe_unmeasured_total").with("reason", name);
    for name in ["opaque_protocol", "bad_framing"] {
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let least = rounds as f64;
        ensure!(mark.rise(&scrape, &reason(name)) >= least, "{name} happened too seldom");
    }
    let log = agent.log()?;
    let told = |words: &str| log.lines().filter(|line| line.contains("WARN") && line.contains(words)).count();
    ensure!(told("opaque_protocol") == 0, "what is by design is a warning:\n{log}");
    let behind = behind.port();
    let by_role = ["server", "client"].map(|role| told(&format!(":{behind} ({role}): bad_framing")));
    ensure!(by_role.iter().sum::<usize>() > 0, "nothing is told of a service by its name:\n{log}");
    ensure!(by_role.iter().all(|lines| *lines <= 1), "{by_role:?} lines for two states:\n{log}");
    Ok(())
}
