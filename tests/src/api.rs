//! The agent's JSON API: what it is described to answer, and the metrics that its figures are.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::{
    agent::Agent,
    metrics::{Scrape, Series},
    poll,
};

/// A figure of a document, with the series that must be the same.
#[derive(Debug)]
pub struct Figure {
    /// Where it is in the document.
    pub place: String,
    /// What it is there.
    pub value: f64,
    /// What it is among the metrics.
    pub series: Series,
}

/// What the agent says of its API.
#[derive(Debug)]
pub struct Description {
    document: Value,
}

/// Asks for a document that must be there.
pub fn document(agent: &Agent<'_>, path: &str) -> Result<Value> {
    let response = agent.get(path)?;
    ensure!(response.status == 200, "{path} answers {}: {:?}", response.status, response.body);
    serde_json::from_slice(&response.body).with_context(|| format!("{path} is no JSON"))
}

/// A document, and the metrics of the same pass over the kernel's tables: no two took equally long, to the nanosecond.
pub fn with_metrics(agent: &Agent<'_>, path: &str) -> Result<(Value, Scrape)> {
    poll::until("a document and metrics of one tick", || {
        let (document, scrape) = (document(agent, path)?, agent.scrape()?);
        let took = document["tick"]["collection_seconds"].as_f64();
        Ok((took == scrape.get(&Series::named("traffic_probe_collection_seconds")))
            .then_some((document, scrape)))
    })
}

impl Description {
    /// Asks the agent.
    pub fn of(agent: &Agent<'_>) -> Result<Self> {
        Ok(Self { document: document(agent, "/api/v1/openapi.json")? })
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The paths that there are.
    pub fn paths(&self) -> Result<Vec<&str>> {
        let paths = self.document["paths"].as_object().context("paths")?;
        Ok(paths.keys().map(String::as_str).collect())
    }

    /// Fails unless an answer is exactly what is described for its path and status: each field that is described, and no
    /// other. To clients the description says less, so that fields may be added.
    pub fn describes(&self, path: &str, status: u16, answer: &Value) -> Result<()> {
        let content = &self.document["paths"][path]["get"]["responses"][status.to_string()]["content"];
        let (_, body) = content
            .as_object()
            .and_then(|kinds| kinds.iter().next())
            .with_context(|| format!("{path} is not described to answer {status}"))?;
        let mut components = self.document["components"].clone();
        for (_, schema) in components["schemas"].as_object_mut().context("schemas")? {
            close(schema);
        }
        let mut schema = body["schema"].clone();
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["components"] = components;
        let validator = jsonschema::validator_for(&schema)?;
        let errors: Vec<_> = validator
            .iter_errors(answer)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        ensure!(errors.is_empty(), "{path}, {status}, is not as described: {errors:#?}");
        Ok(())
    }
}

/// Demands all fields of an object, and no others.
fn close(schema: &mut Value) {
    let names =
        schema["properties"].as_object().map(|properties| properties.keys().cloned().collect::<Vec<_>>());
    if let Some(names) = names {
        schema["required"] = names.into();
        schema["additionalProperties"] = false.into();
    }
}

/// The figures of a service, each of which is a metric.
pub fn figures_of_service(service: &Value) -> Result<Vec<Figure>> {
    let text = |field: &str| service[field].as_str().with_context(|| format!("{field} of {service}"));
    let transport = if text("transport")? == "udp" { "udp" } else { "" };
    let (name, role) = (text("service")?.to_owned(), text("role")?.to_owned());
    let port = service["port"].as_u64().context("port")?;
    let identified = |metric: &str| {
        let series = Series::of(format!("traffic_{metric}")).with("service", &name).with("port", port);
        // Users and tiers are a server's.
        let of_servers = metric == "concurrent_users" || metric.starts_with("tier");
        if of_servers { series } else { series.with("role", &role) }.with("transport", transport)
    };
    let mut figures = Vec::new();
    let fields = service.as_object().context("a service is an object")?;
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("service" | "role" | "transport" | "port" | "kubernetes", _) | (_, Value::Null) => {}
            ("connections", connections) => figures.extend(fields_of(field, connections, &identified)?),
            ("requests", requests) => {
                for (index, of_protocol) in requests.as_array().context("requests")?.iter().enumerate() {
                    figures.extend(figures_of_requests(
                        &format!("requests/{index}"),
                        of_protocol,
                        &identified,
                    )?);
                }
            }
            ("peers", peers) => {
                for peer in peers.as_array().context("peers")? {
                    let of_peer = |metric: &str| {
                        ["peer", "peer_namespace", "peer_pod", "peer_service"]
                            .into_iter()
                            .fold(identified(metric), |series, label| {
                                series.with(label, peer[label].as_str().unwrap_or_default())
                            })
                    };
                    figures.extend(fields_of("peers", peer, &of_peer)?);
                }
            }
            ("tier", tier) => figures.extend(figures_of_tier(tier, &identified)?),
            ("resources", resources) => figures.extend(figures_of_resources(resources, &|metric| {
                Series::of(format!("traffic_service_{metric}")).with("service", &name)
            })?),
            (metric, value) => figures.extend(figures_of(metric, value, &identified(metric))?),
        }
    }
    Ok(figures)
}

/// The figures of what crossed an interface.
pub fn figures_of_interface(interface: &Value) -> Result<Vec<Figure>> {
    let name = interface["interface"].as_str().context("the name of an interface")?;
    let mut figures = Vec::new();
    for traffic in interface["traffic"].as_array().context("traffic")? {
        let identified = |metric: &str| {
            let series = Series::of(format!("traffic_interface_{metric}")).with("interface", name);
            ["direction", "family", "transport"]
                .into_iter()
                .fold(series, |series, label| series.with(label, traffic[label].as_str().unwrap_or_default()))
        };
        figures.extend(fields_of(name, traffic, &identified)?);
    }
    Ok(figures)
}

/// The numbers among the fields of an object, each a metric by its name.
pub fn fields_of(place: &str, object: &Value, identified: &dyn Fn(&str) -> Series) -> Result<Vec<Figure>> {
    let fields = object.as_object().with_context(|| format!("{place} is no object"))?;
    let mut figures = Vec::new();
    for (metric, value) in fields.iter().filter(|(_, value)| !value.is_null() && !value.is_string()) {
        figures.extend(figures_of(&format!("{place}/{metric}"), value, &identified(metric))?);
    }
    Ok(figures)
}

fn figures_of_requests(
    place: &str,
    requests: &Value,
    identified: &dyn Fn(&str) -> Series,
) -> Result<Vec<Figure>> {
    let mut plain = requests.as_object().context("requests of a protocol")?.clone();
    let protocol = requests["protocol"].as_str().context("protocol")?;
    let of_protocol = |metric: &str| identified(metric).with("protocol", protocol);
    let mut figures = Vec::new();
    for kind in taken(&mut plain, "kinds")? {
        let labels = ["method", "status", "route"];
        let of_kind = |metric: &str| {
            labels.into_iter().fold(of_protocol(metric), |series, label| {
                series.with(label, kind[label].as_str().unwrap_or_default())
            })
        };
        figures.extend(fields_of(&format!("{place}/kinds"), &kind, &of_kind)?);
    }
    for phase in taken(&mut plain, "request_phase_seconds")? {
        let series =
            of_protocol("request_phase_seconds").with("phase", phase["phase"].as_str().context("phase")?);
        let sums = json!({ "count": phase["count"], "sum": phase["sum"] });
        figures.extend(figures_of(&format!("{place}/request_phase_seconds"), &sums, &series)?);
    }
    figures.extend(fields_of(place, &Value::Object(plain), &of_protocol)?);
    Ok(figures)
}

fn taken(fields: &mut Map<String, Value>, field: &str) -> Result<Vec<Value>> {
    match fields.remove(field) {
        Some(Value::Array(values)) => Ok(values),
        other => bail!("{field} is no list: {other:?}"),
    }
}

fn figures_of_tier(tier: &Value, identified: &dyn Fn(&str) -> Series) -> Result<Vec<Figure>> {
    let class = tier["class"].as_str().context("class")?;
    let mut figures: Vec<_> = ["low", "normal", "high"]
        .into_iter()
        .map(|each| Figure {
            place: "tier/class".to_owned(),
            value: f64::from(u8::from(class == each)),
            series: identified("tier").with("tier", each),
        })
        .collect();
    figures.push(Figure {
        place: "tier/rising".to_owned(),
        value: f64::from(u8::from(tier["rising"].as_bool().context("rising")?)),
        series: identified("tier_rising"),
    });
    figures.extend(figures_of("tier/load_ratio", &tier["load_ratio"], &identified("tier_load_ratio"))?);
    Ok(figures)
}

/// The figures of what a service or the node uses.
pub fn figures_of_resources(resources: &Value, identified: &dyn Fn(&str) -> Series) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (metric, value) in resources.as_object().context("resources")? {
        let series = identified(metric);
        match value {
            Value::Null => {}
            Value::Array(parts) => {
                for part in parts {
                    let labels = part.as_object().context("a part")?.iter();
                    let series = labels
                        .filter_map(|(label, value)| Some((label.as_str(), value.as_str()?)))
                        .fold(series.clone(), |series, (label, value)| {
                            series.with(known_label(label), value)
                        });
                    figures.extend(figures_of(metric, &part["seconds"], &series)?);
                }
            }
            Value::Object(parts) => {
                let label = if metric == "load" { "period" } else { "state" };
                for (part, value) in parts {
                    figures.extend(figures_of(metric, value, &series.clone().with(label, part))?);
                }
            }
            value => figures.extend(figures_of(metric, value, &series)?),
        }
    }
    Ok(figures)
}

fn known_label(field: &str) -> &'static str {
    ["resource", "extent", "mode"].into_iter().find(|label| *label == field).unwrap_or("unknown")
}

/// A number, or an object whose fields are the values of a label.
fn figures_of(place: &str, value: &Value, series: &Series) -> Result<Vec<Figure>> {
    if let Some(value) = value.as_f64() {
        return Ok(vec![Figure { place: place.to_owned(), value, series: series.clone() }]);
    }
    let fields = value.as_object().with_context(|| format!("{place} is {value}"))?;
    fields
        .iter()
        .map(|(field, value)| {
            let series = match field.as_str() {
                "receive" | "transmit" => series.clone().with("direction", field),
                "success" | "failure" | "cancelled" => series.clone().with("outcome", field),
                "client" | "server" => series.clone().with("by", field),
                "count" | "sum" => series.clone().suffixed(&format!("_{field}")),
                "avg" => series.clone().with("quantile", field),
                // `p95` is the quantile 0.95.
                _ => {
                    let percent: f64 =
                        field.trim_start_matches('p').parse().with_context(|| format!("{place}/{field}"))?;
                    series.clone().with("quantile", percent / 100.0)
                }
            };
            let value = value.as_f64().with_context(|| format!("{place}/{field} is {value}"))?;
            Ok(Figure { place: format!("{place}/{field}"), value, series })
        })
        .collect()
}
