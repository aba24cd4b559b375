//! What of the services is asked for.

use std::{error::Error, num::NonZeroU32};

use axum::{extract::Query, http::Uri};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{Role, answer::Failure};
use crate::{config::with_nearest, snapshot::ServiceId};

/// Which services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ServiceFilter {
    /// Only those in this role.
    pub(super) role: Option<Role>,
    /// Only those at this port.
    pub(super) port: Option<u16>,
}

/// Which tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TierFilter {
    /// Only those of services at this port.
    pub(super) port: Option<u16>,
}

/// How much of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamFilter {
    /// Only so many events, and then the end: for clients that read an answer as a whole.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(super) events: Option<NonZeroU32>,
}

impl ServiceFilter {
    pub(super) fn admits(self, id: &ServiceId) -> bool {
        self.role.is_none_or(|role| Role::from(id.role) == role)
            && self.port.is_none_or(|port| id.port == port)
    }
}

/// Reads a query; what it does not understand is refused, since an answer that ignores it would be taken for another.
pub(super) fn parse<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    Query::try_from_uri(uri).map(|Query(filter)| filter).map_err(|refused| {
        let said = refused.source().map_or_else(|| refused.to_string(), ToString::to_string);
        // "rol: unknown field `rol`, expected `role` or `port`"
        let (before, message) = said.split_at(said.find("unknown ").unwrap_or_default());
        let query = uri.query().unwrap_or_default();
        Failure::Query(format!("the query `{query}` is not understood: {before}{}", with_nearest(message)))
    })
}
