//! What Prometheus reads: counters that the service moves, gauges read from the vaults when they
//! are asked for. No label holds a person, an address, an event's field or a path with ids; the
//! tenant's name is a label only where the configuration says so. Nothing here decides anything,
//! and a vault that cannot be read leaves its gauges as they were.

use crate::base::id::PersonId;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::format::control::Scan;
use crate::server::scheduler::task::Task;
use crate::store::reserve::Kept;
use crate::vault::Vault;
use crate::vault::error::Result;
use crate::vault::facts::Facts;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What every name begins with.
pub const PREFIX: &str = "chancery";
/// Content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds of the buckets of acknowledgement: an fsync to a stuck disk.
const ACK_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];
/// Nanoseconds for which what is dear to read (retention plan, scrubs) is not read again.
const SLOW_NANOS: u64 = 60_000_000_000;
/// Label of what no route matched.
pub const UNMATCHED: &str = "unmatched";
/// Methods with a name of their own; whatever else a client invents is one label.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The label of a method.
pub fn method_label(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}

/// How events came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// `POST /v1/events`, one object or an array.
    Json,
    /// `POST /v1/events`, lines.
    Ndjson,
    /// The HEC event endpoint.
    HecEvent,
    /// The HEC raw endpoint.
    HecRaw,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 4] =
        [Protocol::Json, Protocol::Ndjson, Protocol::HecEvent, Protocol::HecRaw];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Json => "json",
            Protocol::Ndjson => "ndjson",
            Protocol::HecEvent => "hec-event",
            Protocol::HecRaw => "hec-raw",
        }
    }
}

/// What became of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ingested {
    /// Durable.
    Accepted,
    /// There before: the original receipt.
    Duplicate,
    /// Their own fault.
    Refused,
    /// Turned away for now: 429 or 503 with Retry-After.
    Overloaded,
    /// The store failed.
    Failed,
}

impl Ingested {
    /// Every outcome.
    pub const ALL: [Ingested; 5] = [
        Ingested::Accepted,
        Ingested::Duplicate,
        Ingested::Refused,
        Ingested::Overloaded,
        Ingested::Failed,
    ];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Ingested::Accepted => "accepted",
            Ingested::Duplicate => "duplicate",
            Ingested::Refused => "refused",
            Ingested::Overloaded => "overloaded",
            Ingested::Failed => "failed",
        }
    }
}

/// Why sealed fields were opened: the kind of act, never the purpose somebody wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// Somebody read records.
    Read,
    /// A disclosure for an outsider.
    Disclose,
    /// An export.
    Export,
    /// A report.
    Report,
}

impl Opened {
    /// Every kind.
    pub const ALL: [Opened; 4] = [Opened::Read, Opened::Disclose, Opened::Export, Opened::Report];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Opened::Read => "read",
            Opened::Disclose => "disclose",
            Opened::Export => "export",
            Opened::Report => "report",
        }
    }
}

/// What the service knows and no vault does.
#[derive(Clone, Default, Debug)]
pub struct Around {
    /// Sessions of people.
    pub sessions: u64,
    /// Orders that wait for somebody or something.
    pub orders_open: u64,
    /// Of these, erasures.
    pub erasures_open: u64,
    /// When the first of them must be done.
    pub erasure_due: Option<UtcNanos>,
    /// Sources whose heartbeat is missing.
    pub sources_silent: u64,
    /// Free bytes by what lies there: `data`, `keys`, `mirror`.
    pub disk_free: Vec<(&'static str, u64)>,
    /// What is kept on each file system for the vault's own acts.
    pub reserves: Vec<Kept>,
}

type Labels = Vec<(&'static str, String)>;
type Float = Gauge<f64, AtomicU64>;

/// What one vault says, or several together.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    size: u64,
    unpublished_seconds: f64,
    witnesses: BTreeMap<String, f64>,
    clock_alarm: bool,
    read_only: bool,
    documents: u64,
    erasures_left: u64,
    erasure_due: Option<UtcNanos>,
    slow: Slow,
}

/// What is not read at every scrape.
#[derive(Clone, Debug, Default, PartialEq)]
struct Slow {
    overdue: u64,
    findings: u64,
    clean_at: Option<UtcNanos>,
    key_copies: u64,
}

/// Every metric.
pub struct Metrics {
    registry: Registry,
    by_tenant: bool,
    slow: Mutex<BTreeMap<String, (UtcNanos, Slow)>>,
    ingest: Family<Labels, Counter>,
    ack: Histogram,
    http: Family<Labels, Counter>,
    decrypt: Family<Labels, Counter>,
    denied: Family<Labels, Counter>,
    missed: Family<Labels, Counter>,
    verify_failures: Counter,
    reload_failures: Counter,
    gauges: BTreeMap<&'static str, Family<Labels, Float>>,
}

/// Gauges by name without prefix, with what they mean. Ages and times are in seconds.
const GAUGES: [(&str, &str); 20] = [
    ("tls_certificate_expiry_seconds", "When the certificate of the listeners ends, Unix time"),
    ("log_size_events", "Entries committed"),
    (
        "last_checkpoint_age_seconds",
        "Age of the oldest entry that no signed checkpoint covers; 0 when all are covered",
    ),
    (
        "witness_age_seconds",
        "Time since a witness cosigned, while it lacks the newest checkpoint; never: above 1e9",
    ),
    ("verify_findings", "Damage found since the last complete scrub began"),
    ("verify_last_success_timestamp_seconds", "When the last scrub without findings ended"),
    ("erasure_pending", "Erasures that are ordered or begun and not complete"),
    ("erasure_deadline_seconds", "Time until the first of them is due; below 0: overdue"),
    ("retention_overdue_segments", "Class-days that are due, not held, and still there"),
    ("keys_copies", "Key directories that follow"),
    ("disk_free_bytes", "Free bytes by what lies there"),
    ("disk_reserve_missing_bytes", "Bytes that the reserve lacks, by file system"),
    ("disk_events_refused", "1 while events are refused for want of room, by file system"),
    ("sessions", "Sessions of people"),
    ("orders_open", "Orders that wait for somebody or something"),
    ("registry_documents", "Documents in force; a registry takes 262,144"),
    ("sources_silent", "Sources whose heartbeat is missing"),
    ("clock_alarm", "1 while the wall clock is over five minutes from log time"),
    ("read_only", "1 while nothing may be appended"),
    ("build_info", "1, with the version as label"),
];

impl Metrics {
    /// All at zero. With `by_tenant` the gauges of a vault bear the tenant's name.
    pub fn new(by_tenant: bool) -> Metrics {
        let mut registry = Registry::with_prefix(PREFIX);
        let mut family = |name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let ingest = family("ingest_events", "Events by protocol and outcome");
        let http = family("http_requests", "Requests by route template, method and status");
        let decrypt = family("decrypt", "Records whose sealed fields were opened, by kind of act");
        let denied = family("authz_denied", "Refusals for want of a permission, by role");
        let missed = family(
            "scheduler_missed",
            "Runs that began late, and earlier firings that nothing ran for, by job",
        );
        let ack = Histogram::new(ACK_SECONDS);
        let help = "Time from a whole request to its durable acknowledgement, fsync included";
        registry.register("ingest_ack_seconds", help, ack.clone());
        let verify_failures = Counter::default();
        let help = "Findings of scrubs since this process began";
        registry.register("verify_failures", help, verify_failures.clone());
        let reload_failures = Counter::default();
        let help = "Times that new certificate files could not be used";
        registry.register("tls_reload_failures", help, reload_failures.clone());
        let mut gauges = BTreeMap::new();
        for (name, help) in GAUGES {
            let family = Family::<Labels, Float>::default();
            registry.register(name, help, family.clone());
            gauges.insert(name, family);
        }
        let slow = Mutex::default();
        let metrics = Metrics {
            registry,
            by_tenant,
            slow,
            ingest,
            ack,
            http,
            decrypt,
            denied,
            missed,
            verify_failures,
            reload_failures,
            gauges,
        };
        metrics.begin();
        metrics
    }

    /// What can be counted stands at zero from the start: a rate needs a first value.
    fn begin(&self) {
        for protocol in Protocol::ALL {
            for outcome in Ingested::ALL {
                self.ingested(protocol, outcome, 0);
            }
        }
        Opened::ALL.into_iter().for_each(|kind| self.opened(kind, 0));
        Task::ALL.into_iter().for_each(|job| self.missed(job, 0));
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.set("build_info", version, 1.0);
    }

    /// Events came in.
    pub fn ingested(&self, protocol: Protocol, outcome: Ingested, events: u64) {
        let labels =
            vec![("protocol", protocol.name().to_owned()), ("outcome", outcome.name().to_owned())];
        self.ingest.get_or_create(&labels).inc_by(events);
    }

    /// A batch was acknowledged as durable.
    pub fn acknowledged(&self, after: Duration) {
        self.ack.observe(after.as_secs_f64());
    }

    /// A request was answered. `route` is the template, never a path; without one it matched none.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16) {
        let labels = vec![
            ("route", route.unwrap_or(UNMATCHED).to_owned()),
            ("method", method_label(method).to_owned()),
            ("status", status.to_string()),
        ];
        self.http.get_or_create(&labels).inc();
    }

    /// Sealed fields of so many records were opened.
    pub fn opened(&self, kind: Opened, records: u64) {
        self.decrypt.get_or_create(&vec![("purpose", kind.name().to_owned())]).inc_by(records);
    }

    /// Somebody lacked a permission. `role` is a name from the closed set of roles.
    pub fn denied(&self, role: &'static str) {
        self.denied.get_or_create(&vec![("role", role.to_owned())]).inc();
    }

    /// So many scheduled runs were missed.
    pub fn missed(&self, job: Task, runs: u64) {
        self.missed.get_or_create(&vec![("job", job.name().to_owned())]).inc_by(runs);
    }

    /// The certificate in use ends then.
    pub fn certified_until(&self, until: UtcNanos) {
        let seconds = until.0 as f64 / 1e9;
        self.set("tls_certificate_expiry_seconds", Vec::new(), seconds);
    }

    /// New certificate files could not be used.
    pub fn reload_failed(&self) {
        self.reload_failures.inc();
    }

    /// A scrub found something.
    pub fn verify_failed(&self, findings: u64) {
        self.verify_failures.inc_by(findings);
    }

    /// Reads the gauges of every vault, by tenant, and sets what the service knows. What is dear
    /// to read is at most a minute old.
    ///
    /// # Errors
    /// Those of the store; what was read before stays.
    pub fn gather(&self, vaults: &[(&str, &Vault)], around: &Around) -> Result<()> {
        let mut readings: BTreeMap<String, Reading> = BTreeMap::new();
        let mut now = UtcNanos(0);
        for (tenant, vault) in vaults {
            let reading = self.read(tenant, vault)?;
            now = now.max(vault.clock().now());
            let of = if self.by_tenant { (*tenant).to_owned() } else { String::new() };
            match readings.get_mut(&of) {
                Some(all) => all.add(reading),
                None => drop(readings.insert(of, reading)),
            }
        }
        for (tenant, reading) in &readings {
            let labels = match tenant.as_str() {
                "" => Labels::new(),
                tenant => vec![("tenant", tenant.to_owned())],
            };
            self.show(&labels, reading);
        }
        self.set("sessions", Labels::new(), around.sessions as f64);
        self.set("orders_open", Labels::new(), around.orders_open as f64);
        self.set("sources_silent", Labels::new(), around.sources_silent as f64);
        for (place, bytes) in &around.disk_free {
            self.set("disk_free_bytes", vec![("place", (*place).to_owned())], *bytes as f64);
        }
        for kept in &around.reserves {
            let place = || vec![("place", kept.name.to_owned())];
            let missing = kept.size.saturating_sub(kept.left);
            self.set("disk_reserve_missing_bytes", place(), missing as f64);
            self.set("disk_events_refused", place(), f64::from(u8::from(kept.closed)));
        }
        let left: u64 = readings.values().map(|r| r.erasures_left).sum();
        self.set("erasure_pending", Labels::new(), (left + around.erasures_open) as f64);
        let due = readings.values().filter_map(|r| r.erasure_due).chain(around.erasure_due).min();
        match due {
            Some(due) => {
                let seconds = (due.0 as f64 - now.0 as f64) / 1e9;
                self.set("erasure_deadline_seconds", Labels::new(), seconds);
            }
            None => self.clear("erasure_deadline_seconds"),
        }
        Ok(())
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn set(&self, name: &'static str, labels: Labels, value: f64) {
        if let Some(family) = self.gauges.get(name) {
            family.get_or_create(&labels).set(value);
        }
    }

    fn clear(&self, name: &'static str) {
        if let Some(family) = self.gauges.get(name) {
            family.clear();
        }
    }

    fn read(&self, tenant: &str, vault: &Vault) -> Result<Reading> {
        let now = vault.clock().now();
        let age = |since: UtcNanos| now.0.saturating_sub(since.0) as f64 / 1e9;
        let published = vault.signed_size();
        let unpublished = vault.unpublished_since()?;
        let witnesses = vault.witnessing().standing.into_iter().map(|standing| {
            let lacks = standing.size < published;
            (standing.name, if lacks { age(standing.time) } else { 0.0 })
        });
        let (left, documents) = {
            let facts = vault.facts();
            (erasures_left(&facts), facts.living as u64)
        };
        Ok(Reading {
            size: vault.size().0,
            unpublished_seconds: unpublished.map_or(0.0, age),
            witnesses: witnesses.collect(),
            clock_alarm: vault.clock().alarm().is_some(),
            read_only: vault.stopped().is_some(),
            documents,
            erasures_left: left.len() as u64,
            erasure_due: left.into_iter().flatten().min(),
            slow: self.slow(tenant, vault, now)?,
        })
    }

    fn slow(&self, tenant: &str, vault: &Vault, now: UtcNanos) -> Result<Slow> {
        let known = {
            let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
            slow.get(tenant).cloned()
        };
        let fresh = |(at, _): &(UtcNanos, Slow)| now.0.saturating_sub(at.0) < SLOW_NANOS;
        if let Some((_, slow)) = known.filter(fresh) {
            return Ok(slow);
        }
        let (passed, findings) = vault.last_scrub()?;
        let clean_at = passed.and_then(|passed| match passed.scan {
            Scan::Pass { findings: 0, .. } => Some(passed.finished),
            _ => None,
        });
        let is_due = |due: Option<UtcNanos>| due.is_some_and(|due| due <= now);
        let plan = vault.retention_plan()?;
        let overdue = plan.iter().filter(|p| is_due(p.due) && p.held.is_empty()).count() as u64;
        let key_copies = u64::from(vault.key_replicas().live);
        let read = Slow { overdue, findings, clean_at, key_copies };
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.insert(tenant.to_owned(), (now, read.clone()));
        Ok(read)
    }

    fn show(&self, labels: &Labels, reading: &Reading) {
        let flag = |is: bool| if is { 1.0 } else { 0.0 };
        let slow = &reading.slow;
        for (name, value) in [
            ("log_size_events", reading.size as f64),
            ("last_checkpoint_age_seconds", reading.unpublished_seconds),
            ("clock_alarm", flag(reading.clock_alarm)),
            ("read_only", flag(reading.read_only)),
            ("registry_documents", reading.documents as f64),
            ("retention_overdue_segments", slow.overdue as f64),
            ("verify_findings", slow.findings as f64),
            ("keys_copies", slow.key_copies as f64),
        ] {
            self.set(name, labels.clone(), value);
        }
        if let Some(at) = slow.clean_at {
            let seconds = at.0 as f64 / 1e9;
            self.set("verify_last_success_timestamp_seconds", labels.clone(), seconds);
        }
        for (witness, age) in &reading.witnesses {
            let mut labels = labels.clone();
            labels.push(("witness", witness.clone()));
            self.set("witness_age_seconds", labels, *age);
        }
    }
}

/// Erasures that are not complete, each with the earliest time at which more of it can go; none
/// while a hold keeps it. A later erasure of the same person carries what an earlier one left.
fn erasures_left(facts: &Facts) -> Vec<Option<UtcNanos>> {
    let mut newest: HashMap<PersonId, EntryIndex> = HashMap::new();
    for erasure in facts.erasures.values() {
        for person in &erasure.plan.persons {
            let known = newest.entry(*person).or_insert(erasure.intent);
            *known = (*known).max(erasure.intent);
        }
    }
    let left = facts.erasures.values().filter_map(|erasure| {
        let Some((_, _, done)) = &erasure.done else { return Some(Some(erasure.asked)) };
        let counts = |person: &PersonId| newest.get(person) == Some(&erasure.intent);
        let carried = !erasure.plan.persons.iter().any(counts);
        let due = done.deferred.iter().filter_map(|deferred| deferred.due).min();
        (!done.deferred.is_empty() && !carried).then_some(due)
    });
    left.collect()
}

impl Reading {
    /// Takes another vault in: sums of what is counted, the worst of what is watched.
    fn add(&mut self, other: Reading) {
        self.size += other.size;
        self.unpublished_seconds = self.unpublished_seconds.max(other.unpublished_seconds);
        for (witness, age) in other.witnesses {
            let known = self.witnesses.entry(witness).or_default();
            *known = known.max(age);
        }
        self.clock_alarm |= other.clock_alarm;
        self.read_only |= other.read_only;
        // The fullest registry is what counts.
        self.documents = self.documents.max(other.documents);
        self.erasures_left += other.erasures_left;
        self.erasure_due = [self.erasure_due, other.erasure_due].into_iter().flatten().min();
        let (mine, theirs) = (&mut self.slow, other.slow);
        mine.overdue += theirs.overdue;
        mine.findings += theirs.findings;
        // One vault that never passed is what counts.
        mine.clean_at = mine.clean_at.zip(theirs.clean_at).map(|(a, b)| a.min(b));
        mine.key_copies = mine.key_copies.min(theirs.key_copies);
    }
}
