//! Making and opening a vault. Opening recovers, compares the key plane with what the log
//! announced, finishes every act a crash interrupted, and only then lets anyone in. It never
//! serves before the old root of an interrupted erasure is scrubbed.

mod make;
mod threads;

use crate::base::id::Hash32;
use crate::base::limits::{EVIDENCE_CLASS, VAULT_CLASS};
use crate::base::unit::{ClassId, EntryIndex, TreeSize};
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::{EMPTY_ROOT, root_at};
use crate::format::control::Mode;
use crate::format::vkey::Signer;
use crate::policy::classify::Policies;
use crate::store::bodies::Bodies;
use crate::store::disk::Disk;
use crate::store::error::Error as StoreError;
use crate::store::heads::Head;
use crate::store::index::Index;
use crate::store::kek::Kek;
use crate::store::keytree::{KeyTree, Peek};
use crate::store::log::UnitLog;
use crate::store::tiles::Tiles;
use crate::vault::anchor::Anchors;
use crate::vault::append::Shelf;
use crate::vault::clerk::Clerk;
use crate::vault::clock::{self, LogClock};
use crate::vault::committer::{Failed, Published};
use crate::vault::config::{Config, Places, Tuning, VaultFile};
use crate::vault::crew::Crew;
use crate::vault::error::{Error, NO_THREAD, Result};
use crate::vault::facts::Facts;
use crate::vault::keyplane::{self, Judge, KeyDirs};
use crate::vault::keys::Keyring;
use crate::vault::logkey::{self, LogKeys};
use crate::vault::meter::Meter;
use crate::vault::packer::Bell;
use crate::vault::press::Press;
use crate::vault::proven::Proven;
use crate::vault::read::Gate;
use crate::vault::receipt::Ledger;
use crate::vault::recover::{self, Began, Loaded, Read};
use crate::vault::sequencer::Message;
use crate::vault::snapshot::restore;
use crate::vault::witness::desk::Desk;
use crate::vault::witness::round::Round;
use crate::vault::witness::start::{Ground, Met, meet};
use crate::vault::{Inner, Notice, Vault, World};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex, RwLock};

/// Batches waiting for the sequencer at most; the pool of bytes bounds their size.
const INBOX: usize = 256;
/// Label of the report key at rest.
const REPORT_KEY: &str = "chancery/v1/signing/report";

impl Vault {
    /// Opens a vault.
    ///
    /// # Errors
    /// `Unavailable` for missing, locked, newer or damaged files; `Evidence` with a named verdict
    /// (`ROOT_MISMATCH`, `ROLLED_BACK`, `ROOT_GEN_ROLLBACK`, `ROOT_HASH_MISMATCH`, ...) when the
    /// files contradict their own proofs. Nothing is changed then.
    pub fn open(world: World, config: &Config) -> Result<Vault> {
        Vault::open_using(world, config, Lanes::detect())
    }

    /// As `open`, with hashing of the caller's choice: the bytes are the same, for measuring.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_using(world: World, config: &Config, lanes: Lanes) -> Result<Vault> {
        let file = VaultFile::read(&*world.disk, &config.data)?;
        let lock = world.disk.lock(&config.data.join("lock"))?;
        let continues = file.continues.clone();
        let opening = Opening::read(world, config, file, lanes)?;
        let had_checkpoint = opening.head_note.is_some();
        let met = opening.meet(config)?;
        let unwitnessed = met.unwitnessed;
        let keys = opening.open_keys(config)?;
        let vault = opening.start(config, keys, met, lock)?;
        if vault.inner.read_only.is_none() {
            vault.begin(continues)?;
            if !had_checkpoint {
                // A log with more than its founding entries and no checkpoint is one that lost
                // it: so the first is durable before anybody, in the background too, adds more.
                vault.checkpoint()?;
            }
            if unwitnessed {
                vault.record_unwitnessed(config.outside.witnesses.len())?;
            }
        }
        // An interrupted act is finished under the policies in force, whatever the files say.
        vault.load_policies(config)?;
        if vault.inner.read_only.is_none() {
            vault.redrive()?;
            vault.finish_replicas()?;
        }
        if vault.inner.read_only.is_none() && vault.facts().policies.is_none() {
            let policies = parse_policies(config)?;
            vault.adopt_policies(&policies, &config.policies, Mode::SingleOperator, None)?;
        }
        if vault.inner.read_only.is_none() && !had_checkpoint {
            vault.checkpoint()?;
        }
        vault.pack_in_background(config.tuning.pack);
        Ok(vault)
    }

    /// Begins one of its threads. A vault that is dropped with the first alone still closes it.
    fn begin_thread(
        &mut self,
        config: &Config,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        self.threads.push(thread.map_err(|e| StoreError::io(&config.data, NO_THREAD, e))?);
        Ok(())
    }
}

fn parse_policies(config: &Config) -> Result<Arc<Policies>> {
    let policies =
        Policies::parse(&config.policies).map_err(|e| Error::denied(e.code, e.to_string()))?;
    check_own_classes(&policies)?;
    Ok(Arc::new(policies))
}

/// The vault's own classes have fixed numbers, because entries name them before any policy does.
pub(crate) fn check_own_classes(policies: &Policies) -> Result<()> {
    for (name, id) in [("vault", VAULT_CLASS), ("erasure-evidence", EVIDENCE_CLASS)] {
        if policies.classes().by_name(name).map(|c| c.id) != Some(ClassId(id)) {
            let fix = format!("policies/classes.toml must have class {name} with id {id}");
            return Err(Error::denied("POLICY_OWN_CLASS", fix));
        }
    }
    Ok(())
}

/// The key-encryption key. A key directory without one, beside a mirror with one, is a lost disk.
fn open_kek(disk: &dyn Disk, config: &Config, passphrase: Option<&[u8]>) -> Result<Kek> {
    let opened = Kek::open(disk, &config.keys, passphrase);
    if let (Err(error), Some(mirror)) = (&opened, &config.mirror)
        && error.what.starts_with("KEK_MISSING")
        && disk.exists(&mirror.join("kek")).unwrap_or(false)
    {
        return Err(keyplane::lost(&config.keys, "no key-encryption key here").into());
    }
    Ok(opened?)
}

/// The key that signs reports, receipts and backups.
pub(crate) fn signer_of_reports(
    world: &World,
    places: &Places,
    kek: &Kek,
    file: &VaultFile,
) -> Result<Signer> {
    let path = places.signing.join("report.key");
    logkey::signer(&*world.disk, &path, kek, REPORT_KEY, &file.report_name())
}

/// A vault half open: the data plane is read, nothing is served.
pub(crate) struct Opening {
    world: World,
    places: Places,
    dirs: KeyDirs,
    file: VaultFile,
    kek: Kek,
    signer: Arc<Signer>,
    log_keys: LogKeys,
    reports: Arc<Signer>,
    head: Head,
    head_note: Option<Vec<u8>>,
    log: Arc<UnitLog>,
    tiles: Arc<Tiles>,
    bodies: Arc<Bodies>,
    lanes: Lanes,
    loaded: Loaded,
    start: Option<Began>,
    tuning: Tuning,
    notices: Vec<Notice>,
    sealed: TreeSize,
}

impl Opening {
    /// Reads and checks the data plane. With `writable` false nothing is changed.
    pub(crate) fn read(
        world: World,
        config: &Config,
        file: VaultFile,
        lanes: Lanes,
    ) -> Result<Opening> {
        let disk = world.disk.clone();
        let places = Places::of(&config.data, &config.keys, &file.tenant);
        let passphrase = config.passphrase.as_deref().map(Vec::as_slice);
        let kek = open_kek(&*disk, config, passphrase)?;
        let dirs = KeyDirs::of(config, &places, file.tenant);
        let origin = file.origin();
        let log_keys = LogKeys::open(&*disk, &places.signing, &kek, &origin)?;
        let reports = signer_of_reports(&world, &places, &kek, &file)?;
        disk.create_dir(&places.tenant)?;
        let head = Head::new(disk.clone(), &places.checkpoint());
        let head_note = head.load()?;
        let signed = recover::checkpoint(head_note.as_deref(), &origin, &log_keys)?;
        let sealed = signed.as_ref().map_or(TreeSize(0), |c| c.size);
        let mut notices = Vec::new();
        let ground = restore::Ground {
            disk: &disk,
            dir: &places.snapshots(),
            log: &places.log(),
            tenant: file.tenant,
            keys: &log_keys,
            sealed,
        };
        let read = Read::log(&ground, signed.as_ref(), &lanes, &config.tuning, &mut notices)?;
        let Read { log, loaded, torn, start } = read;
        let log_keys = logkey::settle(&*disk, &places.signing, &kek, log_keys, &loaded.facts)?;
        let tiles = Tiles::open(disk.clone(), &places.tiles(), sealed)?;
        recover::tiles(&log, &tiles, signed.as_ref(), &loaded.tree, &lanes)?;
        let bodies = Bodies::new(disk, &places.bodies(), file.tenant);
        if let Some((first, bytes)) = torn {
            let text = format!(
                "the last commit, {bytes} bytes from entry {first} on, is torn or not signed by \
                 this log, and is dropped; whoever holds a receipt for one of its entries must \
                 send them again"
            );
            notices.push(Notice { code: "TAIL_DROPPED", text });
        }
        if loaded.facts.genesis.is_none() && log.size().0 > 0 {
            return Err(Error::evidence("MALFORMED", "the log does not begin with its genesis"));
        }
        Ok(Opening {
            world,
            places,
            dirs,
            file,
            kek,
            signer: log_keys.signer.clone(),
            log_keys,
            reports: Arc::new(reports),
            head,
            head_note,
            log: Arc::new(log),
            tiles: Arc::new(tiles),
            bodies: Arc::new(bodies),
            lanes,
            loaded,
            start,
            tuning: config.tuning,
            notices,
            sealed,
        })
    }

    /// Asks the witnesses. Data older than keys is known to be an old copy and opens for reading,
    /// so that what survived a lost disk can be read; no witness needs to say it again.
    fn meet(&self, config: &Config) -> Result<Met> {
        let ground = Ground {
            disk: &self.world.disk,
            places: &self.places,
            log: &self.log,
            tiles: &self.tiles,
            log_keys: &self.log_keys,
            note: self.head_note.as_deref(),
            now: self.world.clock.wall(),
        };
        match meet(&config.outside, &ground) {
            Err(Error::Evidence { verdict: "ROLLED_BACK", detail }) => {
                let (tenant, key) = (self.file.tenant, self.kek.key());
                let disk = self.world.disk.clone();
                let peek = KeyTree::peek(disk, &self.places.tree, tenant, key)?;
                if peek.log_size <= self.log.size() {
                    return Err(Error::evidence("ROLLED_BACK", detail));
                }
                let notice = Notice { code: "ROLLED_BACK", text: detail };
                Ok(Met { notices: vec![notice], ..Met::default() })
            }
            other => other,
        }
    }

    /// Compares the key plane with the log's announcements, and opens it.
    fn open_keys(&self, config: &Config) -> Result<(Keyring, Option<&'static str>, Vec<Notice>)> {
        let disk = &self.world.disk;
        let tenant = self.file.tenant;
        let mut notices = Vec::new();
        let report_key = self.reports.verifier();
        let ledger = config.ledger.as_ref();
        let ledger = ledger.map(|text| Ledger::open(text, report_key, &self.file)).transpose()?;
        let chosen = keyplane::choose(disk, &self.dirs, &self.kek, &self.judge(ledger.as_ref()))?;
        if chosen.read_only.is_some() {
            let text = "the data is older than the keys: what was erased since stays unreadable; \
                        nothing may be appended";
            notices.push(Notice { code: "LOG_BEHIND_KEYS", text: text.to_owned() });
        }
        if ledger.is_none() {
            let text = "no erasure ledger was given: if data and keys were both restored from one \
                        old copy, nothing here can tell";
            notices.push(Notice { code: "UNWITNESSED", text: text.to_owned() });
        }
        if chosen.read_only.is_none() {
            self.log.settle(self.sealed)?;
            recover::bodies(&self.loaded.ends, &self.bodies)?;
        }
        let entropy = &*self.world.entropy;
        let (tree, more) = keyplane::open(disk, &self.dirs, &self.kek, &chosen, entropy)?;
        notices.extend(more);
        let keys = Keyring::new(tenant, tree)?;
        ledger.map_or(Ok(()), |ledger| ledger.check_persons(&keys))?;
        Ok((keys, chosen.read_only, notices))
    }

    /// The root slot of a tree, under this opening's key.
    pub(crate) fn peek(&self, dir: &Path) -> Result<Peek> {
        let disk = self.world.disk.clone();
        Ok(KeyTree::peek(disk, dir, self.file.tenant, self.kek.key())?)
    }

    /// Whether a key directory has the signing keys that this log was read with.
    pub(crate) fn signs_with(&self, keys: &Path, kek: &Kek) -> bool {
        let (disk, signing) = (&*self.world.disk, keys.join("signing"));
        let log_keys = LogKeys::open(disk, &signing, kek, &self.file.origin());
        let (path, name) = (signing.join("report.key"), self.file.report_name());
        let reports = logkey::signer(disk, &path, kek, REPORT_KEY, &name);
        log_keys.is_ok_and(|found| found.all().eq(self.log_keys.all()))
            && reports.is_ok_and(|found| found.verifier() == self.reports.verifier())
    }

    /// What an opening of these files beside these keys would say, without opening: witnesses are
    /// asked, keys and ledger compared, nothing changed. A longer log that a witness has seen is
    /// said and no error with `accept_older`.
    pub(crate) fn stands(&self, config: &Config, accept_older: bool) -> Result<Vec<Notice>> {
        let mut notices = match self.meet(config) {
            Err(Error::Evidence { verdict: "ROLLED_BACK", detail }) if accept_older => {
                vec![Notice { code: "ROLLED_BACK", text: detail }]
            }
            met => met?.notices,
        };
        let report_key = self.reports.verifier();
        let ledger = config.ledger.as_ref();
        let ledger = ledger.map(|text| Ledger::open(text, report_key, &self.file)).transpose()?;
        let disk = &self.world.disk;
        keyplane::choose(disk, &self.dirs, &self.kek, &self.judge(ledger.as_ref()))?;
        notices.extend(self.notices.iter().cloned());
        Ok(notices)
    }

    /// Whether the log had this root at this size.
    pub(crate) fn had_root(&self, size: TreeSize, root: &Hash32) -> Result<bool> {
        recover::had_root(&self.log, &self.tiles, size, root)
    }

    /// What the log says of the key plane.
    pub(crate) fn judge<'a>(&'a self, ledger: Option<&'a Ledger>) -> Judge<'a> {
        Judge { facts: &self.loaded.facts, log: &self.log, tiles: &self.tiles, ledger }
    }

    fn start(
        self,
        config: &Config,
        (keys, read_only, more): (Keyring, Option<&'static str>, Vec<Notice>),
        mut met: Met,
        lock: Box<dyn crate::store::disk::DiskLock>,
    ) -> Result<Vault> {
        let facts = self.loaded.facts.clone();
        let (size, world) = (self.log.size(), self.world.clock.clone());
        let empty = size.0 == 0;
        let clock = Arc::new(LogClock::start(world, facts.last_time, empty, config.accept_time));
        let index = self.open_index(config, size)?;
        let (inbox, messages) = sync_channel(INBOX);
        let (notify, news) = channel();
        let published = Arc::new(RwLock::new(self.published(size)));
        let clerk = Clerk {
            tenant: self.file.tenant,
            lanes: self.lanes,
            entropy: self.world.entropy.clone(),
            clock: clock.clone(),
            inbox,
            class: ClassId(VAULT_CLASS),
            meter: Arc::new(Meter::new(self.world.clock.clone())),
            crew: Arc::new(config.tuning.sealers.map_or_else(Crew::here, Crew::of)),
        };
        let facts = Arc::new(RwLock::new(facts));
        let mut notices = self.notices.clone();
        notices.extend(more);
        met.add_to(&mut notices);
        let desk = Desk::new(std::mem::take(&mut met.witnessing));
        if clock.is_ahead() {
            notices.push(clock::not_accepted());
        }
        let (anchors, keys) = (self.anchors(config, &clerk, &facts), Arc::new(keys));
        let press = self.press(&keys, &facts, &clock);
        let inner = Inner {
            tenant: self.file.tenant,
            origin: self.file.origin().into(),
            policies: RwLock::new(parse_policies(config)?),
            keys,
            log: self.log.clone(),
            proven: self.proven(),
            bodies: self.bodies.clone(),
            tiles: self.tiles.clone(),
            index: Arc::new(Mutex::new(index)),
            facts,
            published,
            clock,
            clerk,
            reports: self.reports.clone(),
            log_key: self.signer.verifier().clone(),
            gate: Arc::new(Gate::default()),
            desk,
            anchors: Arc::new(anchors),
            press,
            bell: Arc::new(Bell::told(self.sealed)),
            pool: AtomicUsize::new(0),
            scratches: Shelf::default(),
            failed: Failed::default(),
            erased: Mutex::default(),
            proven_epochs: Mutex::default(),
            sources: Mutex::new(HashMap::new()),
            notices,
            read_only,
            key_dirs: self.dirs.clone(),
            world: self.world.clone(),
            _locks: vec![lock],
        };
        let round = Round::new(&config.outside, met, &inner, &self.places);
        self.staff(config, inner, round, messages, (notify, news))
    }

    fn press(
        &self,
        keys: &Arc<Keyring>,
        facts: &Arc<RwLock<Facts>>,
        clock: &Arc<LogClock>,
    ) -> Press {
        Press {
            tenant: self.file.tenant,
            log: self.log.clone(),
            proven: self.proven(),
            bodies: self.bodies.clone(),
            keys: keys.clone(),
            facts: facts.clone(),
            clock: clock.clone(),
            entropy: self.world.entropy.clone(),
            one: Arc::default(),
        }
    }

    fn anchors(&self, config: &Config, clerk: &Clerk, facts: &Arc<RwLock<Facts>>) -> Anchors {
        Anchors::new(
            (self.world.disk.clone(), &self.places),
            self.tiles.clone(),
            self.file.origin().into(),
            clerk.clone(),
            facts.clone(),
            config.outside.clone(),
        )
    }

    fn published(&self, size: TreeSize) -> Published {
        let root = if size.0 == 0 { EMPTY_ROOT } else { self.loaded.tree.root() };
        Published { size, root, note: self.note(size).into() }
    }

    fn note(&self, size: TreeSize) -> String {
        if size.0 == 0 {
            return String::new();
        }
        if size == self.sealed
            && let Some(note) = &self.head_note
        {
            return String::from_utf8_lossy(note).into_owned();
        }
        let origin = self.file.origin();
        let checkpoint =
            crate::format::checkpoint::Checkpoint { origin, size, root: self.loaded.tree.root() };
        checkpoint.sign(&[&self.signer]).unwrap_or_default()
    }

    fn proven(&self) -> Proven {
        let vouched = self.start.as_ref().map(|from| (from.end, from.root));
        Proven { log: self.log.clone(), tiles: self.tiles.clone(), vouched }
    }

    fn open_index(&self, config: &Config, size: TreeSize) -> Result<Index> {
        if !config.index_on_disk {
            return Ok(Index::memory(size));
        }
        let root = |at: TreeSize| -> Option<Hash32> { root_at(&*self.tiles, at) };
        Ok(Index::open(&*self.world.disk, &self.places.index(), size, root)?)
    }
}

/// Keeps the compiler honest about what crosses threads.
const _: fn() = || {
    fn send<T: Send>() {}
    send::<Message>();
    send::<EntryIndex>();
};
