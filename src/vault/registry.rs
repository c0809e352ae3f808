//! The registry: versioned documents that say who and what the service knows. Each version is a
//! `config` entry, its body sealed; the facts name the newest of each, so that whoever starts
//! finds them all without reading the log. A version is put in force by comparing the one before
//! at the sequencer, so of two writers one wins. It never knows what a body means, and its bodies
//! leave by these verbs only: no reader of records gets one (`base::record`).

use crate::base::entry::{Entry, Kind};
use crate::base::event::{Dedupe, Event, Field, Group, Identifier, Outcome, Severity};
use crate::base::event::{Subject, Verb};
use crate::base::id::DocumentId;
use crate::base::limits::{DOCUMENT_BYTES_MAX, DOCUMENTS_MAX, GROUP_SUBJECTS_MAX};
use crate::base::limits::{IDEMPOTENCY_DOCUMENTS_MAX, VAULT_CLASS};
use crate::base::record::{Fate, PRIVATE_FIELD};
use crate::base::refusal::Refusal;
use crate::base::unit::{ClassId, EntryIndex, UtcNanos};
use crate::crypto::kdf::label;
use crate::format::control::{self, DocumentKind};
use crate::format::json::Tape;
use crate::format::seal::row::IndexKey;
use crate::vault::append::RESEALS_MAX;
use crate::vault::clerk::Clerk;
use crate::vault::error::{Error, Result};
use crate::vault::facts::{DocumentFact, Facts};
use crate::vault::seal::Act;
use crate::vault::sequencer::{Check, Outcome as Answer, Rejected};
use crate::vault::{Vault, vault_code};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A version to be put in force.
#[derive(Clone, Copy)]
pub struct Put<'a> {
    /// What the document is.
    pub kind: DocumentKind,
    /// Its name.
    pub id: DocumentId,
    /// The version in force now; 0 = there must be none.
    pub expect: u64,
    /// Whether the document is given up by this version.
    pub gone: bool,
    /// A JSON text of at most `DOCUMENT_BYTES_MAX` bytes.
    pub body: &'a [u8],
    /// Whom it is about, each of them a person of their own: the body is sealed under the keys of
    /// all of them, and is gone with any. Nobody: sealed to the tenant. Whoever is named is known
    /// from then on, so what is put after an erasure must not name the erased again.
    pub subjects: &'a [Identifier],
}

impl std::fmt::Debug for Put<'_> {
    /// Neither body nor subjects.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Put { kind, id, expect, body, .. } = self;
        write!(f, "Put({kind} {id}, expects {expect}, {} bytes)", body.len())
    }
}

/// One version of a document.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// Its name.
    pub id: DocumentId,
    /// Version, from 1.
    pub version: u64,
    /// Its entry.
    pub index: EntryIndex,
    /// Log time of that.
    pub time: UtcNanos,
    /// Whether this version gave the document up.
    pub gone: bool,
    /// Its body; none when somebody it is about was erased.
    pub body: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Document {
    /// Everything but the body.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Document { kind, id, version, index, gone, body, .. } = self;
        let body = body.as_ref().map_or("no body", |_| "a body");
        write!(f, "Document({kind} {id}, version {version} at {index}, gone: {gone}, {body})")
    }
}

impl Vault {
    /// Puts a version in force: the one after `expect`. Returns its entry and log time once it is
    /// durable.
    ///
    /// # Errors
    /// `Conflict` `VERSION_CONFLICT` with the entry in force unless `expect` is the version in
    /// force; `Invalid` for a body that is too large or no JSON, for subjects of unknown kinds or
    /// too many, and when there are too many documents; `Denied` when the vault is read-only.
    pub fn put_document(&self, put: &Put<'_>) -> Result<(EntryIndex, UtcNanos)> {
        self.writable()?;
        well_formed(put.body)?;
        let subjects = self.each_a_person(put.subjects)?;
        // Whoever has lost already makes nobody known.
        in_turn(&self.facts(), (put.kind, put.id), put.expect)?;
        for _ in 0..RESEALS_MAX {
            match self.try_put(put, &subjects)? {
                Ok(done) => return Ok((done.first, done.time)),
                Err(Rejected::Failed(error)) => return Err(error),
                // Whoever set the fence holds the key tree until the keys are gone.
                Err(Rejected::Fenced) => drop(self.inner.keys.tree()),
                Err(_) => {}
            }
        }
        Err(Error::Overloaded)
    }

    fn try_put(&self, put: &Put<'_>, subjects: &[Subject]) -> Result<Answer> {
        let Put { kind, id, expect, gone, .. } = *put;
        let version = expect.saturating_add(1);
        let payload = control::Config::Document { kind, id, version, gone };
        let now = self.inner.clock.now();
        let field = Field { name: PRIVATE_FIELD.into(), value: Cow::Borrowed(put.body) };
        let event = Event {
            time: now,
            source: Arc::from("vault"),
            dedupe: Dedupe::None,
            code: vault_code(verb(kind, version, gone)),
            outcome: Outcome::Success,
            severity: Severity::default(),
            class: ClassId(VAULT_CLASS),
            clear: Vec::new(),
            subjects: subjects.to_vec(),
            groups: vec![Group { subjects: (0..subjects.len()).collect(), fields: vec![field] }],
        };
        let keys = self.keys_for(std::slice::from_ref(&event), now.day())?;
        let act = Act { kind: Kind::Config, clear: control::encode(&payload)? };
        let clerk = &self.inner.clerk;
        let sealed = clerk.sealer(now.day()).act(&act, &event, &keys)?;
        let check: Check = Box::new(move |facts| in_turn(facts, (kind, id), expect));
        Ok(Clerk::wait(&clerk.send(vec![sealed], Some(check), None)))
    }

    /// The subjects of a document: each identifier, in its normal form, a person of its own, so
    /// that a document links nobody.
    fn each_a_person(&self, given: &[Identifier]) -> Result<Vec<Subject>> {
        let policies = self.policies();
        let mut found: Vec<Subject> = Vec::with_capacity(given.len());
        for identifier in given {
            let Some(kind) = policies.registry().kind(&identifier.kind) else {
                let refusal = Refusal::new("IDENTIFIER_KIND", "use a kind of policies/fields.toml");
                return Err(refusal.field("subjects").into());
            };
            let Some(value) = kind.normalise(&identifier.value)? else {
                let fix = "name a person by an identifier of which something is left";
                return Err(Refusal::new("SUBJECT_EMPTY", fix).field("subjects").into());
            };
            let subject = Subject { identifiers: vec![Identifier { kind: kind.name, value }] };
            if !found.contains(&subject) {
                found.push(subject);
            }
            if found.len() > GROUP_SUBJECTS_MAX {
                let refusal = Refusal::new("TOO_MANY_SUBJECTS", "split the document by person");
                return Err(refusal.field("subjects").limit(GROUP_SUBJECTS_MAX as u64).into());
            }
        }
        Ok(found)
    }

    /// The newest version of a document.
    ///
    /// # Errors
    /// Those of the store; `Evidence` when its body is not what its entry commits to, or cannot be
    /// opened and no erasure says why.
    pub fn document(&self, kind: DocumentKind, id: DocumentId) -> Result<Option<Document>> {
        let fact = self.facts().documents.get(&(kind, id)).copied();
        fact.map(|fact| self.newest((kind, id), fact)).transpose()
    }

    /// The newest version of every document of a kind, given up or not, ascending by name.
    ///
    /// # Errors
    /// As `document`.
    pub fn documents(&self, kind: DocumentKind) -> Result<Vec<Document>> {
        let known: Vec<_> = {
            let facts = self.facts();
            let all = (kind, DocumentId::ZERO)..=(kind, DocumentId([0xff; 16]));
            facts.documents.range(all).map(|(key, fact)| (*key, *fact)).collect()
        };
        known.into_iter().map(|(key, fact)| self.newest(key, fact)).collect()
    }

    /// How many documents of a kind have names from one to another, given up or not.
    pub fn count_documents(&self, kind: DocumentKind, names: RangeInclusive<DocumentId>) -> usize {
        let (first, last) = names.into_inner();
        self.facts().documents.range((kind, first)..=(kind, last)).count()
    }

    /// Every version of a document, ascending by entry. A document of a request that was known no
    /// more begins at version 1 again.
    ///
    /// # Errors
    /// As `document`.
    pub fn document_history(&self, kind: DocumentKind, id: DocumentId) -> Result<Vec<Document>> {
        let mut at: Vec<EntryIndex> = Vec::new();
        for verb in verbs(kind) {
            at.extend(self.find_key(&IndexKey::code(vault_code(*verb)))?);
        }
        at.sort_unstable();
        let mut own = Vec::new();
        self.for_entries_at(&at, &mut |entry| {
            if said(&entry).is_some_and(|(key, ..)| key == (kind, id)) {
                own.push(entry.index);
            }
            Ok(())
        })?;
        own.into_iter().map(|index| self.version_at(index)).collect()
    }

    /// The version that the facts name.
    fn newest(&self, key: (DocumentKind, DocumentId), fact: DocumentFact) -> Result<Document> {
        let found = self.version_at(fact.index)?;
        let DocumentFact { version, index, time, gone } = fact;
        let same = (found.kind, found.id) == key
            && (found.version, found.index, found.time, found.gone) == (version, index, time, gone);
        match same {
            true => Ok(found),
            false => Err(no_document(index)),
        }
    }

    fn version_at(&self, index: EntryIndex) -> Result<Document> {
        let mut record = self.own_record(index)?;
        let ((kind, id), version, gone) = said(&record.entry).ok_or_else(|| no_document(index))?;
        let field = record.fields.iter_mut().find(|field| &*field.name == PRIVATE_FIELD);
        let body = field.and_then(|field| field.value.take()).map(Zeroizing::new);
        let fate = record.groups.first().copied().unwrap_or(Fate::BodyMissing);
        match (&body, fate) {
            (Some(_), _) | (None, Fate::Erased | Fate::Expired) => {}
            (None, fate) => {
                let detail = format!("the document at entry {index} cannot be read");
                return Err(Error::evidence(fate.name(), detail));
            }
        }
        let time = record.entry.time_log;
        Ok(Document { kind, id, version, index, time, gone, body })
    }

    /// A key of the service, for one use: HKDF-Expand under a secret of the tenant's own in the key
    /// plane, with which it dies. It is the same in every opening. `label` is
    /// `chancery/v1/service/` and the use.
    ///
    /// # Errors
    /// `Denied` `SERVICE_LABEL` for another label: it could be that of another derivation.
    pub fn service_key(&self, label: &'static str) -> Result<Zeroizing<[u8; 32]>> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match label.strip_prefix(label::SERVICE) {
            Some(usage) if !usage.is_empty() && usage.bytes().all(plain) => {
                Ok(Zeroizing::new(*self.inner.keys.service_key(label).expose()))
            }
            _ => {
                let fix = "a key of the service has the label chancery/v1/service/ and its use";
                Err(Error::denied("SERVICE_LABEL", fix))
            }
        }
    }
}

/// What the entry of a version does; a document's history is looked for among these. Requests have
/// one of their own, so that there are few others to look through.
const fn verbs(kind: DocumentKind) -> &'static [Verb] {
    match kind {
        DocumentKind::Idempotency => &[Verb::Execute],
        _ => &[Verb::Create, Verb::Update, Verb::Delete],
    }
}

fn verb(kind: DocumentKind, version: u64, gone: bool) -> Verb {
    match (kind, version, gone) {
        (DocumentKind::Idempotency, ..) => Verb::Execute,
        (_, _, true) => Verb::Delete,
        (_, 1, false) => Verb::Create,
        (_, _, false) => Verb::Update,
    }
}

/// What an entry says, if it is one of a document: which, its version, whether it is given up.
fn said(entry: &Entry) -> Option<((DocumentKind, DocumentId), u64, bool)> {
    if entry.head.kind != Kind::Config {
        return None;
    }
    match control::decode(&entry.head.clear).ok()? {
        control::Config::Document { kind, id, version, gone } => Some(((kind, id), version, gone)),
        _ => None,
    }
}

fn no_document(index: EntryIndex) -> Error {
    Error::evidence("MALFORMED", format!("entry {index} is not the document it must be"))
}

/// Whether a version may follow: the one before is in force, and a new document has room.
fn in_turn(facts: &Facts, key: (DocumentKind, DocumentId), expect: u64) -> Result<()> {
    let known = facts.documents.get(&key);
    let version = known.map_or(0, |fact| fact.version);
    if version != expect {
        let fix = format!(
            "version {version} of this document is in force and {expect} was expected: read it \
             and decide again; nothing was changed"
        );
        return Err(Error::Conflict {
            code: "VERSION_CONFLICT",
            first: known.map(|fact| fact.index),
            fix,
        });
    }
    let (new, there, most, fix) = match key.0 {
        DocumentKind::Idempotency => {
            let fix = "those of requests go after 24 hours: wait";
            (known.is_none(), facts.aging.len(), IDEMPOTENCY_DOCUMENTS_MAX, fix)
        }
        // What was given up is only remembered.
        _ => {
            let fix = "give up documents that nobody needs";
            (known.is_none_or(|fact| fact.gone), facts.living, DOCUMENTS_MAX, fix)
        }
    };
    match new && there >= most {
        true => Err(Refusal::new("DOCUMENTS_TOO_MANY", fix)
            .field(key.0.name())
            .limit(most as u64)
            .into()),
        false => Ok(()),
    }
}

/// Refuses a body that is no document.
fn well_formed(body: &[u8]) -> Result<()> {
    if body.len() > DOCUMENT_BYTES_MAX {
        let fix = "keep what is large outside and its hash in the document";
        let refusal = Refusal::new("DOCUMENT_TOO_LARGE", fix);
        return Err(refusal.field(PRIVATE_FIELD).limit(DOCUMENT_BYTES_MAX as u64).into());
    }
    let mut tape = Tape::new();
    tape.scan(body).map(drop).map_err(|refusal| refusal.field(PRIVATE_FIELD).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::facts::DocumentFact;

    #[test]
    fn a_full_registry_takes_another_once_one_is_given_up() {
        let (kind, mut facts) = (DocumentKind::Token, Facts::default());
        let key = |n: usize| (kind, DocumentId((n as u128).to_be_bytes()));
        let fact =
            |version, gone| DocumentFact { version, index: EntryIndex(1), time: UtcNanos(1), gone };
        for n in 0..DOCUMENTS_MAX {
            in_turn(&facts, key(n), 0).unwrap();
            facts.take_document(key(n), fact(1, false));
        }
        let code = |facts: &Facts, n, expect| in_turn(facts, key(n), expect).map_err(|e| e.code());
        let full = Err("DOCUMENTS_TOO_MANY");
        assert_eq!(code(&facts, DOCUMENTS_MAX, 0), full);
        assert_eq!(code(&facts, 7, 1), Ok(()), "what is there goes on");
        for version in [2, 3] {
            facts.take_document(key(7), fact(version, true));
        }
        assert_eq!((facts.living, facts.documents.len()), (DOCUMENTS_MAX - 1, DOCUMENTS_MAX));
        assert_eq!(code(&facts, DOCUMENTS_MAX, 0), Ok(()));
        facts.take_document(key(DOCUMENTS_MAX), fact(1, false));
        assert_eq!(code(&facts, DOCUMENTS_MAX + 1, 0), full);
        // Taken up again it needs room as a new one does.
        assert_eq!(code(&facts, 7, 3), full);
        facts.take_document(key(8), fact(2, true));
        assert_eq!(code(&facts, 7, 3), Ok(()));
        let request = (DocumentKind::Idempotency, DocumentId([9; 16]));
        facts.take_document(request, fact(1, false));
        assert_eq!(facts.living, DOCUMENTS_MAX - 1, "requests have room of their own");
    }
}
