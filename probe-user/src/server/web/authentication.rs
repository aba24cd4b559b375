//! The door: who is admitted, and what every answer bears.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{
        StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    Reception, Web,
    credentials::{Checker, Verdict},
};
use crate::server::{gate, routes};

/// Where requests come in.
#[derive(Clone, Debug)]
pub(in crate::server) struct Door {
    web: Arc<Web>,
    checker: Arc<Checker>,
}

impl Door {
    /// The door of a listener; an error says that this machine gives no random numbers.
    pub(in crate::server) fn new(web: Arc<Web>) -> Result<Self, ring::error::Unspecified> {
        Ok(Self { web, checker: Arc::new(Checker::new()?) })
    }
}

/// Lets a request in, or answers that it has to say who it is. The agent's health is told to everybody: what asks for it,
/// a kubelet say, has no password, and learns nothing but whether the agent works.
pub(in crate::server) async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let reception = door.web.current();
    let free = reception.credentials.are_none() || routes::is_about_health(request.uri().path());
    let verdict = match request.headers().get(AUTHORIZATION).cloned() {
        _ if free => Verdict::Admitted,
        Some(field) => door.checker.check(&reception.credentials, &field).await,
        None => Verdict::Refused,
    };
    let mut response = match verdict {
        Verdict::Admitted => next.run(request).await,
        Verdict::Refused => refused(&reception),
        Verdict::Crowded => gate::crowded("too many passwords are being checked"),
    };
    response.headers_mut().extend(reception.headers.clone());
    response
}

fn refused(reception: &Reception) -> Response {
    let sentence =
        "this takes a name with its password, or a token, and those of the request are not known here\n";
    let mut response = (StatusCode::UNAUTHORIZED, sentence).into_response();
    for challenge in reception.credentials.challenges() {
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    response
}
