//! The description of the API, by which clients and their makers know it: `OpenAPI` 3.1.

use utoipa::OpenApi;

/// What is said of the API as a whole. Paths and schemas come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "traffic-probe",
        version = "1.0.0",
        description = "What traffic-probe counted on this node. Fields have the names, units and values of the metrics \
                       at /metrics, without `traffic_` before them. All figures of an answer are of one pass over the \
                       kernel's tables. Fields may be added; clients have to pass over those that they do not know.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "http://127.0.0.1:9464", description = "The agent, where it listens unless told otherwise (--listen)")),
    tags((name = "traffic", description = "What was counted"), (name = "description", description = "This document"))
)]
pub(super) struct Description;
