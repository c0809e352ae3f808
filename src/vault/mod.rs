//! The verbs: append, read, search, erase, hold, retain, checkpoint, prove, verify.
//!
//! A vault is one tenant's log, bodies, keys and index, opened by one process. Callers seal in
//! their own threads, a large batch on free processors too; one sequencer gives places and
//! commits; one housekeeper follows with index and seals; the key tree changes under one mutex.
//! Lock order: key tree, then key cache, then facts; the sequencer takes none of the first two.
//! It never knows HTTP.

pub mod anchor;
pub mod append;
pub mod backup;
pub mod beside;
pub mod clock;
pub mod complete;
pub mod config;
pub mod correct;
pub mod dedupe;
pub mod disclose;
pub mod erase;
pub mod error;
pub mod facts;
pub mod hold;
pub mod keys;
pub mod line;
pub mod logkey;
pub mod meter;
pub mod open;
pub mod pack;
pub mod policies;
pub mod prove;
pub mod publish;
pub mod read;
pub mod receipt;
pub mod registry;
pub mod replicas;
pub mod restrict;
pub mod retain;
pub mod scrub;
pub mod search;
pub mod verify;
pub mod witness;

mod clerk;
mod committer;
mod crew;
mod housekeeper;
mod keyplane;
mod known;
mod learn;
mod packer;
mod press;
mod proven;
mod recover;
mod seal;
mod sequencer;
mod snapshot;
mod tagged;

use crate::base::event::EventCode;
use crate::base::id::{SourceHandle, TenantId};
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::base::world::{Clock, Entropy};
use crate::format::vkey::{Signer, Verifier};
use crate::policy::classify::Policies;
use crate::store::bodies::Bodies;
use crate::store::disk::{Disk, DiskLock};
use crate::store::index::Index;
use crate::store::log::UnitLog;
use crate::store::tiles::Tiles;
use crate::vault::anchor::Anchors;
use crate::vault::append::Shelf;
use crate::vault::clerk::Clerk;
use crate::vault::clock::LogClock;
use crate::vault::committer::{Failed, Published};
use crate::vault::error::Result;
use crate::vault::facts::Facts;
use crate::vault::keyplane::KeyDirs;
use crate::vault::keys::Keyring;
use crate::vault::meter::Meter;
use crate::vault::packer::Bell;
use crate::vault::press::Press;
use crate::vault::proven::Proven;
use crate::vault::read::{Erased, ErasedAt, Gate};
use crate::vault::sequencer::Message;
use crate::vault::witness::desk::Desk;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

/// What comes from outside.
#[derive(Clone)]
pub struct World {
    /// Where files lie.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// An opened vault.
pub struct Vault {
    pub(crate) inner: Inner,
    threads: Vec<JoinHandle<()>>,
}

/// What the verbs work with.
pub(crate) struct Inner {
    pub(crate) world: World,
    pub(crate) tenant: TenantId,
    pub(crate) origin: Arc<str>,
    pub(crate) policies: RwLock<Arc<Policies>>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) log: Arc<UnitLog>,
    /// The log, for reading entries.
    pub(crate) proven: Proven,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) index: Arc<Mutex<Index>>,
    /// Epochs of the written index whose rows were found to be what their seals state.
    pub(crate) proven_epochs: Mutex<BTreeSet<u64>>,
    pub(crate) facts: Arc<RwLock<Facts>>,
    pub(crate) published: Arc<RwLock<Published>>,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) clerk: Clerk,
    pub(crate) reports: Arc<Signer>,
    pub(crate) log_key: Verifier,
    pub(crate) gate: Arc<Gate>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) anchors: Arc<Anchors>,
    /// What packs files, and where it is told that there may be some.
    pub(crate) press: Press,
    pub(crate) bell: Arc<Bell>,
    pub(crate) pool: AtomicUsize,
    /// Working memory of the threads that read drafts, while they do not.
    pub(crate) scratches: Shelf,
    pub(crate) erased: Mutex<(ErasedAt, Erased)>,
    pub(crate) sources: Mutex<HashMap<SourceHandle, Arc<str>>>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) read_only: Option<&'static str>,
    /// The first failed write of the threads that write.
    pub(crate) failed: Failed,
    pub(crate) key_dirs: KeyDirs,
    pub(crate) _locks: Vec<Box<dyn DiskLock>>,
}

/// Something an operator should know about this opening.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Stable code: `UNWITNESSED`, `KEYS_SINGLE_COPY`, `TAIL_DROPPED`, `LOG_BEHIND_KEYS`, ...
    pub code: &'static str,
    /// One sentence.
    pub text: String,
}

/// Code of an act of the vault.
pub(crate) const fn vault_code(verb: crate::base::event::Verb) -> EventCode {
    EventCode { category: crate::base::event::Category::Vault, verb }
}

impl Vault {
    /// Whose log.
    pub fn tenant(&self) -> TenantId {
        self.inner.tenant
    }

    /// Origin line of its checkpoints.
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// Entries committed.
    pub fn size(&self) -> TreeSize {
        self.inner.log.size()
    }

    /// Entries below this were not read by this opening: a snapshot vouched for them. They are
    /// hashed when they are read, and by `verify`.
    pub fn vouched(&self) -> TreeSize {
        self.inner.proven.vouched.map_or(TreeSize(0), |(size, _)| size)
    }

    /// What this opening found worth saying.
    pub fn notices(&self) -> &[Notice] {
        &self.inner.notices
    }

    /// Why nothing may be appended, if so.
    pub fn read_only(&self) -> Option<&'static str> {
        self.inner.read_only
    }

    /// Why nothing is appended now, if so: it was opened for reading only, a write or sync has
    /// failed since, somebody outside has contradicted the log, or its clock is not accepted.
    pub fn stopped(&self) -> Option<&'static str> {
        let inner = &self.inner;
        let failed = || inner.failed.get().map(|failure| failure.error().code());
        let alarm = || inner.desk.alarmed().map(|(verdict, _)| verdict);
        let ahead = || inner.clock.is_ahead().then_some("CLOCK_NOT_ACCEPTED");
        inner.read_only.or_else(failed).or_else(alarm).or_else(ahead)
    }

    /// The log's clock.
    pub fn clock(&self) -> &LogClock {
        &self.inner.clock
    }

    /// Where the time of appends went.
    pub fn meter(&self) -> &Meter {
        &self.inner.clerk.meter
    }

    /// The keys, for looking up persons.
    pub fn keys(&self) -> &Keyring {
        &self.inner.keys
    }

    /// A copy of what the log binds the vault to.
    pub fn facts_now(&self) -> Facts {
        self.facts().clone()
    }

    /// Asks one thing of what the log binds the vault to. It is asked under a lock that appends
    /// wait for: let it look up and copy, nothing else, and not call the vault.
    pub fn of_facts<T>(&self, ask: impl FnOnce(&Facts) -> T) -> T {
        ask(&self.facts())
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<Policies> {
        self.inner.policies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifier of the log's checkpoints.
    pub fn log_key(&self) -> &Verifier {
        &self.inner.log_key
    }

    /// Signer of reports and receipts.
    pub fn report_signer(&self) -> &Signer {
        &self.inner.reports
    }

    /// Publishes the checkpoint and returns it: everything committed before the call is in it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn checkpoint(&self) -> Result<Arc<str>> {
        if self.inner.read_only.is_none() {
            let (reply, answer) = sync_channel(1);
            let sent = self.inner.clerk.inbox.send(Message::Publish { reply });
            let result = sent.ok().and_then(|()| answer.recv().ok());
            result.unwrap_or_else(|| Err(clerk::gone()))?;
        }
        let published = self.inner.published.read().unwrap_or_else(PoisonError::into_inner);
        Ok(published.note.clone())
    }

    /// Entries that the newest signed checkpoint covers.
    pub fn signed_size(&self) -> TreeSize {
        self.inner.published.read().unwrap_or_else(PoisonError::into_inner).size
    }

    /// Log time of the oldest entry that no signed checkpoint covers, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn unpublished_since(&self) -> Result<Option<UtcNanos>> {
        let published = self.signed_size();
        match published < self.size() {
            true => Ok(Some(self.entry(EntryIndex(published.0))?.time_log)),
            false => Ok(None),
        }
    }

    /// Entries that the index covers; seals may be owed beyond.
    pub fn indexed(&self) -> TreeSize {
        self.inner.gate.wait(TreeSize(0))
    }

    /// Waits until index and seals have followed the log.
    pub fn settle(&self) {
        let mut size = self.size();
        while self.inner.gate.wait(size) < self.size() && self.inner.read_only.is_none() {
            let now = self.size();
            if now == size {
                return;
            }
            size = now;
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.inner.bell.close();
        let _ = self.inner.clerk.inbox.send(Message::Close);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
