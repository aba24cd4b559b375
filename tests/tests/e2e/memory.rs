//! What the kernel's tables take of memory is what the agent says, by the kernel's own account.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use aya::maps::loaded_maps;
use probe_tests::{
    agent::{Agent, Setup},
    expect::within,
    metrics::Series,
};

/// The maps that have the size of each setting.
const TABLES: [(&str, &[&str]); 6] = [
    (
        "services",
        &[
            "SERVICES",
            "FREE_SERVICES",
            "COUNTERS",
            "SERVICE_ENTRIES",
            "SAMPLED_ENTRIES",
            "AGES",
            "OLD_AGES",
            "INDEX_STATES",
            "ROUTE_COUNTS",
        ],
    ),
    ("series", &["LATENCIES"]),
    ("clients", &["CLIENTS"]),
    ("sampled_clients", &["SAMPLED"]),
    ("routes", &["ROUTES"]),
    ("peers", &["PEERS", "OTHER_PEERS", "PEER_COUNTS", "LEAVING_PEERS"]),
];

/// Bytes of each of an agent's maps, by its name (`memlock` of its descriptor, which since kernel 6.4 is what it really takes).
fn account(agent: &Agent<'_>) -> Result<BTreeMap<String, u64>> {
    let mut names = BTreeMap::new();
    for map in loaded_maps().flatten() {
        names.insert(map.id().to_string(), map.name_as_str().unwrap_or_default().to_owned());
    }
    let mut bytes = BTreeMap::new();
    let directory = Path::new("/proc").join(agent.id().to_string()).join("fdinfo");
    for entry in fs::read_dir(directory)? {
        // A descriptor may be closed in between.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let (Some(id), Some(taken)) = (field("map_id:"), field("memlock:")) {
            let name = names.get(id).with_context(|| format!("there is no map {id}"))?;
            bytes.insert(name.clone(), taken.parse()?);
        }
    }
    Ok(bytes)
}

fn tables_take_what_the_agent_says(flags: &[&str]) -> Result<()> {
    let agent = Setup::default().flags(flags).start()?;
    let account = account(&agent)?;
    let scrape = agent.collected()?;
    let mut of_tables = 0;
    for (table, maps) in TABLES {
        let of_map =
            |map: &&str| account.get(*map).copied().with_context(|| format!("the agent has no map {map}"));
        let truth: u64 = maps.iter().map(of_map).sum::<Result<u64>>()?;
        let series = Series::named("traffic_probe_table_bytes").with("table", table);
        if let Some(told) = scrape.get(&series) {
            within(0.01, table, told, truth as f64)?;
            of_tables += truth;
        }
    }
    let all: u64 = account.values().sum();
    println!("{flags:?}: {of_tables} bytes of tables, {} of {} other maps", all - of_tables, account.len());
    ensure!(all - of_tables < 4 << 20, "something large is in no table: {account:?}");
    Ok(())
}

#[test]
fn tables_of_the_usual_sizes_take_what_the_agent_says() -> Result<()> {
    tables_take_what_the_agent_says(&[])
}

#[test]
fn tables_of_other_sizes_take_what_the_agent_says() -> Result<()> {
    let sizes = ["--max-services", "3000", "--max-series", "50000", "--max-clients", "100000"];
    let others = ["--routes", "--max-routes", "5000", "--peers", "--max-peers", "7000"];
    tables_take_what_the_agent_says(&[&sizes[..], &others].concat())
}
