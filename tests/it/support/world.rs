//! A world for tests: a clock that is set, randomness from a seed, a disk of choice.

use chancery::base::unit::{NANOS_PER_DAY, UtcNanos};
use chancery::base::world::{Clock, Entropy};
use chancery::policy::default_files;
use chancery::store::disk::Disk;
use chancery::store::error::ErrorKind;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::error::{Error, Result};
use chancery::vault::hold::Order;
use chancery::vault::{Vault, World};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Both clocks, moved by hand.
pub(crate) struct HandClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl HandClock {
    /// Starts at an instant such as `2026-11-21T08:00:00Z`.
    pub(crate) fn at(text: &str) -> Arc<Self> {
        let wall = UtcNanos::parse(text).expect("an instant").0;
        Arc::new(HandClock { wall: AtomicU64::new(wall), monotonic: AtomicU64::new(1) })
    }

    /// Another clock that shows the same.
    pub(crate) fn fork(&self) -> Arc<Self> {
        let of = |time: &AtomicU64| AtomicU64::new(time.load(Ordering::SeqCst));
        Arc::new(HandClock { wall: of(&self.wall), monotonic: of(&self.monotonic) })
    }

    /// Time passes.
    pub(crate) fn pass(&self, nanos: u64) {
        self.wall.fetch_add(nanos, Ordering::SeqCst);
        self.monotonic.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Days pass.
    pub(crate) fn pass_days(&self, days: u64) {
        self.pass(days * NANOS_PER_DAY);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set_wall(&self, wall: UtcNanos) {
        self.wall.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn wall(&self) -> UtcNanos {
        UtcNanos(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

/// SHA-256 in counter mode over a seed: the same bytes in every run.
pub(crate) struct SeedEntropy {
    seed: u64,
    counter: AtomicU64,
}

impl SeedEntropy {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(SeedEntropy { seed, counter: AtomicU64::new(0) })
    }
}

impl Entropy for SeedEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let counter = self.counter.fetch_add(1, Ordering::SeqCst);
            let block = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(counter.to_be_bytes());
            chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
        }
    }
}

/// A world on a disk.
pub(crate) fn world(disk: Arc<dyn Disk>, clock: &Arc<HandClock>, seed: u64) -> World {
    World { disk, clock: clock.clone(), entropy: SeedEntropy::new(seed) }
}

/// The policies of most tests: without the products whose mappings have tests of their own, since
/// a vault reads every file of its policies at every opening, and crash tests open thousands.
pub(crate) fn few_policies() -> BTreeMap<String, String> {
    const KEPT: [&str; 6] = [
        "classes.toml",
        "fields.toml",
        "sources/canonical.toml",
        "sources/cloudtrail.toml",
        "sources/plain.toml",
        "sources/windows-security.toml",
    ];
    let mut files = default_files();
    files.retain(|name, _| KEPT.contains(&name.as_str()));
    assert_eq!(files.len(), KEPT.len());
    files
}

/// Default configuration under `home`: `data/`, `keys/`, index in memory.
pub(crate) fn config(home: &Path) -> Config {
    Config {
        data: home.join("data"),
        keys: home.join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: few_policies(),
        index_on_disk: false,
        outside: Default::default(),
        // Where the background may draw randomness, a seed no longer says which bytes come.
        tuning: Tuning { pack: false, ..Tuning::default() },
    }
}

/// Opens a vault on the real disk while other tests start programs: a child holds our lock too,
/// for the moment before it becomes another program, and that is no second opener.
pub(crate) fn open_patiently(world: &World, config: &Config) -> Result<Vault> {
    let locked =
        |error: &Error| matches!(error, Error::Unavailable(e) if e.kind == ErrorKind::Locked);
    for _ in 0..100_000 {
        match Vault::open(world.clone(), config) {
            Err(error) if locked(&error) => std::thread::yield_now(),
            other => return other,
        }
    }
    Vault::open(world.clone(), config)
}

/// Two different people.
pub(crate) fn two_people() -> Order {
    Order {
        requested_by: "priva.officer@example.org".into(),
        approved_by: Some("ada.min@example.org".into()),
        single_operator: false,
    }
}
