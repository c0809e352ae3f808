//! Schedules: the jobs of a tenant, their history, and a run on demand. A job is changed in the
//! version that somebody has seen (`If-Match`); what runs and when is the scheduler's.

use crate::policy::access::Permission;
use crate::server::app::{App, work};
use crate::server::caller::Caller;
use crate::server::json::{Answer, ok, text};
use crate::server::problem::Problem;
use crate::server::scheduler::book::Listed;
use crate::server::scheduler::job::{Outcome, Plan, Run};
use crate::server::scheduler::task::Task;
use crate::server::version::{Expect, tagged};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What an administrator sets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `retention`, `scrub`, `checkpoint`, `key-hygiene`, `pack`, `timestamp`.
    #[schema(value_type = String)]
    task: Task,
    /// Cron expression: five fields (minute hour day month weekday), six with the second first.
    cron: String,
    /// IANA name of a time zone; `UTC` if left out.
    #[serde(default = "utc")]
    zone: String,
    /// Whether it runs by itself; yes if left out.
    #[serde(default = "yes")]
    enabled: bool,
    /// Seconds by which a run is put off at most.
    #[serde(default)]
    jitter_seconds: u32,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn yes() -> bool {
    true
}

/// One run of a job.
#[derive(Serialize, ToSchema)]
pub struct Ran {
    /// The firing it stands for, or when somebody asked for it.
    due: String,
    /// When it began.
    started: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// `running`, `done`, `failed`, `interrupted`, `stopped`.
    #[schema(value_type = String)]
    outcome: Outcome,
    /// Earlier firings for which it stands too.
    missed: u64,
    /// Who asked for it, if it was not the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_by: Option<String>,
    /// Code of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What it did, in numbers.
    summary: BTreeMap<String, u64>,
}

impl From<Run> for Ran {
    fn from(run: Run) -> Self {
        Ran {
            due: run.due.to_string(),
            started: run.started.to_string(),
            ended: run.ended.map(|at| at.to_string()),
            outcome: run.outcome,
            missed: run.missed,
            asked_by: run.asked_by,
            code: run.code,
            summary: run.summary,
        }
    }
}

/// A job.
#[derive(Serialize, ToSchema)]
pub struct Schedule {
    /// Name.
    name: String,
    /// Version of its document, as `If-Match` takes it.
    version: String,
    /// What runs.
    #[schema(value_type = String)]
    task: Task,
    /// When.
    cron: String,
    /// In which time zone.
    zone: String,
    /// Whether it runs by itself.
    enabled: bool,
    /// Seconds by which a run is put off at most.
    jitter_seconds: u64,
    /// Newest runs, newest first.
    runs: Vec<Ran>,
}

impl From<Listed> for Schedule {
    fn from(listed: Listed) -> Self {
        let Plan { name, task, cron, zone, enabled, jitter_seconds, .. } = listed.job.plan;
        Schedule {
            name,
            version: text(&listed.version),
            task,
            cron,
            zone,
            enabled,
            jitter_seconds,
            runs: listed.job.runs.into_iter().map(Ran::from).collect(),
        }
    }
}

/// Jobs.
#[derive(Serialize, ToSchema)]
pub struct Schedules {
    /// By name.
    schedules: Vec<Schedule>,
}

/// Lists the jobs of the caller's tenant.
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules",
    responses((status = 200, description = "Jobs", body = Schedules))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Answer<Schedules>, Problem> {
    caller.may(Permission::SchedulesRead)?;
    work(move || {
        let jobs = app.runner(|runner| runner.book().jobs())?.0;
        let own = jobs.into_iter().filter(|job| job.job.plan.tenant == caller.principal.tenant);
        Ok(ok(Schedules { schedules: own.map(Schedule::from).collect() }))
    })
    .await
}

/// One job.
#[utoipa::path(
    get, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Name of the job")),
    responses((status = 200, description = "The job", body = Schedule),
              (status = 404, description = "No such job"))
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    caller.may(Permission::SchedulesRead)?;
    work(move || {
        let tenant = &caller.principal.tenant;
        let listed = app.runner(|runner| runner.book().job(tenant, &name))?;
        let version = listed.version;
        Ok(tagged(ok(Schedule::from(listed)), version))
    })
    .await
}

/// Makes a job (`If-None-Match: *`) or changes the version that was seen (`If-Match`).
#[utoipa::path(
    put, path = "/v1/schedules/{name}", tag = "schedules", request_body = Wanted,
    params(("name" = String, Path, description = "Name of the job")),
    responses((status = 200, description = "In force", body = Schedule),
              (status = 412, description = "Another version is in force"),
              (status = 428, description = "Say which version was seen"))
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may_now(Permission::SchedulesManage)?;
    let wanted: Wanted = app.wish(&headers, body).await?;
    let expect = Expect::of(&headers)?;
    work(move || {
        let plan = Plan {
            name,
            tenant: caller.principal.tenant.clone(),
            task: wanted.task,
            cron: wanted.cron,
            zone: wanted.zone,
            enabled: wanted.enabled,
            jitter_seconds: u64::from(wanted.jitter_seconds),
        };
        let by = caller.principal.who.document().to_string();
        let listed = app.runner(|runner| {
            let (book, now) = (runner.book(), runner.book().now());
            let put = match expect {
                Expect::Nothing => book.make(plan, &by, now),
                Expect::Version(version) => book.amend(plan, version, &by, now),
            };
            runner.book_changed();
            put
        });
        let listed = listed.map_err(|problem| expect.failed(problem))?;
        let version = listed.version;
        Ok(tagged(ok(Schedule::from(listed)), version))
    })
    .await
}

/// Gives a job up; its history stays in the log.
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Name of the job")),
    responses((status = 204, description = "Given up"),
              (status = 412, description = "Another version is in force"),
              (status = 428, description = "Say which version was seen"))
)]
pub async fn give_up(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.may_now(Permission::SchedulesManage)?;
    let expect = Expect::of(&headers)?;
    let Expect::Version(version) = expect else { return Err(Expect::required()) };
    work(move || {
        let tenant = &caller.principal.tenant;
        let by = caller.principal.who.document().to_string();
        let done = app.runner(|runner| {
            let done = runner.book().give_up(tenant, &name, version, &by);
            runner.book_changed();
            done
        });
        done.map_err(|problem| expect.failed(problem))?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Asks for a run now. It begins soon; the job's history says how it ended.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/run", tag = "schedules",
    params(("name" = String, Path, description = "Name of the job")),
    responses((status = 202, description = "Asked for"),
              (status = 404, description = "No such job"),
              (status = 409, description = "It runs already"))
)]
pub async fn run(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Permission::SchedulesRun)?;
    work(move || {
        let by = caller.principal.who.document().to_string();
        let tenant = &caller.principal.tenant;
        app.runner(|runner| runner.run_now(tenant, &name, &by))?;
        Ok(StatusCode::ACCEPTED)
    })
    .await
}
