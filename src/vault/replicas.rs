//! The second key directory while a vault is open: how it stands, bringing it back when it
//! returns, saying in the log that an erasure it had missed is complete on it too, and (`restore`)
//! restoring the first directory from it. It never serves from the mirror, and never makes a mirror
//! where nobody asked for one: an empty directory is an unmounted disk.

mod restore;

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::limits::VAULT_CLASS;
use crate::base::unit::{ClassId, EntryIndex};
use crate::format::control::{self, EraseFinal};
use crate::store::disk::Writer;
use crate::store::keytree::Replicas;
use crate::store::replica;
use crate::vault::error::{Error, Result};
use crate::vault::hold::Order;
use crate::vault::keyplane;
use crate::vault::{Notice, Vault, World, vault_code};

/// What `mend_mirror` came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mended {
    /// What there is to say, if anything.
    pub notice: Option<Notice>,
    /// Acts that are complete on every replica by this.
    pub completed: usize,
}

impl Vault {
    /// How many key directories follow, and which is away.
    pub fn key_replicas(&self) -> Replicas {
        self.inner.keys.tree().replicas()
    }

    /// Tries to bring back a mirror that was away, or one that was paired since.
    ///
    /// # Errors
    /// `KEYS_DIVERGED`; those of the store.
    pub fn mend_mirror(&self) -> Result<Mended> {
        self.writable()?;
        let (disk, dirs) = (&self.inner.world.disk, &self.inner.key_dirs);
        let mut notice = None;
        {
            let mut tree = self.inner.keys.tree();
            let replicas = tree.replicas();
            if (replicas.away.is_some() || replicas.paired.is_none())
                && let Some(paired) = dirs.paired(&**disk)?
            {
                let how = tree.attach(dirs.place(&paired), false, &*self.inner.world.entropy)?;
                notice = keyplane::settle(how)?;
            }
        }
        Ok(Mended { notice, completed: self.finish_replicas()? })
    }

    /// Makes `keys.mirror` the second copy of the keys, and brings it up.
    ///
    /// # Errors
    /// `Denied` `KEYS_MIRROR_NOT_NAMED` without one in the configuration; those of `pair`.
    pub fn make_mirror(&self) -> Result<Mended> {
        self.writable()?;
        let dirs = &self.inner.key_dirs;
        let Some(mirror) = &dirs.mirror else {
            let fix = "name a directory on another disk as keys.mirror in chancery.toml first";
            return Err(Error::denied("KEYS_MIRROR_NOT_NAMED", fix));
        };
        let World { disk, entropy, .. } = &self.inner.world;
        replica::pair(&**disk, &dirs.keys, mirror, &**entropy)?;
        self.mend_mirror()
    }

    /// Gives the mirror up; none if there was none. What it holds stays as it is, and no erasure
    /// reaches it any more, so two people answer for it and an entry says so before it is done.
    /// After a crash in between it is paired still and can be given up again. Erasures it has
    /// missed stay partial.
    ///
    /// # Errors
    /// `Denied` without two people; those of the store.
    pub fn forget_mirror(&self, order: &Order) -> Result<Option<EntryIndex>> {
        self.writable()?;
        let mode = order.mode()?;
        let (disk, dirs) = (&self.inner.world.disk, &self.inner.key_dirs);
        let Some(paired) = dirs.paired(&**disk)? else { return Ok(None) };
        let act = self.prepare_act(Verb::Update, ClassId(VAULT_CLASS), order.fields())?;
        let said = control::Config::MirrorForgotten { mode, replica: paired.id };
        let mut tree = self.inner.keys.tree();
        let done = self.commit_act(Kind::Config, control::encode(&said)?, act, None)?;
        tree.detach()?;
        replica::unpair(&**disk, &dirs.keys)?;
        Ok(Some(done.first))
    }

    /// Rewrites the key tree's file without its dead nodes, on every replica; its bytes before and
    /// after. Secrecy does not depend on it: dead nodes are noise once their root is gone.
    ///
    /// # Errors
    /// `Full` before anything was written; those of the store.
    pub fn compact_keys(&self) -> Result<(u64, u64)> {
        self.writable()?;
        let mut tree = self.inner.keys.tree();
        let before = tree.bytes();
        // A write that fails stops the tree, so it is asked beforehand; never of the reserve.
        self.inner.world.disk.room(tree.live_bytes(), Writer::Source)?;
        tree.compact()?;
        Ok((before, tree.bytes()))
    }

    /// Says in the log that what the mirror had missed is complete, now that it follows. Repeating
    /// it after a crash is harmless: what is said already is not owed.
    pub(crate) fn finish_replicas(&self) -> Result<usize> {
        let completed = {
            // Held until the last entry: an erasure in between could fail on the mirror, and what
            // it owes would be called complete though nothing was scrubbed there since.
            let tree = self.inner.keys.tree();
            let replicas = tree.replicas();
            let (Some(id), None) = (replicas.paired, &replicas.away) else { return Ok(0) };
            let owed = self.facts().owed_to(id);
            for (job, done) in &owed {
                let last = EraseFinal { job: *job, done: *done, replicas: replicas.text() };
                let clear = control::encode(&last)?;
                self.inner.clerk.record(Kind::EraseFinal, vault_code(Verb::Erase), clear)?;
            }
            owed.len()
        };
        if completed > 0 {
            self.checkpoint()?;
        }
        Ok(completed)
    }
}
