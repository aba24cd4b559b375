//! More pods than the table of services has room for, one after the other: each leaves it once it is gone and every scraper has
//! had its counts, however long idle services stay.
//!
//! By default 1,500 of them, with a table of 2,048 and half a minute if the machine can; `TRAFFIC_PROBE_MANY_PODS=1` has the
//! table that the agent has unless told otherwise, scrapes as Prometheus is usually told to, and 6,000 pods in two minutes.

use std::net::{IpAddr, Ipv4Addr};

use aya::maps::{HashMap, MapData};
use probe_common::{
    service::{ServiceEntry, ServiceKey},
    user::{Client as User, ClientKey},
};
use probe_tests::client::{Client, Request};

use super::*;
use crate::expiry;

struct Course {
    /// Flags that say how large the table is.
    table: &'static [&'static str],
    /// Between two scrapes.
    interval: Duration,
    /// Each serves and calls, and so is two services.
    pods: u32,
}

impl Course {
    fn asked_for() -> Self {
        if env::var_os("TRAFFIC_PROBE_MANY_PODS").is_some() {
            Self { table: &[], interval: Duration::from_secs(15), pods: 6000 }
        } else {
            let table = &["--max-services", "2048"];
            Self { table, interval: Duration::from_secs(5), pods: 1500 }
        }
    }
}

/// A scraper as Prometheus is one, with an address of its own.
fn scrape(agent: &Agent<'_>, from: u8) -> Result<String> {
    let mut client = Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), agent.address())?;
    let request = Request::new("GET", "/metrics").header("X-Prometheus-Scrape-Timeout-Seconds: 10");
    let response = client.exchange(&request.header("Connection: close"))?;
    ensure!(response.status == 200, "/metrics answers {}", response.status);
    Ok(String::from_utf8(response.body)?)
}

/// What a scraper has of the table of services, and of what found no room in it.
struct Table {
    entries: f64,
    turned_away: f64,
}

impl Table {
    fn of(agent: &Agent<'_>) -> Result<Self> {
        let scrape = agent.scrape()?;
        let full = Series::named("traffic_probe_unmeasured_total").with("reason", "services_full");
        let entries = Series::named("traffic_probe_table_entries").with("table", "services");
        Ok(Self { entries: scrape.sum(&entries), turned_away: scrape.sum(&full) })
    }
}

/// Whether every user that the kernel knows is one of a service that it knows.
fn every_user_has_a_service(agent: &Agent<'_>) -> Result<bool> {
    let services: HashMap<MapData, ServiceKey, ServiceEntry> = expiry::map(agent, "SERVICES")?.try_into()?;
    let users: HashMap<MapData, ClientKey, User> = expiry::map(agent, "CLIENTS")?.try_into()?;
    let known = services.iter().map(|entry| Ok(entry?.1.index)).collect::<Result<BTreeSet<_>>>()?;
    let of = users.keys().map(|key| Ok(key?.service)).collect::<Result<BTreeSet<_>>>()?;
    Ok(of.is_subset(&known))
}

#[test]
fn pods_that_are_gone_make_room_once_every_scraper_has_had_them() -> Result<()> {
    /// Last parts of the scrapers' addresses.
    const SCRAPERS: [u8; 2] = [2, 3];
    let Course { table, interval, pods } = Course::asked_for();
    let cgroup = Cgroup::new("turnover")?;
    let flags = [&["--kubernetes", "on", "--node-name", "node1"], table].concat();
    let setup = Setup::default().flags(&flags).ticking_every("1s").variable("KUBECONFIG", "/nonexistent");
    let agent = setup.alone().start()?;
    let before = Table::of(&agent)?;
    let seen = SCRAPERS.map(|_| Seen::default());
    let began = Instant::now();
    let (mut expected, over) = (Counts::new(), AtomicBool::new(false));
    let (came, most) = thread::scope(|scope| {
        let (agent, over) = (&agent, &over);
        // One in the middle between two scrapes of the other.
        let mut due = Instant::now();
        let scraping: Vec<_> = SCRAPERS
            .iter()
            .zip(&seen)
            .map(|(&from, seen)| {
                let first = due;
                due += interval / 2;
                scope.spawn(move || -> Result<u32> {
                    let mut times = 0;
                    // And once more when all is over.
                    loop {
                        thread::sleep((first + interval * times).saturating_duration_since(Instant::now()));
                        let is_last = over.load(Ordering::Relaxed);
                        seen.note(counts_in(&scrape(agent, from)?)?);
                        times += 1;
                        if is_last {
                            return Ok(times);
                        }
                    }
                })
            })
            .collect();
        // Somebody looks all the while: what they have had nobody else has.
        let looking = scope.spawn(move || -> Result<f64> {
            let mut most: f64 = 0.0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(Table::of(agent)?.entries);
                thread::sleep(Duration::from_millis(500));
            }
            Ok(most)
        });
        let came = come_and_go(&cgroup, 0, |came, _| came < pods, &mut expected);
        // So that the last of them are in the figures.
        agent.collected()?;
        over.store(true, Ordering::Relaxed);
        let most = looking.join().expect("who looks")?;
        for scraper in scraping {
            println!("a scraper came {} times", scraper.join().expect("a scraper")?);
        }
        Ok::<_, anyhow::Error>((came?, most))
    })?;
    let after = Table::of(&agent)?;
    println!(
        "{came} pods in {:.0} s, {} services one after the other, of which at most {most} were in the table at a time",
        began.elapsed().as_secs_f64(),
        expected.len()
    );
    for (from, seen) in SCRAPERS.iter().zip(&seen) {
        if let Some(wrong) = seen.differences(&expected) {
            bail!("a scraper (127.0.0.{from}) has not had what was sent: {wrong}");
        }
    }
    let lost = after.turned_away - before.turned_away;
    ensure!(lost < 0.5, "{lost} services found no room");
    let in_sequence = expected.len() as f64;
    ensure!(in_sequence > after.entries + 100.0, "all {in_sequence} of them are there: nothing had to leave");
    poll::until("the users of those who left to be forgotten", || {
        Ok(every_user_has_a_service(&agent)?.then_some(()))
    })
}
