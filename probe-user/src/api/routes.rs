//! What is served at which path.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
    response::Response,
    routing::any,
};
use tokio::sync::Semaphore;
use utoipa::{OpenApi, openapi::OpenApi as Document};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Event, Features, Interfaces, Node, Problem, Services, Tiers,
    answer::{self, Failure},
    description::Description,
    documents::{Current, Documents},
    filter::{self, ServiceFilter, StreamFilter, TierFilter},
    stream::{self, MAX_SUBSCRIBERS},
};
use crate::latest::Latest;

/// What the API serves from.
#[derive(Clone, Debug)]
struct Api {
    latest: Arc<Latest>,
    documents: Arc<Documents>,
    subscribers: Arc<Semaphore>,
}

type Answer = Result<Response, Failure>;

/// The API's routes.
pub fn router(latest: &Arc<Latest>) -> Router {
    let api = Api {
        latest: Arc::clone(latest),
        documents: Arc::new(Documents::new(Arc::clone(latest))),
        subscribers: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
    };
    let (router, _) = described().split_for_parts();
    router
        .method_not_allowed_fallback(wrong_method)
        // Below the API, what is not there is answered in JSON, too.
        .route("/api/{*path}", any(absent))
        .with_state(api)
}

/// The routes, each with its description: there is none without.
fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(services))
        .routes(routes!(service))
        .routes(routes!(interfaces))
        .routes(routes!(node))
        .routes(routes!(features))
        .routes(routes!(tiers))
        .routes(routes!(follow))
        .routes(routes!(openapi))
}

/// The description of the API.
pub(super) fn document() -> Document {
    described().into_openapi()
}

/// The services of this node
///
/// Totals since the agent started, and rates over the window. Each name may be there several times: by port, role and
/// transport.
#[utoipa::path(
    get, path = "/api/v1/services", tag = "traffic", operation_id = "services", params(ServiceFilter),
    responses(
        (status = 200, description = "The services that fit", body = Services),
        (status = 400, description = "A query that is not understood", body = Problem),
        (status = 503, description = "Nothing was collected yet", body = Problem),
    ),
)]
async fn services(State(api): State<Api>, uri: Uri) -> Answer {
    let filter: ServiceFilter = filter::parse(&uri)?;
    api.render(move |current| match current.services(|id| filter.admits(id))? {
        Some(services) => Ok(services),
        None => Ok(current.no_services()?),
    })
    .await
}

/// A service by its name
#[utoipa::path(
    get, path = "/api/v1/services/{name}", tag = "traffic", operation_id = "service",
    params(("name" = String, Path, description = "The value of the label `service`"), ServiceFilter),
    responses(
        (status = 200, description = "The services of that name that fit", body = Services),
        (status = 400, description = "A query or a name that is not understood", body = Problem),
        (status = 404, description = "No service of that name fits", body = Problem),
        (status = 503, description = "Nothing was collected yet", body = Problem),
    ),
)]
async fn service(State(api): State<Api>, name: Result<Path<String>, PathRejection>, uri: Uri) -> Answer {
    let Path(name) = name.map_err(|refused| Failure::Query(format!("no name of a service: {refused}")))?;
    let filter: ServiceFilter = filter::parse(&uri)?;
    api.render(move |current| {
        let found = current.services(|id| id.name() == name && filter.admits(id))?;
        found.ok_or(Failure::NoService(name))
    })
    .await
}

/// The interfaces of this node, and all of them together
#[utoipa::path(
    get, path = "/api/v1/interfaces", tag = "traffic", operation_id = "interfaces",
    responses(
        (status = 200, description = "The interfaces that are counted", body = Interfaces),
        (status = 503, description = "Nothing was collected yet", body = Problem),
    ),
)]
async fn interfaces(State(api): State<Api>) -> Answer {
    api.render(|current| Ok(current.interfaces()?)).await
}

/// What the node uses: CPU, memory, load and pressure
#[utoipa::path(
    get, path = "/api/v1/node", tag = "traffic", operation_id = "node",
    responses(
        (status = 200, description = "What procfs tells", body = Node),
        (status = 503, description = "Nothing was collected yet, or procfs cannot be read", body = Problem),
    ),
)]
async fn node(State(api): State<Api>) -> Answer {
    api.render(|current| current.node()?.ok_or(Failure::NoNode)).await
}

/// What of that which the probe can do is in force here
///
/// Of what is missing: why, what is lost, and how to get it.
#[utoipa::path(
    get, path = "/api/v1/features", tag = "traffic", operation_id = "features",
    responses(
        (status = 200, description = "The features that were wanted", body = Features),
        (status = 503, description = "Nothing was collected yet", body = Problem),
    ),
)]
async fn features(State(api): State<Api>) -> Answer {
    api.render(|current| Ok(current.features()?)).await
}

/// The tier of each server, and what it calls for
#[utoipa::path(
    get, path = "/api/v1/tiers", tag = "traffic", operation_id = "tiers", params(TierFilter),
    responses(
        (status = 200, description = "The tiers, after the thresholds in force", body = Tiers),
        (status = 400, description = "A query that is not understood", body = Problem),
        (status = 503, description = "Nothing was collected yet", body = Problem),
    ),
)]
async fn tiers(State(api): State<Api>, uri: Uri) -> Answer {
    let filter: TierFilter = filter::parse(&uri)?;
    api.render(move |current| Ok(current.tiers(|id| filter.port.is_none_or(|port| id.port == port))?)).await
}

/// The ticks as they come
///
/// Server-sent events: one of type `tick` for each pass over the kernel's tables, whose data is an `Event`; the latest
/// one comes at once. Who reads too slowly misses some, of which nothing is kept.
#[utoipa::path(
    get, path = "/api/v1/stream", tag = "traffic", operation_id = "stream", params(StreamFilter),
    responses(
        (status = 200, description = "Events for as long as the client stays", body = Event, content_type = "text/event-stream"),
        (status = 400, description = "A query that is not understood", body = Problem),
        (status = 503, description = "As many follow already as may", body = Problem),
    ),
)]
async fn follow(State(api): State<Api>, uri: Uri) -> Answer {
    let StreamFilter { events } = filter::parse(&uri)?;
    stream::follow(api.documents, api.latest.follow(), api.subscribers, events)
}

/// This document
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "description", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
async fn openapi() -> Answer {
    static DOCUMENT: LazyLock<Result<Bytes, String>> =
        LazyLock::new(|| document().to_json().map(Bytes::from).map_err(|error| error.to_string()));
    DOCUMENT.clone().map(answer::json).map_err(Failure::Internal)
}

async fn absent(uri: Uri) -> Failure {
    Failure::NoPath(uri.path().to_owned())
}

async fn wrong_method(uri: Uri) -> Failure {
    Failure::Method(uri.path().to_owned())
}

impl Api {
    /// Answers with a document of the latest report. Serialising a large node takes a while: not on a thread that others
    /// wait for.
    async fn render(
        &self,
        document: impl FnOnce(&Current) -> Result<Bytes, Failure> + Send + 'static,
    ) -> Answer {
        let documents = Arc::clone(&self.documents);
        let rendered = tokio::task::spawn_blocking(move || {
            let current = documents.current().ok_or(Failure::NotYet)?;
            document(&current)
        });
        let document = rendered.await.map_err(|error| Failure::Internal(error.to_string()))??;
        Ok(answer::json(document))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.to_string())
    }
}
