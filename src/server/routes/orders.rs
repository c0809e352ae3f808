//! Orders: acts that take people. Filing one says what is to be done; others say yes or no to the
//! hash they saw; the service does it once the pause is over. Nothing is done by any of these
//! requests itself.

pub mod view;
pub mod wish;

use crate::base::id::{DocumentId, Hash32};
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::policy::access::{HOME, Permission};
use crate::policy::order::act::Act;
use crate::policy::order::rule::RuleMode;
use crate::policy::order::{Actor, Party};
use crate::server::app::{App, SYSTEM, work};
use crate::server::caller::Caller;
use crate::server::desk::Place;
use crate::server::idempotency::Made;
use crate::server::json::{Answer, ok, text};
use crate::server::orders::{self, Held, rules};
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::routes::orders::view::Order;
use crate::server::routes::orders::wish::{Wish, wrong};
use crate::server::routes::subjects::Purpose;
use crate::vault::disclose::Look;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Files an order. With one operator and no pause it is carried out before the answer.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", request_body = Wish,
    responses((status = 202, description = "Filed", body = Order),
              (status = 404, description = "Nobody, or nothing, of that name"))
)]
pub async fn file(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let wish: Wish = app.wish(&headers, body).await?;
    caller.may(wish.permission())?;
    work(move || {
        let act = wish.act(&app, &caller)?;
        let held = app.file(&caller, act)?;
        let made = Made { resource: held.id.to_string(), entry: Some(held.index.0) };
        let at = [(header::LOCATION, format!("/v1/orders/{}", held.id))];
        Ok((Extension(made), at, Answer(StatusCode::ACCEPTED, Order::of(&held))))
    })
    .await
}

/// An order as it is now, for whoever repeats what was asked of it.
///
/// # Errors
/// As `get`.
pub fn again(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let (_, held) = find(app, caller, id)?;
    Ok(ok(Order::of(&held)).into_response())
}

/// Which orders.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `true`: those that are over, too.
    #[serde(default)]
    all: bool,
}

/// Orders.
#[derive(Serialize, ToSchema)]
pub struct Orders {
    /// By when they were filed.
    orders: Vec<Order>,
}

/// The books a caller may look into: the tenant's own, and that of people and rules for whoever
/// may see people, or is to approve what is asked about them.
fn books(caller: &Caller) -> Vec<&str> {
    let principal = &caller.principal;
    let mut books = vec![principal.tenant.as_str()];
    let approves = principal.tenant == HOME && principal.may(Permission::OrdersApprove).is_ok();
    if approves || principal.may(Permission::HumansRead).is_ok() {
        books.push(SYSTEM);
    }
    books
}

/// Lists orders.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", params(Which),
    responses((status = 200, description = "Orders", body = Orders))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Answer<Orders>, Problem> {
    caller.may(Permission::OrdersRead)?;
    work(move || {
        let mut found = Vec::new();
        for tenant in books(&caller) {
            let place = app.place(tenant)?;
            found.extend(match which.all {
                true => place.book.all_orders(&place.vault)?,
                false => place.book.open_orders(),
            });
        }
        found.sort_by_key(|held| (held.order.filed_at(), held.id));
        Ok(ok(Orders { orders: found.iter().map(Order::of).collect() }))
    })
    .await
}

/// The order of a path, and where it lies: for whoever may read orders, and for whoever asked for
/// this one. To others it is as if there were none.
fn find<'a>(app: &'a App, caller: &Caller, id: &str) -> Result<(Place<'a>, Held), Problem> {
    let reads = caller.principal.may(Permission::OrdersRead).is_ok();
    match among_books(app, caller, id) {
        Ok(found) if reads || is_own(&found.1, caller) => Ok(found),
        Err(problem) if reads => Err(problem),
        found => caller.may(Permission::OrdersRead).and(found),
    }
}

/// Whether this caller filed it.
fn is_own(held: &Held, caller: &Caller) -> bool {
    let asked = held.order.requester().and_then(|requester| match requester {
        Actor::Human { id, .. } | Actor::Machine { id, .. } => Some(*id),
        Actor::Console { .. } | Actor::Service => None,
    });
    asked == Some(caller.principal.who.document())
}

fn among_books<'a>(app: &'a App, caller: &Caller, id: &str) -> Result<(Place<'a>, Held), Problem> {
    let unknown = || Problem::absent("ORDER_UNKNOWN");
    let id = DocumentId::parse(id).ok_or_else(unknown)?;
    for tenant in books(caller) {
        let place = app.place(tenant)?;
        match place.book.order(&place.vault, id) {
            Ok(held) => return Ok((place, held)),
            Err(trouble) if trouble.code() == "ORDER_UNKNOWN" => {}
            Err(trouble) => return Err(trouble.into()),
        }
    }
    Err(unknown())
}

/// An order with its act.
#[derive(Serialize, ToSchema)]
pub struct Whole {
    /// The order.
    order: Order,
    /// The act as it was filed. None where it names persons, who are shown for a purpose, and none
    /// once whom it is about was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    act: Option<Act>,
}

/// One order. Whom it names is not shown: `open` it for a purpose.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders",
    params(("id" = String, Path, description = "Document of the order")),
    responses((status = 200, description = "The order", body = Whole),
              (status = 404, description = "No such order here"))
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<Whole>, Problem> {
    work(move || {
        let (place, held) = find(&app, &caller, &id)?;
        let act = place.book.act(&place.vault, &held.order)?;
        let act = act.filter(|act| !act.is_personal());
        Ok(ok(Whole { order: Order::of(&held), act }))
    })
    .await
}

/// An order with whom it names.
#[derive(Serialize, ToSchema)]
pub struct Opened {
    /// Index of the entry that records who saw it, and why.
    recorded: String,
    /// The order and its act.
    #[serde(flatten)]
    whole: Whole,
}

/// One order with whom it names. An entry says who looked, and why, before anything leaves.
#[utoipa::path(
    post, path = "/v1/orders/{id}/open", tag = "orders", request_body = Purpose,
    params(("id" = String, Path, description = "Document of the order")),
    responses((status = 200, description = "The order, identifiers included", body = Opened),
              (status = 404, description = "No such order here"))
)]
pub async fn open(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Opened>, Problem> {
    let Purpose { purpose, ground } = app.wish(&headers, body).await?;
    work(move || {
        let (place, held) = find(&app, &caller, &id)?;
        let recorded = place.vault.record_look(&Look {
            act: "read",
            range: held.index..EntryIndex(held.index.0 + 1),
            records: 1,
            fields: &["order.act"],
            purpose: &purpose,
            who: &caller.principal.spoken(),
            by: None,
            order: None,
            ground,
        })?;
        let act = place.book.act(&place.vault, &held.order)?;
        let recorded = text(&recorded.0);
        Ok(ok(Opened { recorded, whole: Whole { order: Order::of(&held), act } }))
    })
    .await
}

/// What an approver saw.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Saw {
    /// Hash of the act.
    hash: String,
}

/// Approves an order, by the hash that was seen.
#[utoipa::path(
    post, path = "/v1/orders/{id}/approve", tag = "orders", request_body = Saw,
    params(("id" = String, Path, description = "Document of the order")),
    responses((status = 200, description = "Approved", body = Order),
              (status = 401, description = "Show a one-time code first"),
              (status = 403, description = "Not this person, or not yet"),
              (status = 409, description = "The order is past that, or another than was seen"))
)]
pub async fn approve(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Order>, Problem> {
    let Saw { hash } = app.wish(&headers, body).await?;
    let hash = Hash32::parse(&hash).ok_or_else(|| wrong("hash", "give 64 hex digits"))?;
    decide(app, caller, id, move |place, id, party, now| {
        place.book.approve(&place.vault, id, party, hash, now)
    })
    .await
}

/// Rejects an order.
#[utoipa::path(
    post, path = "/v1/orders/{id}/reject", tag = "orders",
    params(("id" = String, Path, description = "Document of the order")),
    responses((status = 200, description = "Rejected", body = Order))
)]
pub async fn reject(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<Order>, Problem> {
    decide(app, caller, id, |place, id, party, now| place.book.reject(&place.vault, id, party, now))
        .await
}

/// Withdraws an order; whoever asked may.
#[utoipa::path(
    post, path = "/v1/orders/{id}/withdraw", tag = "orders",
    params(("id" = String, Path, description = "Document of the order")),
    responses((status = 200, description = "Withdrawn", body = Order))
)]
pub async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<Order>, Problem> {
    decide(app, caller, id, |place, id, party, now| {
        place.book.withdraw(&place.vault, id, party, now)
    })
    .await
}

/// A step of somebody. Whether they may take it is the order's own rule, which notes a refusal.
async fn decide<S>(
    app: Arc<App>,
    caller: Caller,
    id: String,
    step: S,
) -> Result<Answer<Order>, Problem>
where
    S: FnOnce(&Place<'_>, DocumentId, &Party, UtcNanos) -> orders::Result<Held> + Send + 'static,
{
    work(move || {
        let (place, held) = find(&app, &caller, &id)?;
        let act = place.book.act(&place.vault, &held.order)?;
        let own = caller.principal.tenant.as_str();
        let mut tenants = BTreeSet::from([own]);
        tenants.extend(act.iter().flat_map(Act::tenants));
        let party = app.by_clock_of(&place, app.party(&caller, &tenants));
        let now = place.vault.clock().now();
        step(&place, held.id, &party, now)?;
        app.settle(&place).map_err(Problem::half_done)?;
        let now = place.book.order(&place.vault, held.id);
        Ok(ok(Order::of(&now.map_err(|e| Problem::from(e).half_done())?)))
    })
    .await
}

/// How many people an act takes.
#[derive(Serialize, ToSchema)]
pub struct Rule {
    /// Tenant.
    tenant: String,
    /// `two-person` or `single-operator`.
    #[schema(value_type = String)]
    mode: RuleMode,
    /// Approvals.
    approvals: u32,
    /// Seconds between the last approval and the act.
    cooling_off_seconds: u64,
    /// Whether there are not two people yet who may approve.
    founding: bool,
    /// Hash of the policies in force: what a proposal of others is written against.
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<String>,
}

/// The rule of the caller's tenant.
#[utoipa::path(
    get, path = "/v1/rule", tag = "orders",
    responses((status = 200, description = "The rule", body = Rule))
)]
pub async fn rule(State(app): State<Arc<App>>, caller: Caller) -> Result<Answer<Rule>, Problem> {
    caller.may(Permission::RuleRead)?;
    work(move || {
        let tenant = caller.principal.tenant.clone();
        let rule = rules::rule_of(app.system(), &tenant)?.unwrap_or_default();
        Ok(ok(Rule {
            tenant,
            mode: rule.mode,
            approvals: rule.approvals,
            cooling_off_seconds: rule.cooling_off_seconds,
            founding: app.directory.is_founding(),
            policies: caller
                .vault
                .of_facts(|facts| facts.policies.map(|(_, _, hash)| hash.to_string())),
        }))
    })
    .await
}
