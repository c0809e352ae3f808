//! Corrections of events (GDPR Art. 16): other values for sealed fields, in an entry of their own
//! that is linked both ways. No event is ever changed, and no answer repeats a value.

use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, text};
use crate::server::problem::Problem;
use crate::server::routes::events;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is right.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Correcting {
    /// Sealed fields of the event by name, each with the value that is right: any JSON.
    #[schema(value_type = Object)]
    fields: BTreeMap<String, Box<RawValue>>,
    /// Why; sealed under the persons in the correction. At most 1,024 bytes.
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// A correction.
#[derive(Serialize, ToSchema)]
pub struct Corrected {
    /// Index of the correction.
    index: String,
    /// Index of the event that it corrects.
    corrects: String,
}

/// Corrects sealed fields of an event by an entry of its own; the event stays as it is.
#[utoipa::path(
    post, path = "/v1/events/{index}/corrections", tag = "events", request_body = Correcting,
    params(("index" = String, Path, description = "Place in the log")),
    responses((status = 201, description = "Corrected", body = Corrected),
              (status = 404, description = "No such entry, or nobody known any more"),
              (status = 410, description = "The field was erased or has expired"))
)]
pub async fn correct(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Corrected>, Problem> {
    let scope = caller.scope(Permission::EventsCorrect)?;
    let Correcting { fields, reason } = app.wish(&headers, body).await?;
    work(move || {
        let vault = &*caller.vault;
        let event = events::entry(&caller, &scope, &path)?.index;
        let values = fields.into_iter().map(|(name, value)| (name, value.get().into()));
        let values: BTreeMap<String, Vec<u8>> = values.collect();
        let index = vault.correct(event, &values, &reason, &caller.principal.spoken())?;
        vault.checkpoint()?;
        let corrected = Corrected { index: text(&index), corrects: text(&event) };
        Ok(Answer(StatusCode::CREATED, corrected))
    })
    .await
}
