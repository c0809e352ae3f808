//! Receipts and the erasure ledger: signed notes about what was destroyed. A receipt says what
//! the vault did and when; it never says that nobody kept a copy, and it says that it does not.
//!
//! ```text
//! <vault>/r/<tenant>/erasure-receipt/v1
//! tenant <hex>  |  erasure <job hex>  |  basis <basis>
//! mode two-person|single-operator|scheduled
//! requested <index> <leaf b64> <log time>
//! completed <index> <leaf b64> <log time>
//! final <index> <leaf b64> <log time>           only when a replica had missed it and is back
//! root <from> -> <to> <old root b64> <new root b64>
//! store D  |  replicas 1/1, 2/2, or 1/2 E2-partial
//! classes <names> |  records <n or ->
//! deferred <class> <why> <due or -> <law>        one line each
//! limits <sentence>                              what it does not claim
//! ```
//! One item a line. Line 2 is not a number, so it can never be read as a checkpoint.

use crate::base::id::{JobId, PersonId, hex};
use crate::base::unit::{EntryIndex, Generation, TreeSize};
use crate::crypto::hash::leaf_hash;
use crate::format::control::Mode;
use crate::format::note;
use crate::format::statement::{self, IN_PART, LEDGER, PARTIAL, RECEIPT, WHOLLY};
use crate::format::vkey::Verifier;
use crate::vault::Vault;
use crate::vault::config::VaultFile;
use crate::vault::error::{Error, Result};
use crate::vault::facts::{Erasure, Facts};
use crate::vault::keys::Keyring;
use crate::vault::read::Reading;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What every receipt says it does not claim.
pub const LIMITS: &str = "limits a copy of root and nodes of the key plane made before this \
                          erasure, and values already disclosed or exported, are outside it; \
                          commitments, tags, times and codes of the records remain in the log: \
                          docs/format.md section 16 lists what remains and what is not claimed";

impl Vault {
    /// The signed receipt of an erasure. It says the same whenever it is asked for, but for two
    /// things: once the evidence class has expired the number of records is `-`, as it is where
    /// they could not be read for counting, and once a
    /// replica that had missed it is scrubbed it says so.
    ///
    /// # Errors
    /// `NotFound` for an unknown job, `Conflict` for one that is not done.
    pub fn erasure_receipt(&self, job: JobId) -> Result<String> {
        let erasure = self.facts().erasures.get(&job).cloned();
        let erasure = erasure.ok_or(Error::NotFound { code: "ERASURE_UNKNOWN" })?;
        let Some((index, time, done)) = &erasure.done else {
            let fix = "the erasure is not complete; open the vault to let it finish".to_owned();
            return Err(Error::Conflict { code: "ERASURE_OPEN", first: None, fix });
        };
        let reading = Reading::WITHIN;
        let record = self.record(*index, reading)?;
        let records = record.value("erasure.records").filter(|value| *value != b"null");
        let records = records.map(String::from_utf8_lossy);
        let records = records.map_or_else(|| "-".to_owned(), |r| r.into_owned());
        let name = self.inner.reports.verifier().name();
        let mut text = format!("{name}{RECEIPT}\ntenant {}\n", self.inner.tenant);
        text += &format!("erasure {job}\nbasis {}\nmode {}\n", erasure.plan.basis, mode(&erasure));
        text += &self.line("requested", erasure.intent, &erasure.asked.to_string())?;
        text += &self.line("completed", *index, &time.to_string())?;
        let last = self.facts().finals.get(&job).cloned();
        if let Some((index, time, _)) = &last {
            text += &self.line("final", *index, &time.to_string())?;
        }
        let (old, new) =
            (STANDARD.encode(done.root.old_root.0), STANDARD.encode(done.root.new_root.0));
        text += &format!("root {} -> {} {old} {new}\n", done.root.from, done.root.to);
        let replicas = match (done.missed, &last) {
            (Some(_), None) => format!("{}{PARTIAL}", done.replicas),
            (_, Some((_, _, last))) => last.replicas.clone(),
            (None, None) => done.replicas.clone(),
        };
        text += &format!("store {}\nreplicas {replicas}\n", done.store);
        let classes: Vec<String> = done.classes.iter().map(|c| self.class_name(*c)).collect();
        let classes = if classes.is_empty() { "-".to_owned() } else { classes.join(" ") };
        text += &format!("classes {classes}\nrecords {records}\n");
        for left in &done.deferred {
            let due = left.due.map_or_else(|| "-".to_owned(), |due| due.to_string());
            let class = self.class_name(left.class);
            text += &format!("deferred {class} {} {due} {}\n", left.why, left.law);
        }
        text += LIMITS;
        text.push('\n');
        self.sign(&text)
    }

    fn line(&self, what: &str, index: EntryIndex, time: &str) -> Result<String> {
        // Hashed from the entry itself: a stored hash is derived, and nothing here vouches for it.
        let leaf = leaf_hash(&self.entry_bytes(index)?);
        if self.leaf(index).is_some_and(|stored| stored != leaf) {
            let detail = format!("the stored hash of entry {index} is not that of its bytes");
            return Err(Error::evidence("LEAF_MISMATCH", detail));
        }
        Ok(format!("{what} {index} {} {time}\n", STANDARD.encode(leaf.0)))
    }

    /// Name of a class, or its number.
    pub fn class_name(&self, class: crate::base::unit::ClassId) -> String {
        let policies = self.policies();
        let found = policies.classes().get(class);
        found.map_or_else(|| class.to_string(), |class| class.name.clone())
    }

    /// Signs a note with the report key.
    pub(crate) fn sign(&self, text: &str) -> Result<String> {
        note::sign(text, &[&self.inner.reports])
            .map_err(|e| Error::evidence("NOTE_UNSIGNABLE", e.to_string()))
    }

    /// The erasure ledger: handles and generations only, to be kept beside every data backup.
    ///
    /// # Errors
    /// As `sign`.
    pub fn erasure_ledger(&self) -> Result<String> {
        let name = self.inner.reports.verifier().name();
        let facts = self.facts();
        let (generation, root) = facts.root;
        let mut text = format!("{name}{LEDGER}\ntenant {}\n", self.inner.tenant);
        text += &format!("generation {generation} {}\nlog {}\n", hex(&root.0), facts.size);
        for (job, erasure) in &facts.erasures {
            let Some((index, _, done)) = &erasure.done else { continue };
            let persons: Vec<String> = done.persons.iter().map(ToString::to_string).collect();
            let what = if done.deferred.is_empty() { WHOLLY } else { IN_PART };
            text += &format!("{what} {job} {index} {}\n", persons.join(" "));
        }
        drop(facts);
        self.sign(&text)
    }
}

fn mode(erasure: &Erasure) -> &'static str {
    match erasure.plan.mode {
        Mode::TwoPerson => "two-person",
        Mode::SingleOperator => "single-operator",
        Mode::Scheduled => "scheduled",
    }
}

/// An exported erasure ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    generation: Generation,
    log: TreeSize,
    /// Persons of whom nothing is left.
    gone: Vec<PersonId>,
    /// Persons of whom law or a hold kept something at the time.
    reduced: Vec<PersonId>,
}

impl Ledger {
    /// Opens a ledger signed by this vault's report key.
    ///
    /// # Errors
    /// `Evidence` `LEDGER_SIGNATURE` for any other.
    pub fn open(text: &str, key: &Verifier, file: &VaultFile) -> Result<Ledger> {
        let bad = |why: &str| Error::evidence("LEDGER_SIGNATURE", why.to_owned());
        let opened = note::open(text.as_bytes(), std::slice::from_ref(key))
            .map_err(|e| bad(&e.to_string()))?;
        let name = opened.text.lines().next().and_then(|line| line.strip_suffix(LEDGER));
        if name != Some(&file.report_name()) {
            return Err(bad("ledger of another vault or tenant"));
        }
        let said = statement::Ledger::parse(&opened.text).map_err(|e| bad(&e.to_string()))?;
        let (generation, log) = (said.generation, said.log);
        let mut ledger = Ledger { generation, log, gone: vec![], reduced: vec![] };
        for erased in said.erased {
            let list = if erased.in_part { &mut ledger.reduced } else { &mut ledger.gone };
            list.extend(erased.persons);
        }
        Ok(ledger)
    }

    /// Refuses a key tree that still has somebody the ledger knows as erased: keys that are not
    /// the ones the ledger was written beside, whatever their generation says.
    ///
    /// # Errors
    /// `Evidence` `LEDGER_PERSON_ALIVE`; those of the store.
    pub(crate) fn check_persons(&self, keys: &Keyring) -> Result<()> {
        let mut alive = 0u64;
        for person in &self.gone {
            alive += u64::from(keys.person(person)?.is_some());
        }
        for person in &self.reduced {
            alive += u64::from(keys.person(person)?.is_some_and(|cell| !cell.retired));
        }
        if alive == 0 {
            return Ok(());
        }
        let detail = format!(
            "{alive} persons whom the ledger knows as erased have keys here: these keys are not \
             the ones the ledger was written beside; restore the newest keys"
        );
        Err(Error::evidence("LEDGER_PERSON_ALIVE", detail))
    }

    /// Refuses a vault that is behind the ledger.
    ///
    /// # Errors
    /// `Evidence`: `ROOT_GEN_ROLLBACK` for old keys, `ROLLED_BACK` for old data with them.
    pub(crate) fn check(&self, keys: Generation, facts: &Facts, size: TreeSize) -> Result<()> {
        if keys < self.generation {
            let detail = format!(
                "the ledger knows generation {} of the key tree, here is {keys}: keys from before \
                 an erasure were put back",
                self.generation
            );
            return Err(Error::evidence("ROOT_GEN_ROLLBACK", detail));
        }
        let announced = facts.root.0;
        if size < self.log && announced >= keys {
            let detail = format!("the ledger knows {} entries, here are {size}", self.log);
            return Err(Error::evidence("ROLLED_BACK", detail));
        }
        Ok(())
    }
}
