//! The second key directory while a vault is open: how it stands, bringing it back when it
//! returns, saying in the log that an erasure it had missed is complete on it too, and restoring
//! the first directory from it. It never serves from the mirror, and never makes a mirror where
//! nobody asked for one: an empty directory is an unmounted disk.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::limits::VAULT_CLASS;
use crate::base::unit::{ClassId, EntryIndex, Generation};
use crate::crypto::lanes::Lanes;
use crate::format::control::{self, EraseFinal};
use crate::store::kek::Kek;
use crate::store::keytree::{KeyTree, Replicas};
use crate::store::replica;
use crate::vault::config::{Config, Places, VaultFile};
use crate::vault::error::{Error, Result};
use crate::vault::hold::Order;
use crate::vault::keyplane::{self, KeyDirs};
use crate::vault::open::Opening;
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
                notice = keyplane::settle(disk, dirs, how)?;
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
    /// Those of the store.
    pub fn compact_keys(&self) -> Result<(u64, u64)> {
        self.writable()?;
        let mut tree = self.inner.keys.tree();
        let before = tree.bytes();
        tree.compact()?;
        Ok((before, tree.bytes()))
    }

    /// Says in the log that what the mirror had missed is complete, now that it follows. Repeating
    /// it after a crash is harmless: what is said already is not owed.
    pub(crate) fn finish_replicas(&self) -> Result<usize> {
        let replicas = self.key_replicas();
        let (Some(id), None) = (replicas.paired, &replicas.away) else { return Ok(0) };
        let owed = self.facts().owed_to(id);
        for (job, done) in &owed {
            let last = EraseFinal { job: *job, done: *done, replicas: replicas.text() };
            let clear = control::encode(&last)?;
            self.inner.clerk.record(Kind::EraseFinal, vault_code(Verb::Erase), clear)?;
        }
        if !owed.is_empty() {
            self.checkpoint()?;
        }
        Ok(owed.len())
    }

    /// Restores the key directory from its mirror: for a lost or damaged disk. The mirror must
    /// fit the log, as any key directory must that is opened.
    ///
    /// # Errors
    /// `Conflict` `KEYS_PRIMARY_WHOLE` when there is nothing to restore; `Evidence`
    /// `KEYS_MIRROR_STALE` when the mirror is known to lack keys, unless that is accepted;
    /// `ROOT_GEN_ROLLBACK` when it is from before an erasure, always.
    pub fn restore_keys(world: World, config: &Config, accept_loss: bool) -> Result<Generation> {
        let (disk, entropy) = (world.disk.clone(), world.entropy.clone());
        let file = VaultFile::read(&*disk, &config.data)?;
        let _lock = disk.lock(&config.data.join("lock"))?;
        let places = Places::of(&config.data, &config.keys, &file.tenant);
        let dirs = KeyDirs::of(config, &places, file.tenant);
        let mirror = dirs.mirror.clone();
        let id = mirror.as_ref().map(|dir| replica::mirror_in(&*disk, dir)).transpose()?.flatten();
        let (Some(mirror), Some(id)) = (mirror, id) else {
            let fix = "keys.mirror names no mirror: mount its disk, or name its directory";
            return Err(Error::denied("KEYS_MIRROR_NOT_NAMED", fix));
        };
        let passphrase = config.passphrase.as_deref().map(Vec::as_slice);
        let kek = Kek::open(&*disk, &mirror, passphrase)?;
        let whole = KeyTree::open(
            disk.clone(),
            &dirs.tree_in(&dirs.keys),
            file.tenant,
            kek.key(),
            &*entropy,
        );
        if disk.exists(&dirs.keys.join("kek"))? && whole.is_ok_and(|tree| tree.check().is_ok()) {
            let fix = "the key directory is whole; open it".to_owned();
            return Err(Error::Conflict { code: "KEYS_PRIMARY_WHOLE", first: None, fix });
        }
        if !accept_loss && disk.exists(&dirs.marker)? {
            let detail = format!(
                "mirror {id} was away while keys were made: what was sealed under those is lost \
                 with the first directory; look for that first, or restore with --accept-loss"
            );
            return Err(Error::evidence("KEYS_MIRROR_STALE", detail));
        }
        // The log judges the mirror as it would judge any key directory.
        let as_keys = Config { keys: mirror, mirror: None, ..config.clone() };
        let opening = Opening::read(world, &as_keys, file, Lanes::detect())?;
        let peek = opening.peek(&dirs.tree_in(&as_keys.keys))?;
        opening.judge(None).judge(&peek)?;
        drop(opening);
        keyplane::rebuild_primary(&disk, &dirs, &kek, &*entropy)
    }
}
