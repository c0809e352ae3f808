//! Sources of a tenant that are registered: documents of its vault that say which mapping, class
//! and duplicate key a source has and how long it may be quiet. What a registration says holds
//! for what comes in through the service. When a source was last heard is kept in memory since the
//! start of the service, never written with each event.

use crate::base::id::DocumentId;
use crate::base::limits::VAULT_CLASS;
use crate::base::unit::{ClassId, NANOS_PER_SECOND, UtcNanos};
use crate::base::world::{Entropy, random};
use crate::format::control::DocumentKind;
use crate::policy::classify::Policies;
use crate::policy::terms::{DedupeKey, Terms};
use crate::server::problem::Problem;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::registry::Put;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Bytes of the name of a source that is registered: what a token can be bound to.
pub const NAME_BYTES_MAX: usize = crate::server::identity::human::SOURCE_BYTES_MAX;
/// Bytes of a note.
const NOTE_BYTES_MAX: usize = 1_024;
/// Seconds a source may be quiet at most before it counts as silent: 31 days.
const HEARTBEAT_SECONDS_MAX: u64 = 31 * 86_400;
/// Sources that the vault and the service themselves write as; nobody else does.
const OWN: [&str; 2] = ["vault", crate::server::audit::SOURCE];

/// The document of a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its mapping, if its name does not select it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Its class, where the rules' one keeps no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Its duplicate key.
    pub dedupe: DedupeKey,
    /// Seconds it may be quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<u64>,
    /// What people should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Document of whoever put this version.
    pub put_by: DocumentId,
}

impl Source {
    /// What the document asks of the policies.
    fn terms(&self) -> Terms {
        Terms {
            mapping: self.mapping.as_deref().map(Into::into),
            class: self.class.as_deref().map(Into::into),
            dedupe: Some(self.dedupe),
        }
    }
}

/// How a source is doing; it outlives the versions of its document.
#[derive(Debug)]
pub struct Pulse {
    /// Log time of its last event since the service began; 0 = none.
    last: AtomicU64,
    /// From when its quiet is counted before anything came.
    from: UtcNanos,
    /// Log time at which it was said to be silent; 0 = it is not.
    silent: AtomicU64,
}

impl Pulse {
    /// When it was last heard since the service began.
    pub fn last(&self) -> Option<UtcNanos> {
        Some(UtcNanos(self.last.load(Ordering::Acquire))).filter(|last| last.0 > 0)
    }

    /// Since when it is said to be silent.
    pub fn silent(&self) -> Option<UtcNanos> {
        Some(UtcNanos(self.silent.load(Ordering::Acquire))).filter(|since| since.0 > 0)
    }

    /// Since when nothing came, as far as the service knows.
    pub fn quiet_since(&self) -> UtcNanos {
        self.last().unwrap_or(self.from)
    }

    /// Notes what the log says now.
    pub(crate) fn said(&self, silent: Option<UtcNanos>) {
        self.silent.store(silent.map_or(0, |at| at.0), Ordering::Release);
    }
}

/// A source that is registered.
#[derive(Debug)]
pub struct Registered {
    /// Name of its document.
    pub id: DocumentId,
    /// Version in force.
    pub version: u64,
    /// When that was put in force.
    pub time: UtcNanos,
    /// What it says.
    pub source: Source,
    /// How it is doing.
    pub pulse: Arc<Pulse>,
    terms: Terms,
}

/// The sources of one tenant.
#[derive(Default, Debug)]
pub struct Sources {
    known: RwLock<BTreeMap<String, Arc<Registered>>>,
    writing: Mutex<()>,
}

/// Who sends: a source, with its registration if it has one.
#[derive(Clone, Debug)]
pub struct Sender(Option<Arc<Registered>>);

impl Sender {
    /// What the policies must know.
    pub fn terms(&self) -> &Terms {
        const NONE: &Terms = &Terms::NONE;
        self.0.as_ref().map_or(NONE, |registered| &registered.terms)
    }

    /// Notes that something of it is durable.
    pub fn heard(&self, now: UtcNanos) {
        if let Some(registered) = &self.0 {
            registered.pulse.last.fetch_max(now.0, Ordering::AcqRel);
        }
    }
}

impl Sources {
    /// Reads the sources of a vault. The quiet of each is counted from `now` on: what came before
    /// the start is not looked for.
    ///
    /// # Errors
    /// Those of the vault; `Evidence` `MALFORMED` for a document that is none of this version.
    pub fn open(vault: &Vault) -> Result<Sources> {
        let (sources, now) = (Sources::default(), vault.clock().now());
        for document in vault.documents(DocumentKind::Source)? {
            let Some(body) = document.body.as_ref().filter(|_| !document.gone) else { continue };
            let source: Source = serde_json::from_slice(body).map_err(|_| {
                let detail = format!("the source document at entry {} is none", document.index);
                Error::evidence("MALFORMED", detail)
            })?;
            let pulse = Arc::new(Pulse { last: 0.into(), from: now, silent: 0.into() });
            let (id, version, time) = (document.id, document.version, document.time);
            sources.show(id, version, time, source, pulse);
        }
        Ok(sources)
    }

    fn show(
        &self,
        id: DocumentId,
        version: u64,
        time: UtcNanos,
        source: Source,
        pulse: Arc<Pulse>,
    ) -> Arc<Registered> {
        let (name, terms) = (source.name.clone(), source.terms());
        let shown = Arc::new(Registered { id, version, time, source, pulse, terms });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name, shown.clone());
        shown
    }

    /// The source of a name.
    pub fn find(&self, name: &str) -> Option<Arc<Registered>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Who sends under a name.
    pub fn sender(&self, name: &str) -> Sender {
        Sender(self.find(name))
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Registered>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    /// Registers a source, or changes what is registered; `expect` is the version that was seen,
    /// 0 = none. It is seen here once it is durable.
    ///
    /// # Errors
    /// 422 for what cannot be one; 409 `SOURCE_EXISTS`, `VERSION_CONFLICT`; those of the vault.
    pub fn put(
        &self,
        vault: &Vault,
        entropy: &dyn Entropy,
        source: Source,
        expect: u64,
    ) -> std::result::Result<Arc<Registered>, Problem> {
        judge(&source, &vault.policies())?;
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.find(&source.name);
        let version = known.as_ref().map_or(0, |known| known.version);
        if version != expect {
            let code = if expect == 0 { "SOURCE_EXISTS" } else { "VERSION_CONFLICT" };
            let detail = format!("version {version} of this source is in force: read it first");
            return Err(Problem::new(StatusCode::CONFLICT, code, detail));
        }
        let id = known.as_ref().map_or_else(|| DocumentId(random(entropy)), |known| known.id);
        let body = serde_json::to_vec(&source).map_err(|_| Problem::internal())?;
        let put =
            Put { kind: DocumentKind::Source, id, expect, gone: false, body: &body, subjects: &[] };
        let (_, time) = vault.put_document(&put)?;
        let new = || Arc::new(Pulse { last: 0.into(), from: time, silent: 0.into() });
        let pulse = known.map_or_else(new, |known| known.pulse.clone());
        let shown = self.show(id, expect + 1, time, source, pulse);
        drop(writing);
        Ok(shown)
    }
}

/// Nanoseconds a source may be quiet.
pub(crate) fn heartbeat(source: &Source) -> Option<u64> {
    source.heartbeat_seconds.map(|seconds| seconds.saturating_mul(NANOS_PER_SECOND))
}

/// Whether events may come under this name from outside.
///
/// # Errors
/// 400 `SOURCE_NAME`, 403 `SOURCE_RESERVED`.
pub fn check_name(name: &str, most: usize) -> std::result::Result<(), Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
    if name.is_empty() || name.len() > most || !name.bytes().all(plain) {
        let detail = "the name of a source has letters, digits and -._/ only";
        let problem = Problem::bad("SOURCE_NAME", detail).field("source");
        return Err(problem.limit(most as u64));
    }
    let family = name.split('/').next().unwrap_or_default();
    match OWN.contains(&family) {
        true => {
            let detail = "the service itself writes under this name: use another";
            Err(Problem::new(StatusCode::FORBIDDEN, "SOURCE_RESERVED", detail).field("source"))
        }
        false => Ok(()),
    }
}

/// Refuses a document that cannot be one.
fn judge(source: &Source, policies: &Policies) -> std::result::Result<(), Problem> {
    check_name(&source.name, NAME_BYTES_MAX)?;
    let refused = |code, field: &str, detail: &str| {
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).field(field))
    };
    if policies.source_under(&source.name, &source.terms()).is_none() {
        let detail = "no mapping of this name is in force: add it to policies/sources";
        return refused("SOURCE_UNKNOWN", "mapping", detail);
    }
    if let Some(class) = &source.class {
        let found = policies.classes().by_name(class).map(|class| class.id);
        if found.is_none_or(|id| id == ClassId(VAULT_CLASS)) {
            let detail = "use a class of policies/classes.toml other than the vault's own";
            return refused("CLASS_UNKNOWN", "class", detail);
        }
    }
    if source.heartbeat_seconds.is_some_and(|s| !(1..=HEARTBEAT_SECONDS_MAX).contains(&s)) {
        let refused = refused("FIELD_RANGE", "heartbeat_seconds", "1 second to 31 days");
        return refused.map_err(|problem| problem.limit(HEARTBEAT_SECONDS_MAX));
    }
    match source.note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
        true => refused("FIELD_RANGE", "note", "write less")
            .map_err(|problem| problem.limit(NOTE_BYTES_MAX as u64)),
        false => Ok(()),
    }
}
