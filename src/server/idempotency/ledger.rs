//! What is kept of keys: documents of the system vault, each named by a MAC of caller, tenant,
//! route and key, with a MAC of the request and how it ended. Both MACs are under a key of the
//! vault's key plane, since bodies hold identifiers and keys may. They go after 24 hours of log
//! time. A key is written down before its request is done, so that a crash leaves it open and
//! never forgotten.

use crate::base::id::{DocumentId, Hash32};
use crate::base::limits::IDEMPOTENCY_NANOS;
use crate::base::unit::NANOS_PER_SECOND;
use crate::format::control::DocumentKind;
use crate::server::idempotency::HEADER;
use crate::server::idempotency::key::Key;
use crate::server::identity::directory::{body, read};
use crate::server::identity::principal::Principal;
use crate::server::problem::Problem;
use crate::vault::Vault;
use crate::vault::error::{Error, Result as VaultResult};
use crate::vault::registry::Put;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Label of the key of every MAC of this module.
const LABEL: &str = "chancery/v1/service/idempotency";
/// Keys of one caller within 24 hours: one each 21 seconds, all day. 64 callers fill what the
/// registry holds of them.
pub const KEYS_OF_CALLER_MAX: usize = 4_096;
/// Versions of one key: how often its request may be refused and sent anew.
const VERSIONS_MAX: u64 = 64;
/// Bytes of a document's name that say whose key it is.
const CALLER_BYTES: usize = 6;
/// What a MAC is over begins with one of these.
const OF_CALLER: u8 = 1;
const OF_KEY: u8 = 2;
const OF_REQUEST: u8 = 3;

/// A request with a key.
#[derive(Clone, Copy)]
pub struct Call {
    id: DocumentId,
    request: Hash32,
}

/// How a request ended that was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Status of its answer.
    pub status: u16,
    /// Whether the answer had a body.
    pub content: bool,
    /// The resource it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Index of the entry that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

/// The document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    request: Hash32,
    /// None: it was begun, and nobody knows more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Done>,
}

/// What a request with a key finds.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: it is written down now, as this version.
    First(u64),
    /// It was done.
    Again(Done),
    /// It was begun, and how it ended is not known.
    Open,
}

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was done.
    Done(Done),
    /// Nothing was done: the key is free.
    Refused,
    /// Not known: the key stays as it is.
    Open,
}

/// The keys of all callers.
pub struct Ledger {
    ready: Hmac<Sha256>,
    under_way: Arc<Mutex<HashSet<DocumentId>>>,
}

/// The only one under way with its key; given back when dropped.
pub struct Turn {
    id: DocumentId,
    under_way: Arc<Mutex<HashSet<DocumentId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Call {
    /// A request, by what makes it the same one: who sent it where, and every byte of it that a
    /// handler reads.
    pub fn of(
        ledger: &Ledger,
        (by, route): (&Principal, &str),
        key: &Key,
        parts: &Parts,
        body: &[u8],
    ) -> Call {
        let caller = by.who.document().0;
        let owner = ledger.mac(OF_CALLER, &[&caller]);
        let name = [&caller[..], by.tenant.as_bytes(), route.as_bytes(), key.bytes()];
        let name = ledger.mac(OF_KEY, &name);
        let mut id = DocumentId::ZERO;
        let bytes = owner.iter().take(CALLER_BYTES).chain(&name);
        id.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let header = |name| parts.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let request = ledger.mac(
            OF_REQUEST,
            &[
                key.bytes(),
                target.as_bytes(),
                header(header::CONTENT_TYPE),
                header(header::CONTENT_ENCODING),
                body,
            ],
        );
        Call { id, request: Hash32(request) }
    }

    /// Names of all keys of this caller.
    fn of_its_caller(&self) -> (DocumentId, DocumentId) {
        let (mut first, mut last) = (DocumentId::ZERO, DocumentId([0xff; 16]));
        for id in [&mut first, &mut last] {
            id.0.iter_mut().zip(self.id.0).take(CALLER_BYTES).for_each(|(to, from)| *to = from);
        }
        (first, last)
    }
}

impl Ledger {
    /// With the key of the system vault.
    ///
    /// # Errors
    /// Those of the key plane.
    pub fn new(system: &Vault) -> VaultResult<Ledger> {
        let key = system.service_key(LABEL)?;
        let ready = Hmac::<Sha256>::new_from_slice(&*key).map_err(|_| Error::Overloaded)?;
        Ok(Ledger { ready, under_way: Arc::default() })
    }

    /// Each part behind its length, so that no two lists of parts are one text.
    fn mac(&self, kind: u8, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.ready.clone();
        mac.update(&[kind]);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The turn of a request; none while another one with its key is under way.
    pub fn turn(&self, call: &Call) -> Option<Turn> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = || Turn { id: call.id, under_way: self.under_way.clone() };
        under_way.insert(call.id).then(turn)
    }

    /// Writes down that a request begins, unless its key was used.
    ///
    /// # Errors
    /// 422 `IDEMPOTENCY_KEY_REUSED`, 429 `IDEMPOTENCY_KEYS_TOO_MANY`; those of the vault.
    pub fn begin(&self, system: &Vault, call: &Call) -> Result<Begun, Problem> {
        let expect = match system.document(DocumentKind::Idempotency, call.id)? {
            Some(known) if !known.gone => {
                let record: Option<Record> = read(&known)?;
                return match record {
                    Some(record) if record.request != call.request => Err(reused()),
                    Some(Record { done: Some(done), .. }) => Ok(Begun::Again(done)),
                    _ => Ok(Begun::Open),
                };
            }
            Some(known) if known.version >= VERSIONS_MAX => return Err(too_many()),
            Some(known) => known.version,
            None => {
                let (first, last) = call.of_its_caller();
                let kept = system.count_documents(DocumentKind::Idempotency, first..=last);
                if kept >= KEYS_OF_CALLER_MAX {
                    return Err(too_many());
                }
                0
            }
        };
        let put = self.put(system, call, (expect, false), None);
        put.map_err(|error| match error.code() {
            "DOCUMENTS_TOO_MANY" => too_many(),
            _ => error.into(),
        })?;
        Ok(Begun::First(expect + 1))
    }

    /// Writes down how the request of a version ended.
    ///
    /// # Errors
    /// Those of the vault; the key stays open then.
    pub fn end(
        &self,
        system: &Vault,
        call: &Call,
        version: u64,
        outcome: &Outcome,
    ) -> VaultResult<()> {
        match outcome {
            Outcome::Done(done) => self.put(system, call, (version, false), Some(done.clone())),
            Outcome::Refused => self.put(system, call, (version, true), None),
            Outcome::Open => Ok(()),
        }
    }

    fn put(
        &self,
        system: &Vault,
        call: &Call,
        (expect, gone): (u64, bool),
        done: Option<Done>,
    ) -> VaultResult<()> {
        let body = body(&Record { request: call.request, done })?;
        let (kind, id) = (DocumentKind::Idempotency, call.id);
        let put = Put { kind, id, expect, gone, body: &body, subjects: &[] };
        system.put_document(&put).map(drop)
    }
}

fn reused() -> Problem {
    let fix = "this key belongs to another request of yours: give each request a key of its own";
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", fix);
    problem.field(HEADER)
}

fn too_many() -> Problem {
    let fix = "too many keys in 24 hours, or one that was refused 32 times: wait, or send without";
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "IDEMPOTENCY_KEYS_TOO_MANY", fix);
    let day = u32::try_from(IDEMPOTENCY_NANOS / NANOS_PER_SECOND).unwrap_or(u32::MAX);
    problem.field(HEADER).limit(KEYS_OF_CALLER_MAX as u64).retry(day / 24)
}
