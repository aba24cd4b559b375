//! What is served at which path.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, response::Html, routing::get};

use super::metrics::metrics;
use crate::{api, export::Exposition, latest::Latest, scrapers::Scrapers};

/// However short the interval, a busy machine may be this late without being ill.
const LATE_AT_LEAST: Duration = Duration::from_secs(5);

/// What the server serves.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where reports are found.
    pub latest: Arc<Latest>,
    /// What renders them.
    pub exposition: Exposition,
    /// Where it is noted who has had them.
    pub scrapers: Arc<Scrapers>,
    /// How often a report is due.
    pub interval: Duration,
}

/// The paths at which the agent is asked for its health.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// Whether this path tells the agent's health, and nothing else.
pub(super) fn is_about_health(path: &str) -> bool {
    HEALTH.contains(&path)
}

/// The server's routes.
pub fn router(service: Service) -> Router {
    let api = api::router(&service.latest);
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route(HEALTH[0], get(health))
        .route(HEALTH[1], get(readiness))
        .with_state(service)
        .merge(api)
}

async fn health(State(service): State<Service>) -> (StatusCode, String) {
    let age = service.latest.collected().elapsed();
    let limit = (service.interval * 3).max(LATE_AT_LEAST);
    if age <= limit {
        return (StatusCode::OK, "ok\n".into());
    }
    let sentence = format!(
        "the last pass over the kernel's tables was {:.1} s ago, and one is due every {:.1} s: see the log\n",
        age.as_secs_f64(),
        service.interval.as_secs_f64(),
    );
    (StatusCode::SERVICE_UNAVAILABLE, sentence)
}

async fn readiness(State(service): State<Service>) -> (StatusCode, &'static str) {
    match service.latest.get() {
        Some(_) => (StatusCode::OK, "ready\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing was collected yet\n"),
    }
}

async fn index() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>traffic-probe</title>",
        "<h1>traffic-probe ",
        env!("CARGO_PKG_VERSION"),
        "</h1><ul>",
        "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>",
        "<li><a href=\"/api/v1/services\">/api/v1/services</a>: as JSON; ",
        "<a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a> describes all of it</li>",
        "<li><a href=\"/healthz\">/healthz</a>: 200 while the probe collects</li>",
        "<li><a href=\"/readyz\">/readyz</a>: 200 once it has collected</li>",
        "</ul></html>\n",
    ))
}
