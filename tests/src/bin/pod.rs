//! What runs in a pod of the tests that have a thousand of them: in a network namespace of its own a server at port 80, and a
//! client that asks it so often, so many milliseconds apart.
//!
//! It says `ready` once it could begin, begins when it is sent a line, says `done`, and stays until its standard input ends.

use std::{
    env,
    io::{self, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process, thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
};
use probe_tests::{http1, netns};

/// The same in every pod, as is the address.
const PORT: u16 = 80;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [door, requests, pause] = &arguments[..] else {
        bail!("usage: pod CGROUP_PROCS REQUESTS MILLISECONDS");
    };
    let (requests, pause): (u32, u64) = (requests.parse()?, pause.parse()?);
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    std::fs::write(door, process::id().to_string()).with_context(|| format!("cannot enter {door}"))?;
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace of its own")?;
    netns::loopback_up()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    thread::spawn(move || listener.incoming().flatten().try_for_each(serve));
    say("ready")?;
    ensure!(io::stdin().read_line(&mut String::new())? > 0, "nobody said when to begin");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    for _ in 0..requests {
        (&stream).write_all(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n")?;
        let head = http1::head(&mut reader)?.context("no answer")?;
        ensure!(head.start.starts_with("HTTP/1.1 200"), "{}", head.start);
        thread::sleep(Duration::from_millis(pause));
    }
    say("done")?;
    // Until the end of it, or of whoever started us.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(word: &str) -> Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.set_nodelay(true)?;
    while http1::head(&mut reader)?.is_some() {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}
