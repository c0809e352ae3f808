//! Restoring the first key directory from its mirror. It takes as little as it can: a tree that is
//! whole stays, whatever else of its directory is lost. It never overwrites a directory that the
//! vault could open, and never brings back a tree that the log does not explain.

use crate::base::id::ReplicaId;
use crate::base::unit::Generation;
use crate::crypto::lanes::Lanes;
use crate::store::disk::Disk;
use crate::store::error::Error as StoreError;
use crate::store::kek::Kek;
use crate::store::keytree::KeyTree;
use crate::store::replica;
use crate::vault::config::{Config, Places, VaultFile};
use crate::vault::error::{Error, Result};
use crate::vault::keyplane::{self, KeyDirs};
use crate::vault::open::Opening;
use crate::vault::{Vault, World};
use std::path::Path;

impl Vault {
    /// Restores the key directory from its mirror: for a lost or damaged disk. The mirror must
    /// fit the log, as any key directory must that is opened. Where only the key-encryption key
    /// or a signing key is lost and the tree is whole, those alone are given back.
    ///
    /// # Errors
    /// `Conflict` `KEYS_PRIMARY_WHOLE` when there is nothing to restore; `Evidence`
    /// `KEYS_MIRROR_STALE` when the mirror is known to lack keys and its tree is needed, unless
    /// that is accepted; `ROOT_GEN_ROLLBACK` when it is from before an erasure, always; a
    /// key-encryption key that only wants another passphrase or other permissions, as it stands.
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
        let own = own_kek(&*disk, &dirs.keys, passphrase)?;
        // The log judges the mirror as it would judge any key directory.
        let as_keys = Config { keys: mirror.clone(), mirror: None, ..config.clone() };
        let behind = !accept_loss && disk.exists(&dirs.marker)?;
        let opening = match Opening::read(world.clone(), &as_keys, file, Lanes::detect()) {
            Err(_) if behind => return Err(stale(id)),
            opening => opening?,
        };
        let whole = whole_tree(&world, &dirs, &opening, own.as_ref().unwrap_or(&kek));
        if whole.is_some() && own.as_ref().is_some_and(|own| opening.signs_with(&dirs.keys, own)) {
            let fix = "the key directory is whole; open it".to_owned();
            return Err(Error::Conflict { code: "KEYS_PRIMARY_WHOLE", first: None, fix });
        }
        let same_kek = own.is_none_or(|own| own.key() == kek.key());
        if let Some(generation) = whole.filter(|_| same_kek) {
            replica::name(&*disk, &dirs.keys, id)?;
            replica::copy_secrets(&*disk, &mirror, &dirs.keys)?;
            return Ok(generation);
        }
        if behind {
            return Err(stale(id));
        }
        let peek = opening.peek(&dirs.tree_in(&mirror))?;
        opening.judge(None).judge(&peek)?;
        drop(opening);
        keyplane::rebuild_primary(&disk, &dirs, &kek, &*entropy)
    }
}

fn stale(id: ReplicaId) -> Error {
    let detail = format!(
        "mirror {id} was away while keys were made: what was sealed under those is lost with the \
         first directory; look for that first, or restore with --accept-loss"
    );
    Error::evidence("KEYS_MIRROR_STALE", detail)
}

/// The first directory's own key-encryption key; none if it is lost or damaged. One that is there
/// and cannot be used as things stand is no loss.
fn own_kek(disk: &dyn Disk, keys: &Path, passphrase: Option<&[u8]>) -> Result<Option<Kek>> {
    const THERE: [&str; 3] =
        ["KEK_PASSPHRASE_NEEDED", "KEK_PASSPHRASE_WRONG", "KEK_WORLD_READABLE"];
    let usable = |error: &StoreError| THERE.iter().any(|code| error.what.starts_with(code));
    match Kek::open(disk, keys, passphrase) {
        Ok(kek) => Ok(Some(kek)),
        Err(error) if usable(&error) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// The generation of the first directory's tree, if it fits the log and every node of it opens. It
/// is closed again: whoever goes on needs its lock.
fn whole_tree(world: &World, dirs: &KeyDirs, opening: &Opening, kek: &Kek) -> Option<Generation> {
    let dir = dirs.tree_in(&dirs.keys);
    let (disk, tenant, key) = (|| world.disk.clone(), dirs.tenant, kek.key());
    let peek = KeyTree::peek(disk(), &dir, tenant, key).ok()?;
    opening.judge(None).judge(&peek).ok()?;
    let tree = KeyTree::open(disk(), &dir, tenant, key, &*world.entropy).ok()?;
    tree.check().ok().map(|()| peek.generation)
}
