//! Series, as many as are wanted: real services, and entries of the kernel's table of latencies that this writes in the
//! kernel's stead, each with a method and a status of its own. A load that made a hundred thousand of them would take
//! minutes to run, and would be a measurement of itself.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Result, bail, ensure};
use aya::{
    maps::{HashMap, Map, MapData, PerCpuHashMap, PerCpuValues, loaded_maps},
    util::nr_cpus,
};
use probe_common::{
    bucket,
    exchange::{LatencyCell, LatencyKey, Span},
    protocol::{Method, Protocol},
    service::{Role, ServiceEntry, ServiceKey},
};
use probe_tests::{
    agent::Agent,
    metrics::{Role as Side, Series},
    poll,
};

/// How many series a service has at most.
const OF_A_SERVICE: u32 = 400;

/// How long each of their requests took.
const TOOK: u64 = 1_000_000;

/// Listeners, each with a connection, so that the probe knows them.
pub(crate) struct Services {
    listeners: Vec<(TcpListener, u16)>,
    #[expect(dead_code, reason = "held open")]
    connections: Vec<[TcpStream; 2]>,
}

impl Services {
    /// As many as it takes for some series.
    pub(crate) fn start(series: u32) -> Result<Self> {
        let (mut listeners, mut connections) = (Vec::new(), Vec::new());
        for _ in 0..series.div_ceil(OF_A_SERVICE) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            connections.push([TcpStream::connect(address)?, listener.accept()?.0]);
            listeners.push((listener, address.port()));
        }
        Ok(Self { listeners, connections })
    }

    /// Writes the entries, and waits until the agent shows all of them.
    pub(crate) fn fill(&self, agent: &Agent, series: u32) -> Result<()> {
        let indices = self.indices(agent)?;
        let mut latencies: PerCpuHashMap<MapData, LatencyKey, LatencyCell> =
            Map::from_map_data(map(agent, "LATENCIES")?)?.try_into()?;
        let mut cells = vec![LatencyCell::default(); nr_cpus().map_err(|(_, error)| error)?];
        cells[0] = LatencyCell { count: 1, sum: TOOK };
        let methods = u32::try_from(Method::ALL.len())?;
        for number in 0..series {
            let within = number % OF_A_SERVICE;
            let key = LatencyKey {
                service: indices[usize::try_from(number / OF_A_SERVICE)?],
                status: u16::try_from(200 + within / methods)?,
                bucket: bucket::of_nanoseconds(TOOK),
                protocol: Protocol::Http1 as u8,
                method: Method::ALL[usize::try_from(within % methods)?] as u8,
                span: Span::Both as u8,
                ..LatencyKey::default()
            };
            latencies.insert(key, PerCpuValues::try_from(cells.clone())?, 0)?;
        }
        poll::until("the agent to show every series", || {
            let scrape = agent.scrape()?;
            let shown = |(_, port): &(TcpListener, u16)| scrape.sum(&Series::requests(*port, Side::Server));
            let shown: f64 = self.listeners.iter().map(shown).sum();
            Ok((shown >= f64::from(series)).then_some(()))
        })
    }

    /// Their indices in the kernel's tables.
    fn indices(&self, agent: &Agent) -> Result<Vec<u32>> {
        let services: HashMap<MapData, ServiceKey, ServiceEntry> =
            Map::from_map_data(map(agent, "SERVICES")?)?.try_into()?;
        let mut indices = Vec::new();
        for entry in &services {
            let (key, entry) = entry?;
            let ours = self.listeners.iter().any(|(_, port)| *port == key.port);
            if ours && key.role == Role::Server as u8 {
                indices.push(entry.index);
            }
        }
        ensure!(indices.len() == self.listeners.len(), "the probe knows {} services", indices.len());
        Ok(indices)
    }
}

/// A map of the agent's.
fn map(agent: &Agent, name: &str) -> Result<MapData> {
    for map in loaded_maps() {
        let Ok(map) = map else { continue };
        let ours = agent.footprint().maps.contains(&u64::from(map.id()));
        if ours && map.name_as_str() == Some(name) {
            return Ok(MapData::from_id(map.id())?);
        }
    }
    bail!("the agent has no map {name}")
}
