//! Retention: classes, the plan, its runs, and the policies in force. Proposing other policies
//! files an order (`orders`); a run destroys only what the policies in force say is due.

use crate::base::unit::{Day, UtcNanos};
use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, instant, ok, text};
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::vault::facts::Facts;
use crate::vault::retain::Planned;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A retention class.
#[derive(Serialize, ToSchema)]
pub struct Class {
    /// Number, as entries have it.
    id: u16,
    /// Name.
    name: String,
    /// Days it is kept; none = for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_days: Option<u32>,
    /// Days the law demands at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_days: Option<u32>,
    /// Days the law allows at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling_days: Option<u32>,
    /// Why, as the policy says.
    reason: String,
}

/// The classes in force.
#[derive(Serialize, ToSchema)]
pub struct Classes {
    /// By number.
    classes: Vec<Class>,
}

/// Lists the retention classes in force.
#[utoipa::path(
    get, path = "/v1/classes", tag = "retention",
    responses((status = 200, description = "Classes", body = Classes))
)]
pub async fn classes(caller: Caller) -> Result<Answer<Classes>, Problem> {
    caller.may_for_some(Permission::ClassesRead)?;
    let policies = caller.vault.policies();
    let classes = policies.classes().all().iter().map(|class| Class {
        id: class.id.0,
        name: class.name.to_string(),
        keep_days: class.keep_days(),
        floor_days: class.floor_days(),
        ceiling_days: class.ceiling_days(),
        reason: class.reason.to_string(),
    });
    Ok(ok(Classes { classes: classes.collect() }))
}

/// Until when.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Until {
    /// RFC 3339 instant; now if left out.
    until: Option<String>,
}

/// One class-day that falls due.
#[derive(Serialize, ToSchema)]
pub struct Due {
    /// Class.
    class: String,
    /// Day on which its groups were sealed.
    day: String,
    /// Sealed groups.
    groups: String,
    /// Bytes of its body file.
    bytes: String,
    /// When it falls due; none = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    /// `kept-for-ever`, `not-due`, `held` or `due`.
    state: &'static str,
    /// The rule, in words.
    rule: String,
    /// Handles of cases that keep it.
    held_by: Vec<String>,
}

/// What goes, when, under which rule.
#[derive(Serialize, ToSchema)]
pub struct Plan {
    /// The instant the states are for.
    until: String,
    /// Class-days.
    class_days: Vec<Due>,
    /// How many are overdue and held.
    held: u64,
}

/// Plans retention; nothing is changed.
#[utoipa::path(
    get, path = "/v1/retention/plan", tag = "retention", params(Until),
    responses((status = 200, description = "The plan", body = Plan))
)]
pub async fn plan(caller: Caller, Query(until): Query<Until>) -> Result<Answer<Plan>, Problem> {
    caller.may(Permission::RetentionRead)?;
    let until = until.until.map(|text| {
        instant(&text, "until").map_err(|problem| Problem {
            status: StatusCode::BAD_REQUEST,
            code: "PARAMETER_VALUE",
            ..problem
        })
    });
    let until = until.transpose()?.unwrap_or_else(|| caller.vault.clock().now());
    work(move || {
        let planned = caller.vault.retention_plan()?;
        let class_days: Vec<Due> = planned.iter().map(|planned| due(planned, until)).collect();
        let held = class_days.iter().filter(|due| due.state == "held").count() as u64;
        Ok(ok(Plan { until: until.to_string(), class_days, held }))
    })
    .await
}

fn due(planned: &Planned, until: UtcNanos) -> Due {
    Due {
        class: planned.class_name.clone(),
        day: planned.class_day.day.to_string(),
        groups: text(&planned.groups),
        bytes: text(&planned.bytes),
        due: planned.due.map(|due| due.to_string()),
        state: match planned.due {
            None => "kept-for-ever",
            Some(due) if due > until => "not-due",
            Some(_) if !planned.held.is_empty() => "held",
            Some(_) => "due",
        },
        rule: planned.rule.clone(),
        held_by: planned.held.iter().map(ToString::to_string).collect(),
    }
}

/// How a run is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Today's date by the vault's log, where its clock had jumped: confirms that it is right.
    #[serde(default)]
    confirm: Option<String>,
}

/// What a run did.
#[derive(Serialize, ToSchema)]
pub struct Ran {
    /// Handles of its intents.
    jobs: Vec<String>,
    /// Class-days that went.
    class_days: u64,
    /// Groups that went.
    groups: String,
    /// Bytes freed.
    bytes_freed: String,
    /// Class-days that are due and held.
    held: u64,
    /// Erasures that had to wait and are complete now.
    erasures_completed: u64,
}

/// Runs what is due by the policies in force.
#[utoipa::path(
    post, path = "/v1/retention/run", tag = "retention", request_body = Run,
    responses((status = 200, description = "What went", body = Ran))
)]
pub async fn run(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Ran>, Problem> {
    caller.may_now(Permission::RetentionRun)?;
    let Run { confirm } = app.wish(&headers, body).await?;
    let confirm = confirm.map(|text| {
        let wrong = || Problem::bad("FIELD_VALUE", "a date, as in 2026-11-21").field("confirm");
        Day::parse(&text).ok_or_else(wrong)
    });
    let confirm = confirm.transpose()?;
    work(move || {
        let done = caller.vault.expire_for(confirm, &caller.principal.spoken())?;
        Ok(ok(Ran {
            jobs: done.runs.iter().map(|(job, _, _)| job.to_string()).collect(),
            class_days: done.class_days.len() as u64,
            groups: text(&done.groups),
            bytes_freed: text(&done.bytes_freed),
            held: done.held.len() as u64,
            erasures_completed: done.erasures.len() as u64,
        }))
    })
    .await
}

/// One class-day that went, or is going.
#[derive(Serialize, ToSchema)]
pub struct Went {
    /// Handle of the run.
    job: String,
    /// Class.
    class: String,
    /// Day.
    day: String,
    /// When it fell due.
    due: String,
    /// When its keys were destroyed; none while the run is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    went: Option<String>,
    /// Index of the intent.
    intent: String,
}

/// What has expired.
#[derive(Serialize, ToSchema)]
pub struct History {
    /// In the order of their intents.
    expired: Vec<Went>,
}

/// Lists what has expired, by which run.
#[utoipa::path(
    get, path = "/v1/retention/history", tag = "retention",
    responses((status = 200, description = "Runs", body = History))
)]
pub async fn history(caller: Caller) -> Result<Answer<History>, Problem> {
    caller.may(Permission::RetentionRead)?;
    work(move || {
        let every = |facts: &Facts| facts.prunes.values().cloned().collect();
        let mut prunes: Vec<_> = caller.vault.of_facts(every);
        prunes.sort_by_key(|prune| prune.intent);
        let mut expired = Vec::new();
        for prune in prunes {
            expired.extend(prune.plan.class_days.iter().map(|due| Went {
                job: prune.plan.job.to_string(),
                class: caller.vault.class_name(due.class),
                day: due.day.to_string(),
                due: due.due.to_string(),
                went: prune.done.as_ref().map(|(_, time, _)| time.to_string()),
                intent: text(&prune.intent.0),
            }));
        }
        Ok(ok(History { expired }))
    })
    .await
}
