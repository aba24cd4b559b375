//! What the monitor serves: `/metrics`, `/results` and `/healthz`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::history::History;
use crate::export::Format;

/// However short the period, a busy machine may be this late without being ill.
const LATE_AT_LEAST: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Served {
    history: Arc<History>,
    /// A run is over by then, or something is wrong.
    limit: Duration,
}

/// The routes, for runs so far apart that may take so long.
pub(super) fn router(history: Arc<History>, every: Duration, timeout: Duration) -> Router {
    let limit = (every.saturating_add(timeout)).saturating_mul(2).max(LATE_AT_LEAST);
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/results", get(results))
        .route("/healthz", get(health))
        .with_state(Served { history, limit })
}

async fn metrics(State(served): State<Served>) -> Response {
    match served.history.metrics() {
        Ok(text) => ([(CONTENT_TYPE, Format::Text.content_type())], text).into_response(),
        Err(error) => failure(&error),
    }
}

async fn results(State(served): State<Served>) -> Response {
    match serde_json::to_string(&served.history.latest()) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => failure(&error),
    }
}

async fn health(State(served): State<Served>) -> (StatusCode, String) {
    let age = served.history.age();
    if age <= served.limit {
        return (StatusCode::OK, "ok\n".into());
    }
    let sentence = format!("the last run ended {:.0} s ago: see the log\n", age.as_secs_f64());
    (StatusCode::SERVICE_UNAVAILABLE, sentence)
}

fn failure(error: &impl std::error::Error) -> Response {
    tracing::error!("cannot render the results: {error}");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot render the results: {error}\n")).into_response()
}

async fn index() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>traffic-probe monitor</title>",
        "<h1>traffic-probe monitor ",
        env!("CARGO_PKG_VERSION"),
        "</h1><ul>",
        "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>",
        "<li><a href=\"/results\">/results</a>: the last run, as JSON</li>",
        "<li><a href=\"/healthz\">/healthz</a>: 200 while runs come to an end</li>",
        "</ul></html>\n",
    ))
}
