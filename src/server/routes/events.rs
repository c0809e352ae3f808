//! Reading events: pages by filter and time, one record, its proof, and personal fields for a
//! stated purpose. Masked unless opened; whoever opens is in the log first. It never tells a
//! caller about sources that are not its own.

use crate::base::entry::{Entry, Kind};
use crate::base::id::SourceHandle;
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::format::control::Ground;
use crate::policy::access::Permission;
use crate::query::filter::{Filter, Names};
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::cursor::{self, Place};
use crate::server::identity::principal::Scope;
use crate::server::json::{Answer, ok, text};
use crate::server::metrics;
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::routes::view::Event;
use crate::vault::Vault;
use crate::vault::correct::corrects;
use crate::vault::disclose::{Look, Told};
use crate::vault::read::Reading;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Records of a page at most.
const PAGE_MAX: u64 = 200;
/// Records of a page unless asked otherwise.
const PAGE: u64 = 50;
/// Entries looked at for one page at most: about a second of reading.
const LOOKED_AT_MAX: u64 = 1_000_000;

/// Which events.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `event`, or an act of the vault.
    kind: Option<String>,
    /// Word of the vocabulary.
    category: Option<String>,
    /// Word of the vocabulary.
    verb: Option<String>,
    /// `category.verb`.
    code: Option<String>,
    /// `success`, `failure`, ...
    outcome: Option<String>,
    /// Retention class, by name.
    class: Option<String>,
    /// Source, by name.
    source: Option<String>,
    /// Least severity, 0 to 10.
    severity_from: Option<u8>,
    /// Log time from, RFC 3339 or a day.
    from: Option<String>,
    /// Log time before, RFC 3339 or a day.
    to: Option<String>,
    /// First index.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,20}$")]
    index_from: Option<u64>,
    /// Records a page, at most 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u64>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
pub struct Page {
    /// Records, in the order of the log.
    events: Vec<Event>,
    /// Where the next page begins; none when there is none. A page may be short, or empty, and
    /// still have a next one: so many entries were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// Entries of the log that this query runs over.
    size: String,
}

/// Lists events, masked.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", params(Wanted),
    responses((status = 200, description = "A page", body = Page))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<Page>, Problem> {
    let scope = caller.scope(Permission::EventsRead)?;
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        let problem = Problem::bad("PARAMETER_VALUE", "ask for 1 to 200 records a page");
        return Err(problem.field("limit").limit(PAGE_MAX));
    }
    work(move || page(&app, (&caller, &scope), &wanted, limit).map(ok)).await
}

fn page(
    app: &App,
    (caller, scope): (&Caller, &Scope),
    wanted: &Wanted,
    limit: u64,
) -> Result<Page, Problem> {
    let vault = &*caller.vault;
    let filter = filter(vault, wanted)?;
    let sources = allowed(caller, scope);
    let query = format!("{filter:?} {sources:?} {limit}");
    let query = cursor::Query {
        tenant: &caller.principal.tenant,
        caller: &caller.principal.who.document().0,
        text: &query,
    };
    let now = vault.clock().now();
    let place = match &wanted.cursor {
        Some(text) => app.cursors.open(&query, text, now)?,
        None => Place { next: vault.first_at(UtcNanos(filter.time.from))?, size: vault.size() },
    };
    let mut found = Vec::new();
    let mut later = false;
    let range = place.next..EntryIndex(place.size.0);
    let next = vault.search_range(&filter, range, LOOKED_AT_MAX, &mut |entry| {
        later = entry.time_log.0 > filter.time.to;
        if !later && visible(&entry, sources.as_ref()) {
            found.push(entry.index);
        }
        let full = found.len() as u64 >= limit;
        if full || later { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let end = EntryIndex(place.size.0.min(filter.index.to.saturating_add(1)));
    let more = next < end && !past(vault, next, &filter)?;
    let mut events = Vec::with_capacity(found.len());
    for index in found {
        let record = vault.record(index, Reading::OPEN)?;
        events.push(Event::of(vault, &record, &|_| false));
    }
    let cursor = more.then(|| app.cursors.seal(&query, Place { next, size: place.size }, now));
    Ok(Page { events, cursor, size: text(&place.size.0) })
}

/// Whether every entry from here on is later than the filter's last instant.
fn past(vault: &Vault, next: EntryIndex, filter: &Filter) -> Result<bool, Problem> {
    Ok(filter.time.to < u64::MAX && vault.entry(next)?.time_log.0 > filter.time.to)
}

/// The sources a caller is held to, as handles; none means every one.
fn allowed(caller: &Caller, scope: &Scope) -> Option<BTreeSet<SourceHandle>> {
    let Scope::Sources(names) = scope else { return None };
    Some(names.iter().map(|name| caller.vault.keys().source_handle(name)).collect())
}

/// Whoever is held to some sources sees their events only, and no act of the vault.
fn visible(entry: &Entry, sources: Option<&BTreeSet<SourceHandle>>) -> bool {
    let Some(sources) = sources else { return true };
    entry.head.kind == Kind::Event && sources.contains(&entry.head.source)
}

fn filter(vault: &Vault, wanted: &Wanted) -> Result<Filter, Problem> {
    let policies = vault.policies();
    // Each term with the parameter it came in.
    let mut terms: Vec<(&str, String)> = Vec::new();
    let mut term = |parameter: &'static str, start: &str, value: &Option<String>| {
        terms.extend(value.as_ref().map(|value| (parameter, format!("{start}{value}"))));
    };
    term("kind", "kind=", &wanted.kind);
    term("category", "category=", &wanted.category);
    term("verb", "verb=", &wanted.verb);
    term("code", "code=", &wanted.code);
    term("outcome", "outcome=", &wanted.outcome);
    term("source", "source=", &wanted.source);
    term("severity_from", "severity>=", &wanted.severity_from.map(|s| s.to_string()));
    term("from", "time>=", &wanted.from);
    term("to", "time<", &wanted.to);
    term("index_from", "index>=", &wanted.index_from.map(|index| index.to_string()));
    if let Some(name) = &wanted.class {
        let class = policies.classes().by_name(name).ok_or_else(|| {
            Problem::bad("PARAMETER_VALUE", "no such retention class: see /v1/classes")
                .field("class")
        })?;
        terms.push(("class", format!("class={}", class.id.0)));
    }
    let names = Names {
        source: &|name| {
            let handle = vault.keys().source_handle(name);
            vault.of_facts(|facts| facts.sources.contains_key(&handle)).then_some(handle)
        },
        is_registered: &|name| policies.registry().field_named(name).is_some(),
    };
    let words: Vec<&str> = terms.iter().map(|(_, word)| word.as_str()).collect();
    Filter::parse(&words, &names).map_err(|refusal| {
        let number = refusal.field.strip_prefix("term ").and_then(|n| n.parse::<usize>().ok());
        let term = number.and_then(|number| terms.get(number.checked_sub(1)?));
        let problem = Problem { status: StatusCode::BAD_REQUEST, ..Problem::from(refusal) };
        match term {
            Some((parameter, _)) => problem.field(parameter),
            None => problem,
        }
    })
}

/// An index in an address.
///
/// # Errors
/// 404 `ENTRY_UNKNOWN`, for what is no number too.
fn index(caller: &Caller, path: &str) -> Result<EntryIndex, Problem> {
    let plain = !path.is_empty() && path.bytes().all(|b| b.is_ascii_digit());
    let index = path.parse().ok().filter(|_| plain).map(EntryIndex);
    let index = index.filter(|index| index.0 < caller.vault.size().0);
    index.ok_or_else(|| Problem::absent("ENTRY_UNKNOWN"))
}

/// The entry at an index, if the caller may know of it: a correction like what it corrects.
pub fn entry(caller: &Caller, scope: &Scope, path: &str) -> Result<Entry, Problem> {
    let entry = caller.vault.entry(index(caller, path)?)?;
    let sources = allowed(caller, scope);
    let corrected = corrects(&entry).map(|event| caller.vault.entry(event)).transpose()?;
    match visible(corrected.as_ref().unwrap_or(&entry), sources.as_ref()) {
        true => Ok(entry),
        false => Err(Problem::absent("ENTRY_UNKNOWN")),
    }
}

/// One event, masked.
#[utoipa::path(
    get, path = "/v1/events/{index}", tag = "events",
    params(("index" = String, Path, description = "Place in the log")),
    responses((status = 200, description = "The record", body = Event),
              (status = 404, description = "No such entry"))
)]
pub async fn get(caller: Caller, Path(path): Path<String>) -> Result<Response, Problem> {
    let scope = caller.scope(Permission::EventsRead)?;
    work(move || {
        let entry = entry(&caller, &scope, &path)?;
        let reading = Reading::OPEN;
        let record = caller.vault.record(entry.index, reading)?;
        let leaf = record.leaf.to_string();
        let mut response = ok(Event::of(&caller.vault, &record, &|_| false)).into_response();
        // Erasures change what may be read of it, never the leaf: so no cache may answer alone.
        if let Ok(tag) = HeaderValue::from_str(&format!("W/\"{leaf}\"")) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        Ok(response)
    })
    .await
}

/// Why personal fields are opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Why; sealed in the entry that records this.
    purpose: String,
    /// Names of fields; every one if left out.
    #[serde(default)]
    fields: Option<Vec<String>>,
    /// What allows to open fields of restricted persons too; stands in that entry in clear.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern =
        "^(legal-claims|consent|rights-of-others|public-interest)$")]
    ground: Option<Ground>,
}

/// An opened record.
#[derive(Serialize, ToSchema)]
pub struct Opened {
    /// Index of the entry that records who opened what, and why.
    recorded: String,
    /// The record with its values.
    event: Event,
}

/// Opens personal fields of one event. An entry says so before any value leaves.
#[utoipa::path(
    post, path = "/v1/events/{index}/open", tag = "events", request_body = Opening,
    params(("index" = String, Path, description = "Place in the log")),
    responses((status = 200, description = "The record with values", body = Opened),
              (status = 404, description = "No such entry"))
)]
pub async fn open(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Opened>, Problem> {
    let scope = caller.scope(Permission::EventsOpen)?;
    let opening: Opening = app.wish(&headers, body).await?;
    work(move || {
        let vault = &*caller.vault;
        let index = entry(&caller, &scope, &path)?.index;
        let names: Vec<&str> = opening.fields.iter().flatten().map(String::as_str).collect();
        let recorded = vault.record_look(&Look {
            act: "read",
            range: index..EntryIndex(index.0 + 1),
            records: 1,
            fields: &names,
            purpose: &opening.purpose,
            who: &caller.principal.spoken(),
            by: None,
            order: None,
            ground: opening.ground,
        })?;
        app.observer.metrics.opened(metrics::Opened::Read, 1);
        let record = vault.record(index, vault.reading_of(recorded)?)?;
        let chosen = |name: &str| opening.fields.is_none() || names.contains(&name);
        let event = Event::of(vault, &record, &chosen);
        Ok(ok(Opened { recorded: text(&recorded.0), event }))
    })
    .await
}

/// What is disclosed, to whom and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Disclosing {
    /// Names of fields, at least one.
    fields: Vec<String>,
    /// Why; sealed in the entry that records this.
    purpose: String,
    /// For whom; sealed there too.
    recipient: String,
    /// What allows to disclose fields of restricted persons too; stands there in clear.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern =
        "^(legal-claims|consent|rights-of-others|public-interest)$")]
    ground: Option<Ground>,
}

/// Discloses fields of one event in a form that proves itself offline.
#[utoipa::path(
    post, path = "/v1/events/{index}/disclose", tag = "events", request_body = Disclosing,
    params(("index" = String, Path, description = "Place in the log")),
    responses((status = 200, description = "A disclosure (docs/format.md)",
               body = serde_json::Value),
              (status = 410, description = "The field was erased or has expired"))
)]
pub async fn disclose(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let scope = caller.scope(Permission::EventsDisclose)?;
    let wish: Disclosing = app.wish(&headers, body).await?;
    work(move || {
        let index = entry(&caller, &scope, &path)?.index;
        let fields: Vec<&str> = wish.fields.iter().map(String::as_str).collect();
        let by = caller.principal.spoken();
        let told = Told { purpose: &wish.purpose, who: &wish.recipient, by: &by };
        let made = caller.vault.disclose_on(index, &fields, told, wish.ground)?;
        app.observer.metrics.opened(metrics::Opened::Disclose, 1);
        Ok(([(header::CONTENT_TYPE, "application/json")], made.text).into_response())
    })
    .await
}

/// Which checkpoint a proof is made against.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Against {
    /// `true`: the newest checkpoint, though witnesses may not have cosigned it yet.
    #[serde(default)]
    newest: bool,
}

/// Proves that an event stands in the log (C2SP tlog-proof).
#[utoipa::path(
    get, path = "/v1/events/{index}/proof", tag = "proofs", params(
        ("index" = String, Path, description = "Place in the log"), Against),
    responses((status = 200, description = "The proof", body = String, content_type = "text/plain"),
              (status = 404, description = "No such entry"))
)]
pub async fn prove(
    caller: Caller,
    Path(path): Path<String>,
    Query(against): Query<Against>,
) -> Result<Response, Problem> {
    caller.may_for_some(Permission::ProofsRead)?;
    // The proof holds the entry, as it lies.
    let scope = caller.scope(Permission::EventsRead)?;
    work(move || {
        let index = entry(&caller, &scope, &path)?.index;
        let proof = match against.newest {
            true => caller.vault.prove_newest(index)?,
            false => caller.vault.prove(index)?,
        };
        Ok(plain(proof))
    })
    .await
}

/// Text that a verifier reads.
pub fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// A size in an address.
pub fn size(text: &str) -> Option<TreeSize> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain).map(TreeSize)
}
