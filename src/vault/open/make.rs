//! Making a vault: its keys, its file, its first entry. What a crash left half made is finished by
//! making it again or by opening it. It never makes one where one is.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::id::TenantId;
use crate::base::world::random;
use crate::format::cell;
use crate::format::control::{self, Continues};
use crate::store::kek::{Kek, seal_secret};
use crate::store::keytree::KeyTree;
use crate::store::replica;
use crate::vault::config::{Config, Places, VaultFile};
use crate::vault::error::{Error, Result};
use crate::vault::keys::tenant_cell;
use crate::vault::logkey;
use crate::vault::open::{REPORT_KEY, parse_policies};
use crate::vault::{Vault, World, vault_code};

impl Vault {
    /// Makes an empty vault and opens it. `name` is the vault's name in every origin line.
    ///
    /// # Errors
    /// `Conflict` when one is there; those of the store.
    pub fn init(world: World, config: &Config, name: &str) -> Result<Vault> {
        Vault::init_after(world, config, name, None)
    }

    /// As `init`, for a log that takes up after one that cannot be continued: its genesis names
    /// where that one ended.
    ///
    /// # Errors
    /// As `init`.
    pub fn init_after(
        world: World,
        config: &Config,
        name: &str,
        continues: Option<Continues>,
    ) -> Result<Vault> {
        Vault::make_after(&world, config, name, continues)?;
        Vault::open(world, config)
    }

    /// Makes an empty vault without opening it.
    ///
    /// # Errors
    /// As `init`.
    pub fn make(world: &World, config: &Config, name: &str) -> Result<()> {
        Vault::make_after(world, config, name, None)
    }

    fn make_after(
        world: &World,
        config: &Config,
        name: &str,
        continues: Option<Continues>,
    ) -> Result<()> {
        let disk = &world.disk;
        disk.create_dir(&config.data)?;
        disk.create_dir(&config.keys)?;
        if disk.exists(&config.data.join("vault.toml"))? {
            let fix = "a vault is here already; choose another directory";
            return Err(Error::Conflict { code: "VAULT_EXISTS", first: None, fix: fix.into() });
        }
        parse_policies(config)?;
        let tenant = TenantId(random(&*world.entropy));
        let file = VaultFile { continues, ..VaultFile::new(name, tenant) };
        let places = Places::of(&config.data, &config.keys, &tenant);
        let passphrase = config.passphrase.as_deref().map(Vec::as_slice);
        let kek = Kek::create(&**disk, &config.keys, passphrase, &*world.entropy)?;
        for (name, label) in [(logkey::FILE, logkey::LABEL), ("report.key", REPORT_KEY)] {
            let seed: [u8; 32] = random(&*world.entropy);
            let path = places.signing.join(name);
            seal_secret(&**disk, &path, &kek, label, &seed, &*world.entropy)?;
        }
        logkey::LogKeys::open(&**disk, &places.signing, &kek, &file.origin())?;
        let entropy = &*world.entropy;
        let mut tree = KeyTree::create(disk.clone(), &places.tree, tenant, kek.key(), entropy)?;
        let directory = crate::crypto::kdf::HmacKey::new(tree.directory_key());
        let own = (cell::tenant_key(&directory), tenant_cell(entropy).encode());
        tree.put(vec![own], entropy)?;
        drop(tree);
        if let Some(mirror) = &config.mirror {
            replica::pair(&**disk, &config.keys, mirror, entropy)?;
        }
        // The file that says "a vault is here" comes last but for the log's own first entries,
        // which opening writes when they are not there.
        Ok(file.write(&**disk, &config.data)?)
    }

    /// Writes the genesis into an empty log. A crash may have come between the making of the
    /// vault and its first entry; then nothing but the tenant's own keys is in the key tree.
    pub(crate) fn begin(&self, continues: Option<Continues>) -> Result<()> {
        if self.size().0 > 0 {
            return Ok(());
        }
        let tree = self.inner.keys.tree();
        if tree.cells()? > 1 {
            let detail = "the log is empty, the key tree is not: the log was lost or removed; \
                          restore it from a backup";
            return Err(Error::evidence("ROLLED_BACK", detail));
        }
        let genesis = control::Genesis {
            format: 1,
            origin: self.inner.origin.to_string(),
            tenant: self.inner.tenant,
            log_key: self.inner.log_key.to_string(),
            report_key: self.inner.reports.verifier().to_string(),
            generation: tree.generation(),
            root: tree.root_hash(),
            continues,
        };
        let clear = control::encode(&genesis)?;
        self.inner.clerk.record(Kind::Genesis, vault_code(Verb::Create), clear).map(|_| ())
    }
}
