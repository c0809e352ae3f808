//! What the log shows of itself to those who do not trust it: checkpoints, growth between two of
//! them, tiles, and the key that auditors pin. No entry's sealed part is in any of it.

use crate::format::tile::TilePath;
use crate::policy::access::Permission;
use crate::server::app::work;
use crate::server::caller::Caller;
use crate::server::identity::principal::Scope;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::routes::events::{plain, size};
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The newest signed checkpoint: everything acknowledged before the request is in it.
#[utoipa::path(
    get, path = "/v1/checkpoint", tag = "proofs",
    responses((status = 200, description = "A C2SP signed note", body = String,
               content_type = "text/plain"))
)]
pub async fn checkpoint(caller: Caller) -> Result<Response, Problem> {
    caller.may_for_some(Permission::ProofsRead)?;
    work(move || Ok(plain(caller.vault.checkpoint()?.to_string()))).await
}

/// Between which sizes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Growth {
    /// Size of the older checkpoint.
    from: String,
}

/// Proves that the log grew out of an older checkpoint.
#[utoipa::path(
    get, path = "/v1/growth", tag = "proofs", params(Growth),
    responses((status = 200, description = "The older size, hashes, the newest checkpoint",
               body = String, content_type = "text/plain"))
)]
pub async fn growth(caller: Caller, Query(growth): Query<Growth>) -> Result<Response, Problem> {
    caller.may_for_some(Permission::ProofsRead)?;
    let old = size(&growth.from).ok_or_else(|| {
        Problem::bad("PARAMETER_VALUE", "give the size of an older checkpoint").field("from")
    })?;
    work(move || Ok(plain(caller.vault.prove_growth(old)?))).await
}

/// A tile of the log (C2SP tlog-tiles).
#[utoipa::path(
    get, path = "/v1/tile/{path}", tag = "proofs",
    params(("path" = String, Path, description = "`entries/x001/234.p/5`, `0/000`")),
    responses((status = 200, description = "Hashes or entries", body = Vec<u8>,
               content_type = "application/octet-stream"),
              (status = 404, description = "The log has not grown to it"))
)]
pub async fn tile(caller: Caller, Path(path): Path<String>) -> Result<Response, Problem> {
    caller.may_for_some(Permission::ProofsRead)?;
    let mut tile = TilePath::parse(&format!("tile/{path}"));
    if path.starts_with("entries") {
        // Bundles show the skeletons of every source: whoever is held to some of them sees hashes
        // only.
        let scope = caller.scope(Permission::EventsRead)?;
        tile = tile.filter(|_| scope == Scope::All);
    }
    let tile = tile.ok_or_else(|| Problem::absent("TILE_UNKNOWN"))?;
    work(move || {
        let bytes = caller.vault.tile(tile)?;
        let kept = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CACHE_CONTROL, "private, immutable, max-age=31536000"),
        ];
        Ok((kept, bytes).into_response())
    })
    .await
}

/// Who signs.
#[derive(Serialize, ToSchema)]
pub struct Keys {
    /// Origin line of checkpoints.
    origin: String,
    /// Verifier key of the log, C2SP vkey.
    log: String,
    /// Verifier key of reports and receipts, C2SP vkey.
    reports: String,
    /// Entries committed.
    size: String,
}

/// The keys that verify this log. What came over this connection is no reason to trust them:
/// compare their fingerprints by another way.
#[utoipa::path(
    get, path = "/v1/keys", tag = "proofs",
    responses((status = 200, description = "Public keys", body = Keys))
)]
pub async fn keys(caller: Caller) -> Result<Answer<Keys>, Problem> {
    caller.may_for_some(Permission::KeysRead)?;
    let vault = &caller.vault;
    Ok(ok(Keys {
        origin: vault.origin().to_owned(),
        log: vault.log_key().to_string(),
        reports: vault.report_signer().verifier().to_string(),
        size: text(&vault.size().0),
    }))
}
