//! Answers, and those that are errors: a sentence in JSON.

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What is wrong, and what to do: a sentence.
    pub error: String,
}

/// What stands in the way of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// There was no pass over the kernel's tables.
    #[error("nothing has been collected yet: try again in a moment")]
    NotYet,
    /// The query makes no sense.
    #[error("{0}")]
    Query(String),
    /// No service of that name, or none that fits the query.
    #[error("no service `{0}` matches: /api/v1/services lists all")]
    NoService(String),
    /// Procfs does not tell.
    #[error("cannot read the node's resource usage: is /proc mounted?")]
    NoNode,
    /// Nothing is there.
    #[error("there is nothing at {0}: /api/v1/openapi.json lists all paths")]
    NoPath(String),
    /// Everything can only be read.
    #[error("{0} is read-only: use GET")]
    Method(String),
    /// As many follow the stream as may.
    #[error("{0} clients follow the stream already, which is the limit: poll /api/v1/services instead")]
    Crowded(usize),
    /// A bug.
    #[error("cannot render the response: {0}; this is a bug, please report it")]
    Internal(String),
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotYet | Self::NoNode | Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::NoService(_) | Self::NoPath(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if let Self::Internal(error) = &self {
            tracing::error!("cannot render an API response: {error}");
        }
        let problem = Problem { error: self.to_string() };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.status(), json(body.into())).into_response();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A document, which is another one after the next tick.
pub(super) fn json(document: Bytes) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from(document)).into_response()
}
