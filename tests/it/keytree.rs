//! The shred tree: a model of what it holds, an attacker who kept every byte ever written, a crash
//! at every step, and the attacks of its own level. Random tests print their seed.
#![allow(clippy::print_stdout)]

mod mirror;
mod names;

use crate::support::sim::{Rng, SimDisk, SimEntropy};
use chancery::base::id::{Hash32, TenantId};
use chancery::base::secret::Key;
use chancery::base::unit::{Generation, TreeSize};
use chancery::format::node::{BLOB_BYTES, Blob, Content, NodeHead};
use chancery::format::slot::Slot;
use chancery::store::disk::{Disk, OsDisk};
use chancery::store::error::{Error, ErrorKind, Result};
use chancery::store::kek::{self, Kek};
use chancery::store::keytree::{KeyTree, Put, Rekeyed};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

type CellKey = [u8; 32];
type Cells = BTreeMap<CellKey, Vec<u8>>;
type Change = (CellKey, Option<Vec<u8>>);

const TENANT: TenantId = TenantId([0x11; 16]);
const LOG: (TreeSize, Hash32) = (TreeSize(9), Hash32([0x22; 32]));

fn dir() -> PathBuf {
    PathBuf::from("/keys/t")
}

fn kek() -> Key {
    Key::new([0x33; 32])
}

fn create(disk: &SimDisk, entropy: &SimEntropy) -> Result<KeyTree> {
    KeyTree::create(Arc::new(disk.clone()), &dir(), TENANT, &kek(), entropy)
}

fn open(disk: &SimDisk, entropy: &SimEntropy) -> Result<KeyTree> {
    KeyTree::open(Arc::new(disk.clone()), &dir(), TENANT, &kek(), entropy)
}

fn put(tree: &mut KeyTree, cells: &[(CellKey, Vec<u8>)], entropy: &SimEntropy) -> Result<Put> {
    let changes = cells.iter().map(|(key, value)| (*key, Zeroizing::new(value.clone())));
    tree.put(changes.collect(), entropy)
}

fn rekey(tree: &mut KeyTree, changes: &[Change], entropy: &SimEntropy) -> Result<Rekeyed> {
    let changes = changes.iter().map(|(key, value)| (*key, value.clone().map(Zeroizing::new)));
    tree.rekey(changes.collect(), LOG, entropy)
}

/// Puts, and re-keys where the root would split.
fn grow(tree: &mut KeyTree, cells: &[(CellKey, Vec<u8>)], entropy: &SimEntropy) -> Result<()> {
    if put(tree, cells, entropy)? == Put::RootWouldSplit {
        let changes: Vec<Change> = cells.iter().map(|(k, v)| (*k, Some(v.clone()))).collect();
        rekey(tree, &changes, entropy)?;
    }
    Ok(())
}

fn held(tree: &KeyTree) -> Result<Cells> {
    let mut cells = Cells::new();
    tree.for_each(&mut |key, value| {
        assert!(cells.insert(*key, value.to_vec()).is_none(), "a cell twice");
    })?;
    Ok(cells)
}

fn random_key(rng: &mut Rng) -> CellKey {
    let mut key = [0; 32];
    rng.fill(&mut key);
    key
}

/// A value that occurs once: no two draws are equal.
fn secret(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut value = vec![0; len.max(24)];
    rng.fill(&mut value);
    value
}

fn is_blank(disk: &SimDisk, name: &str) -> bool {
    disk.bytes(&dir().join(name)).is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// The slot that does not hold `generation` must be scrubbed.
fn assert_scrubbed(disk: &SimDisk, generation: Generation, context: &str) {
    let (current, other) =
        if generation.0.is_multiple_of(2) { ("root.0", "root.1") } else { ("root.1", "root.0") };
    assert!(!is_blank(disk, current), "{context}: no current slot");
    assert!(is_blank(disk, other), "{context}: {other} is not scrubbed");
    assert!(is_blank(disk, "root.0.new") && is_blank(disk, "root.1.new"), "{context}: left over");
}

/// Someone who holds the KEK, the slots as they are now, and every byte ever written.
struct Attacker {
    blobs: Vec<(NodeHead, Box<Blob>)>,
    keys: Vec<Key>,
}

impl Attacker {
    fn of(disk: &SimDisk) -> Self {
        Attacker::in_dirs(disk, &[dir()])
    }

    fn in_dirs(disk: &SimDisk, dirs: &[PathBuf]) -> Self {
        let (mut blobs, mut seen) = (Vec::new(), HashSet::new());
        for chunk in dirs.iter().flat_map(|dir| disk.all_bytes_ever(dir)) {
            let mut at = 0;
            while at + BLOB_BYTES <= chunk.len() {
                let bytes = &chunk[at..at + BLOB_BYTES];
                let head = bytes.first_chunk().and_then(NodeHead::decode);
                match head {
                    Some(head) => {
                        if seen.insert(bytes.to_vec()) {
                            let blob: Blob = bytes.try_into().unwrap();
                            blobs.push((head, Box::new(blob)));
                        }
                        at += BLOB_BYTES;
                    }
                    None => at += 64,
                }
            }
        }
        let mut keys = Vec::new();
        let names = ["root.0", "root.1", "root.0.new", "root.1.new"];
        for path in dirs.iter().flat_map(|dir| names.map(|name| dir.join(name))) {
            let bytes = disk.bytes(&path).unwrap_or_default();
            if let Ok(slot) = Slot::open(&bytes, TENANT, &kek()) {
                keys.push(slot.root_key);
            }
        }
        Attacker { blobs, keys }
    }

    /// Values of all cells in all blobs that open under any key that can be reached. `all` tries
    /// every key on every blob; otherwise only on blobs of the node the key was stored for.
    fn closure(self, all: bool) -> HashSet<Vec<u8>> {
        let mut by_id: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, (head, _)) in self.blobs.iter().enumerate() {
            by_id.entry(head.id).or_default().push(index);
        }
        let everything: Vec<usize> = (0..self.blobs.len()).collect();
        let (mut values, mut opened) = (HashSet::new(), HashSet::new());
        let mut known: HashSet<[u8; 32]> = self.keys.iter().map(|key| *key.expose()).collect();
        let mut queue: Vec<(Key, Option<_>)> =
            self.keys.into_iter().map(|key| (key, None)).collect();
        while let Some((key, id)) = queue.pop() {
            let targets = match id.filter(|_| !all) {
                Some(id) => by_id.get(&id).unwrap_or(&everything),
                None => &everything,
            };
            for index in targets {
                let (head, blob) = &self.blobs[*index];
                if opened.contains(index) {
                    continue;
                }
                let Ok(content) = Content::open(blob, head, &key) else { continue };
                opened.insert(*index);
                match content {
                    Content::Leaf(cells) => {
                        values.extend(cells.iter().map(|cell| cell.value.to_vec()));
                    }
                    Content::Internal(rows) => {
                        for row in rows {
                            // One key may serve several nodes only by a bug: then both are tried.
                            if known.insert(*row.key.expose()) || !all {
                                queue.push((row.key.clone(), Some(row.id)));
                            }
                        }
                    }
                }
            }
        }
        values
    }
}

/// A tree, what it must hold, and what must be gone.
struct History {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    entropy: SimEntropy,
    tree: KeyTree,
    live: Cells,
    /// Every value a cell ever had since its last re-keying.
    past: BTreeMap<CellKey, Vec<Vec<u8>>>,
    dead: HashSet<Vec<u8>>,
    value_len: usize,
    batch: usize,
}

impl History {
    /// Long values make tall trees of few cells.
    fn new(seed: u64, value_len: Option<usize>) -> Self {
        let (disk, entropy, mut rng) = (SimDisk::new(), SimEntropy::new(seed), Rng::new(!seed));
        let tree = create(&disk, &entropy).unwrap();
        let value_len = value_len.unwrap_or([40, 300, 1_200, 3_900][rng.below(4)]);
        let (live, past, dead) = (Cells::new(), BTreeMap::new(), HashSet::new());
        let batch = 20_000 / value_len.max(100);
        History { seed, rng, disk, entropy, tree, live, past, dead, value_len, batch }
    }

    fn any_live(&mut self) -> Option<CellKey> {
        let at = self.rng.below(self.live.len());
        self.live.keys().nth(at).copied()
    }

    fn insert(&mut self, count: usize) {
        let mut cells = Vec::new();
        for _ in 0..count {
            let len = self.rng.below(self.value_len) + 1;
            let mut key = random_key(&mut self.rng);
            if self.rng.below(3) == 0 {
                // Clustered keys: many cells of one prefix's neighbourhood.
                key[..6].fill(0);
            }
            cells.push((key, secret(&mut self.rng, len)));
        }
        if self.rng.below(2) == 0
            && let Some(key) = self.any_live()
        {
            cells.push((key, secret(&mut self.rng, 30)));
        }
        let before = (self.tree.generation(), self.tree.root_hash());
        if put(&mut self.tree, &cells, &self.entropy).unwrap() == Put::RootWouldSplit {
            assert_eq!((self.tree.generation(), self.tree.root_hash()), before);
            assert_eq!(held(&self.tree).unwrap(), self.live, "nothing changed");
            return self.rekey(cells.into_iter().map(|(k, v)| (k, Some(v))).collect());
        }
        assert_eq!((self.tree.generation(), self.tree.root_hash()), before, "R4: no slot change");
        for (key, value) in cells {
            self.past.entry(key).or_default().push(value.clone());
            self.live.insert(key, value);
        }
    }

    fn rekey(&mut self, changes: Vec<Change>) {
        let from = self.tree.generation();
        let done = rekey(&mut self.tree, &changes, &self.entropy).unwrap();
        assert_eq!((done.from, done.to), (from, Generation(from.0 + 1)));
        assert_eq!(done.new_root, self.tree.root_hash());
        assert_ne!(done.old_root, done.new_root);
        assert_scrubbed(&self.disk, done.to, "rekey");
        for (key, value) in changes {
            self.dead.extend(self.past.remove(&key).unwrap_or_default());
            self.live.remove(&key);
            if let Some(value) = value {
                self.past.entry(key).or_default().push(value.clone());
                self.live.insert(key, value);
            }
        }
    }

    fn erase(&mut self, count: usize, replace: bool) {
        let mut changes = BTreeMap::new();
        for _ in 0..count {
            if let Some(key) = self.any_live() {
                changes.insert(key, replace.then(|| secret(&mut self.rng, 50)));
            }
        }
        if self.rng.below(4) == 0 {
            changes.insert(random_key(&mut self.rng), None);
        }
        self.rekey(changes.into_iter().collect());
    }

    fn reopen(&mut self) {
        let generation = self.tree.generation();
        let spare = create(&SimDisk::new(), &self.entropy).unwrap();
        drop(std::mem::replace(&mut self.tree, spare));
        self.disk = self.disk.crash(self.rng.next());
        self.tree = open(&self.disk, &self.entropy).unwrap();
        assert_eq!(self.tree.generation(), generation);
    }

    fn step(&mut self) {
        let many = 5 + self.rng.below(self.batch);
        match self.rng.below(12) {
            0..=3 => self.insert(1),
            4 | 5 => self.insert(many),
            6 | 7 => self.erase(1, false),
            8 => self.erase(many, false),
            9 => self.erase(2, true),
            10 => self.reopen(),
            _ => self.tree.compact().unwrap(),
        }
    }

    fn check(&self, all: bool) {
        let seed = self.seed;
        assert_eq!(held(&self.tree).unwrap(), self.live, "seed {seed}");
        for (key, value) in self.live.iter().take(20) {
            let found = self.tree.get(key).unwrap();
            assert_eq!(found.as_deref(), Some(value), "seed {seed}");
        }
        assert_eq!(self.tree.get(&[0xee; 32]).unwrap(), None, "seed {seed}");
        let reached = Attacker::of(&self.disk).closure(all);
        for value in self.live.values() {
            assert!(reached.contains(value), "seed {seed}: a live cell is out of reach");
        }
        let back = self.dead.iter().filter(|value| reached.contains(*value)).count();
        assert_eq!(back, 0, "seed {seed}: {back} of {} erased cells are back", self.dead.len());
    }
}

/// How a set of histories runs.
#[derive(Clone, Copy)]
struct Plan {
    steps: usize,
    check_every: usize,
    every_key_on_every_blob: bool,
    /// Cells of up to 3,900 bytes, this many at a time: internal nodes split too.
    tall: Option<usize>,
}

/// Runs the histories; prints the seeds of those that failed.
fn histories(seeds: std::ops::Range<u64>, plan: Plan, height: u8) {
    let (mut failed, mut dead, mut highest, count) = (Vec::new(), 0, 0, seeds.end - seeds.start);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut history = History::new(seed, plan.tall.map(|_| 3_900));
            history.batch = plan.tall.unwrap_or(history.batch);
            let mut highest = 0;
            for step in 1..=plan.steps {
                history.step();
                highest = highest.max(history.tree.height());
                if step % plan.check_every == 0 {
                    history.check(plan.every_key_on_every_blob);
                }
            }
            history.tree.check().unwrap();
            (history.dead.len(), highest)
        });
        match run {
            Ok((n, height)) => (dead, highest) = (dead + n, highest.max(height)),
            Err(_) => failed.push(seed),
        }
    }
    println!("{count} histories, {dead} erased values, height up to {highest}");
    assert!(failed.is_empty(), "{} of {count} histories failed, seeds {failed:?}", failed.len());
    assert!(highest >= height && dead > 0, "the histories must grow trees and erase");
}

const PLAN: Plan = Plan { steps: 24, check_every: 6, every_key_on_every_blob: false, tall: None };

#[test]
fn no_erased_cell_comes_back_in_hundreds_of_histories() {
    histories(0..200, Plan { check_every: 8, ..PLAN }, 2);
}

#[test]
fn no_erased_cell_comes_back_where_internal_nodes_split() {
    histories(20_000..20_012, Plan { tall: Some(150), check_every: 12, ..PLAN }, 3);
}

#[test]
fn no_erased_cell_comes_back_when_every_key_is_tried_on_every_blob() {
    histories(10_000..10_030, Plan { every_key_on_every_blob: true, check_every: 8, ..PLAN }, 2);
}

#[test]
fn the_tape_holds_no_secret_in_plaintext() {
    let mut history = History::new(77, Some(300));
    for _ in 0..60 {
        history.step();
    }
    let secrets: Vec<&Vec<u8>> = history.dead.iter().chain(history.live.values()).collect();
    let needles: HashSet<&[u8]> = secrets.iter().map(|value| &value[..16]).collect();
    let root = history.disk.bytes(&dir().join("root.0")).unwrap();
    let other = history.disk.bytes(&dir().join("root.1")).unwrap();
    let slot = Slot::open(&root, TENANT, &kek()).or(Slot::open(&other, TENANT, &kek())).unwrap();
    let (root_key, directory) = (*slot.root_key.expose(), *slot.directory_key.expose());
    let (mut hits, mut windows) = (0, 0_u64);
    for chunk in history.disk.all_bytes_ever(Path::new("/")) {
        for window in chunk.windows(16) {
            windows += 1;
            let key = window == &root_key[..16] || window == &directory[..16];
            hits += usize::from(key || needles.contains(window));
        }
    }
    println!("{} secrets against {windows} windows", needles.len());
    assert!(needles.len() > 20);
    assert_eq!(hits, 0);
}

/// One durable act on a tree.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put,
    PutSplit,
    Erase,
    EraseMany,
    Grow,
    Compact,
}

/// A tree with some cells, and the act's changes.
fn scene(act: Act, seed: u64) -> (SimDisk, Cells, Vec<Change>) {
    let (disk, entropy, mut rng) = (SimDisk::new(), SimEntropy::new(seed), Rng::new(seed + 1));
    let mut tree = create(&disk, &entropy).unwrap();
    let start = if matches!(act, Act::Grow) { 3 } else { 40 };
    let cells: Vec<_> = (0..start).map(|_| (random_key(&mut rng), secret(&mut rng, 500))).collect();
    grow(&mut tree, &cells, &entropy).unwrap();
    rekey(&mut tree, &[], &entropy).unwrap();
    let before: Cells = cells.into_iter().collect();
    let fresh =
        |rng: &mut Rng, n| (0..n).map(|_| (random_key(rng), Some(secret(rng, 500)))).collect();
    let changes: Vec<Change> = match act {
        Act::Put => fresh(&mut rng, 1),
        Act::PutSplit | Act::Grow => fresh(&mut rng, 25),
        Act::Erase => before.keys().take(1).map(|key| (*key, None)).collect(),
        Act::EraseMany => before.keys().step_by(3).map(|key| (*key, None)).collect(),
        Act::Compact => Vec::new(),
    };
    (disk, before, changes)
}

fn perform(act: Act, tree: &mut KeyTree, changes: &[Change], entropy: &SimEntropy) -> Result<()> {
    match act {
        Act::Put | Act::PutSplit => {
            let cells: Vec<_> =
                changes.iter().filter_map(|(k, v)| Some((*k, v.clone()?))).collect();
            assert!(matches!(put(tree, &cells, entropy)?, Put::Done { .. }));
            Ok(())
        }
        Act::Erase | Act::EraseMany | Act::Grow => rekey(tree, changes, entropy).map(|_| ()),
        Act::Compact => tree.compact(),
    }
}

fn applied(before: &Cells, changes: &[Change]) -> Cells {
    let mut after = before.clone();
    for (key, value) in changes {
        match value {
            Some(value) => after.insert(*key, value.clone()),
            None => after.remove(key),
        };
    }
    after
}

/// Opens after a crash: the tree is before or after, scrubbed, usable; nothing is half done.
fn assert_recovers(
    disk: &SimDisk,
    before: &Cells,
    changes: &[Change],
    acknowledged: bool,
    context: &str,
) {
    let entropy = SimEntropy::new(4711);
    let mut tree = open(disk, &entropy).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_scrubbed(disk, tree.generation(), context);
    let (found, after) = (held(&tree).unwrap(), applied(before, changes));
    assert!(found == *before || found == after, "{context}: in between");
    assert!(found == after || !acknowledged, "{context}: acknowledged, then undone");
    if found == after {
        let reached = Attacker::of(disk).closure(false);
        for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
            assert!(!reached.contains(&before[key]), "{context}: erased cell is back");
        }
    }
    let more = [([0x55; 32], vec![7; 100])];
    grow(&mut tree, &more, &entropy).unwrap();
    drop(tree);
    let disk = disk.crash(1);
    let tree = open(&disk, &entropy).unwrap_or_else(|error| panic!("{context}, again: {error}"));
    assert_eq!(held(&tree).unwrap().len(), found.len() + 1, "{context}: lost after recovery");
    tree.check().unwrap_or_else(|error| panic!("{context}: {error}"));
}

/// Opens with a crash at every operation of the opening itself.
fn assert_recovers_through_crashes(
    disk: &SimDisk,
    before: &Cells,
    changes: &[Change],
    acknowledged: bool,
    context: &str,
) -> usize {
    let mut crashes = 0;
    for n in 1.. {
        let attempt = disk.fork();
        attempt.fail_at(n);
        let opened = open(&attempt, &SimEntropy::new(n)).is_ok();
        for seed in 0..2 {
            let context = format!("{context}, open failed at {n}, seed {seed}");
            let again = attempt.crash(seed);
            assert_recovers(&again, before, changes, acknowledged, &context);
            crashes += 1;
        }
        if opened {
            break;
        }
    }
    crashes
}

fn crash_everywhere(act: Act, nested: bool) -> usize {
    let (disk, before, changes) = scene(act, 5);
    let mut crashes = 0;
    for n in 1.. {
        let attempt = disk.fork();
        let entropy = SimEntropy::new(1000 + n);
        let mut tree = open(&attempt, &entropy).unwrap();
        attempt.fail_at(n);
        let done = perform(act, &mut tree, &changes, &entropy);
        if done.is_err() {
            let poisoned = tree.get(&[0; 32]).unwrap_err();
            assert_eq!(poisoned.kind, ErrorKind::Poisoned, "{act:?} at {n}");
        }
        drop(tree);
        for seed in 0..if nested { 3 } else { 12 } {
            let context = format!("{act:?}, failed at {n}, seed {seed}");
            let after = attempt.crash(seed);
            if nested {
                let more = assert_recovers_through_crashes(
                    &after,
                    &before,
                    &changes,
                    done.is_ok(),
                    &context,
                );
                crashes += more;
            }
            assert_recovers(&after, &before, &changes, done.is_ok(), &context);
            crashes += 1;
        }
        if done.is_ok() {
            break;
        }
    }
    println!("{act:?}: {crashes} crashes");
    crashes
}

#[test]
fn a_crash_anywhere_leaves_before_or_after() {
    for act in [Act::Put, Act::PutSplit, Act::Erase, Act::EraseMany, Act::Grow, Act::Compact] {
        assert!(crash_everywhere(act, false) > 16);
    }
}

#[test]
fn a_crash_during_recovery_changes_nothing() {
    for act in [Act::PutSplit, Act::Erase, Act::Grow, Act::Compact] {
        assert!(crash_everywhere(act, true) > 30);
    }
}

#[test]
fn a_crashed_creation_can_be_repeated() {
    let mut crashes = 0;
    for n in 1.. {
        let disk = SimDisk::new();
        disk.fail_at(n);
        let done = create(&disk, &SimEntropy::new(n)).is_ok();
        for seed in 0..20 {
            let after = disk.crash(seed);
            let entropy = SimEntropy::new(n + 100);
            let tree = match open(&after, &entropy) {
                Ok(tree) => Ok(tree),
                Err(error) => {
                    assert!(!done, "created, then lost: {error}");
                    assert_eq!(error.kind, ErrorKind::Missing, "at {n}, seed {seed}: {error}");
                    create(&after, &entropy)
                }
            };
            let mut tree = tree.unwrap_or_else(|error| panic!("at {n}, seed {seed}: {error}"));
            assert_eq!(tree.generation(), Generation(1));
            assert_scrubbed(&after, Generation(1), "create");
            grow(&mut tree, &[([1; 32], vec![1])], &entropy).unwrap();
            crashes += 1;
        }
        if done {
            break;
        }
    }
    println!("create: {crashes} crashes");
    assert!(crashes > 100);
}

#[test]
fn a_failed_sync_or_a_full_disk_poisons_and_loses_nothing_acknowledged() {
    for act in [Act::Put, Act::PutSplit, Act::Erase, Act::Grow, Act::Compact] {
        let (disk, before, changes) = scene(act, 6);
        for n in 1..=8 {
            let attempt = disk.fork();
            let entropy = SimEntropy::new(n);
            let mut tree = open(&attempt, &entropy).unwrap();
            if n <= 4 {
                attempt.fail_sync_at(n);
            } else {
                attempt.full_after((n - 5) * 4_000);
            }
            let done = perform(act, &mut tree, &changes, &entropy);
            if let Err(error) = &done {
                let kind = if n <= 4 { ErrorKind::Io } else { ErrorKind::Full };
                assert_eq!(error.kind, kind);
                attempt.heal();
                let poisoned = perform(act, &mut tree, &changes, &entropy).unwrap_err();
                assert_eq!(poisoned.kind, ErrorKind::Poisoned);
            }
            drop(tree);
            attempt.heal();
            let context = format!("{act:?}, fault {n}");
            // The process dies and comes back without a power loss: reads still see what the
            // failed sync dropped. Whatever it then serves must survive a power loss.
            let revived = attempt.fork();
            let served = held(&open(&revived, &entropy).unwrap()).unwrap();
            let after = open(&revived.crash(n), &entropy).unwrap();
            assert_eq!(held(&after).unwrap(), served, "{context}: served, then lost");
            assert_recovers(&attempt.crash(n), &before, &changes, done.is_ok(), &context);
        }
    }
}

fn verdict(disk: &SimDisk, kek: &Key, expect: &str) {
    let before: Vec<_> = disk.files().into_iter().map(|path| disk.bytes(&path)).collect();
    let error = KeyTree::open(Arc::new(disk.clone()), &dir(), TENANT, kek, &SimEntropy::new(0))
        .err()
        .unwrap_or_else(|| panic!("opened, expected {expect}"));
    assert!(error.what.starts_with(expect), "{} instead of {expect}", error.what);
    let after: Vec<_> = disk.files().into_iter().map(|path| disk.bytes(&path)).collect();
    assert_eq!(before, after, "{expect}: a refusal changes nothing");
}

/// A tree of generation 3 (slot `root.1`) with one cell erased, and the image before the erasure.
fn erased() -> (SimDisk, SimDisk, Vec<u8>) {
    let (disk, entropy) = (SimDisk::new(), SimEntropy::new(8));
    let mut tree = create(&disk, &entropy).unwrap();
    grow(&mut tree, &[([1; 32], vec![1; 50]), ([2; 32], vec![2; 50])], &entropy).unwrap();
    rekey(&mut tree, &[], &entropy).unwrap();
    let image = disk.fork();
    rekey(&mut tree, &[([1; 32], None)], &entropy).unwrap();
    (disk.fork(), image, vec![1; 50])
}

#[test]
fn attack_21_an_old_slot_image_beside_the_new_one_is_scrubbed_unread() {
    let (disk, image, secret) = erased();
    let old = image.bytes(&dir().join("root.0")).unwrap();
    disk.plant(&dir().join("root.0"), &old);
    let peek = KeyTree::peek(Arc::new(disk.clone()), &dir(), TENANT, &kek()).unwrap();
    assert_eq!(peek.generation, Generation(3));
    let tree = open(&disk, &SimEntropy::new(1)).unwrap();
    assert_scrubbed(&disk, Generation(3), "replanted");
    assert_eq!(tree.get(&[1; 32]).unwrap(), None);
    assert!(!Attacker::of(&disk).closure(true).contains(&secret));
}

#[test]
fn attack_21_a_whole_old_key_plane_shows_its_generation_before_anything_is_scrubbed() {
    let (_, image, _) = erased();
    let files = |disk: &SimDisk| disk.files().iter().map(|p| disk.bytes(p)).collect::<Vec<_>>();
    let before = files(&image);
    let peek = KeyTree::peek(Arc::new(image.clone()), &dir(), TENANT, &kek()).unwrap();
    // The vault compares this with the log's last erase-done: ROOT_GEN_ROLLBACK.
    assert_eq!(peek.generation, Generation(2));
    assert_eq!((peek.log_size, peek.log_root), LOG);
    assert_eq!(files(&image), before, "a peek changes nothing");
}

#[test]
fn attack_23_a_raised_generation_or_a_slot_in_the_other_place_does_not_count() {
    let (disk, image, _) = erased();
    let root = |n| dir().join(format!("root.{n}"));
    let mut old = image.bytes(&root(0)).unwrap();
    // Without the key-encryption key: raise the generation, mend the checksum.
    old[15] = 8;
    use sha2::Digest;
    let sum = sha2::Sha256::digest(&old[..4064]);
    old[4064..].copy_from_slice(&sum);
    let forged = disk.fork();
    forged.plant(&root(0), &old);
    assert_eq!(open(&forged, &SimEntropy::new(1)).unwrap().generation(), Generation(3));
    assert_scrubbed(&forged, Generation(3), "forged");
    // The current slot copied into the other place: same generation, wrong parity.
    let copied = disk.fork();
    copied.plant(&root(0), &disk.bytes(&root(1)).unwrap());
    assert_eq!(open(&copied, &SimEntropy::new(1)).unwrap().generation(), Generation(3));
    assert_scrubbed(&copied, Generation(3), "copied");
    // With the key: old root bytes under a higher generation open, and the birth hash is what
    // tells the vault (ROOT_HASH_MISMATCH) from a peek, before anything is scrubbed.
    let slot = Slot::open(&image.bytes(&root(0)).unwrap(), TENANT, &kek()).unwrap();
    let higher = Slot { generation: Generation(4), ..slot };
    disk.plant(&root(0), higher.seal(&kek(), &[1; 12]).unwrap().as_slice());
    let announced = KeyTree::peek(Arc::new(image), &dir(), TENANT, &kek()).unwrap();
    let found = KeyTree::peek(Arc::new(disk.clone()), &dir(), TENANT, &kek()).unwrap();
    assert_eq!((found.generation, found.root_hash), (Generation(4), announced.root_hash));
}

#[test]
fn attack_26_a_cell_that_a_split_moved_is_gone_when_erased() {
    let (mut back, mut erased) = (Vec::new(), 0);
    for seed in 0..60 {
        let (disk, entropy, mut rng) = (SimDisk::new(), SimEntropy::new(seed), Rng::new(seed));
        let mut tree = create(&disk, &entropy).unwrap();
        let mut fresh = || (random_key(&mut rng), secret(&mut rng, 600));
        let mut live: Cells = (0..8).map(|_| fresh()).collect();
        let start: Vec<_> = live.clone().into_iter().collect();
        grow(&mut tree, &start, &entropy).unwrap();
        // More than one blob and its record: a leaf was split by a put.
        let mut written = 0;
        while written <= 4_096 + 128 {
            let cell = fresh();
            let Put::Done { bytes_written } =
                put(&mut tree, std::slice::from_ref(&cell), &entropy).unwrap()
            else {
                panic!("seed {seed}: the root cannot be full");
            };
            live.insert(cell.0, cell.1);
            written = bytes_written;
        }
        drop(tree);
        let came_back = live.iter().filter(|(key, value)| {
            let disk = disk.fork();
            let mut tree = open(&disk, &entropy).unwrap();
            rekey(&mut tree, &[(**key, None)], &entropy).unwrap();
            Attacker::of(&disk).closure(true).contains(*value)
        });
        if came_back.count() > 0 {
            back.push(seed);
        }
        erased += live.len();
    }
    println!("{erased} erasures after a split");
    assert!(back.is_empty(), "{} of 60 splits let a cell come back, seeds {back:?}", back.len());
}

#[test]
fn attack_28_a_slot_left_by_a_crash_is_gone_before_the_first_answer() {
    let (disk, image, _) = erased();
    for torn in [1, 512, 2_048, 4_095, 4_096] {
        let mut old = image.bytes(&dir().join("root.0")).unwrap();
        old.truncate(torn);
        let disk = disk.fork();
        disk.plant(&dir().join("root.0"), &old);
        let tree = open(&disk, &SimEntropy::new(1)).unwrap();
        assert_scrubbed(&disk, Generation(3), "torn");
        assert_eq!(tree.get(&[2; 32]).unwrap().as_deref(), Some(&vec![2; 50]));
    }
}

#[test]
fn a_wrong_key_a_damaged_slot_or_a_foreign_tree_is_refused_unchanged() {
    let (disk, _, _) = erased();
    verdict(&disk, &Key::new([9; 32]), "ROOT_UNREADABLE");
    for at in [0, 8, 20, 50, 85, 100, 120, 130, 150, 219, 300, 4_070] {
        let bad = disk.fork();
        bad.flip(&dir().join("root.1"), at, 0x10);
        verdict(&bad, &kek(), "ROOT_CORRUPT");
    }
    let blank = disk.fork();
    blank.plant(&dir().join("root.1"), &[0; 4_096]);
    verdict(&blank, &kek(), "ROOT_MISSING");
    let bare = disk.fork();
    bare.plant(&dir().join("nodes.seg"), &[]);
    verdict(&bare, &kek(), "KEY_NODE_MISSING");
    let foreign = KeyTree::open(
        Arc::new(disk.clone()),
        &dir(),
        TenantId([0x12; 16]),
        &kek(),
        &SimEntropy::new(0),
    );
    assert!(foreign.is_err_and(|error| error.what.starts_with("ROOT_CORRUPT: FOREIGN")));
    let exists = create(&disk, &SimEntropy::new(0)).err().map(|error| error.what);
    assert_eq!(exists.as_deref(), Some("KEYTREE_EXISTS"));
}

#[test]
fn a_second_opener_is_refused() {
    let (disk, entropy) = (SimDisk::new(), SimEntropy::new(1));
    let tree = create(&disk, &entropy).unwrap();
    assert_eq!(open(&disk, &entropy).err().map(|e| e.kind), Some(ErrorKind::Locked));
    drop(tree);
    assert!(open(&disk, &entropy).is_ok());
}

#[test]
fn a_flipped_byte_in_the_nodes_is_never_a_wrong_answer() {
    let (disk, before, _) = scene(Act::Put, 9);
    let path = dir().join("nodes.seg");
    let len = disk.bytes(&path).unwrap().len();
    let (mut refused, mut unread, mut unharmed) = (0, 0, 0);
    for at in (0..len).step_by(97) {
        let bad = disk.fork();
        bad.flip(&path, at, 0x04);
        let Ok(tree) = open(&bad, &SimEntropy::new(2)) else {
            refused += 1;
            continue;
        };
        let mut lost = false;
        for (key, value) in &before {
            match tree.get(key) {
                Ok(found) => assert_eq!(found.as_deref(), Some(value), "byte {at}"),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Corrupt);
                    lost = true;
                }
            }
        }
        unread += usize::from(lost);
        unharmed += usize::from(!lost);
    }
    println!("{refused} refused, {unread} name what they cannot read, {unharmed} hit dead bytes");
    assert!(refused > 0 && unread > 0 && unharmed > 0);
}

#[test]
fn a_break_before_whole_commits_is_not_a_torn_tail() {
    let (disk, _, _) = scene(Act::Put, 9);
    let bad = disk.fork();
    bad.flip(&dir().join("nodes.seg"), 0, 1);
    verdict(&bad, &kek(), "CORRUPT_TAIL");
    // Rot inside a blob that no longer counts does no harm, but a full check names it.
    let dead = disk.fork();
    dead.flip(&dir().join("nodes.seg"), 2_000, 1);
    let tree = open(&dead, &SimEntropy::new(0)).unwrap();
    assert_eq!(code(tree.check()), "KEY_COMMIT_BROKEN at 0");
    let long = disk.fork();
    let mut bytes = disk.bytes(&dir().join("nodes.seg")).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(&[0xab; 5_000]);
    long.plant(&dir().join("nodes.seg"), &bytes);
    open(&long, &SimEntropy::new(0)).unwrap();
    assert_eq!(long.bytes(&dir().join("nodes.seg")).unwrap().len(), whole);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_happens() {
    let (disk, entropy) = (SimDisk::new(), SimEntropy::new(3));
    let mut tree = create(&disk, &entropy).unwrap();
    let operations = disk.operations();
    let too_long = put(&mut tree, &[([1; 32], vec![0; 3_901])], &entropy).unwrap_err();
    assert_eq!((too_long.kind, too_long.what.as_str()), (ErrorKind::Full, "KEY_CELL_TOO_LARGE"));
    let twins: Vec<_> = (0..3)
        .map(|n| {
            let mut key = [7; 32];
            key[31] = n;
            (key, vec![n; 2_000])
        })
        .collect();
    let crowded = put(&mut tree, &twins, &entropy).unwrap_err();
    assert_eq!((crowded.kind, crowded.what.as_str()), (ErrorKind::Full, "KEY_PREFIX_FULL"));
    assert_eq!(put(&mut tree, &[], &entropy).unwrap(), Put::Done { bytes_written: 0 });
    assert_eq!(disk.operations(), operations);
    // Of two changes of one key the later counts.
    put(&mut tree, &[([1; 32], vec![1]), ([1; 32], vec![2])], &entropy).unwrap();
    assert_eq!(tree.get(&[1; 32]).unwrap().as_deref(), Some(&vec![2]));
}

#[test]
fn ten_thousand_cells_come_and_go_in_one_call() {
    let (disk, entropy, mut rng) = (SimDisk::new(), SimEntropy::new(4), Rng::new(4));
    let mut tree = create(&disk, &entropy).unwrap();
    let cells: Vec<_> =
        (0..10_000).map(|_| (random_key(&mut rng), secret(&mut rng, 150))).collect();
    assert_eq!(put(&mut tree, &cells, &entropy).unwrap(), Put::RootWouldSplit);
    grow(&mut tree, &cells, &entropy).unwrap();
    let more: Vec<_> = (0..10_000).map(|_| (random_key(&mut rng), secret(&mut rng, 150))).collect();
    grow(&mut tree, &more, &entropy).unwrap();
    assert_eq!((tree.cells().unwrap(), tree.height()), (20_000, 3));
    let gone: Vec<Change> = cells.iter().map(|(key, _)| (*key, None)).collect();
    rekey(&mut tree, &gone, &entropy).unwrap();
    assert_eq!(held(&tree).unwrap(), more.iter().cloned().collect::<Cells>());
    assert!(tree.wants_compaction());
    tree.compact().unwrap();
    assert!(tree.bytes() <= tree.live_bytes() + 128 * tree.live_bytes().div_ceil(1 << 20));
    let gone: Vec<Change> = more.iter().map(|(key, _)| (*key, None)).collect();
    rekey(&mut tree, &gone, &entropy).unwrap();
    assert_eq!(tree.cells().unwrap(), 0);
    drop(tree);
    let mut tree = open(&disk, &entropy).unwrap();
    grow(&mut tree, &cells, &entropy).unwrap();
    assert_eq!(held(&tree).unwrap(), cells.into_iter().collect::<Cells>());
    tree.check().unwrap();
}

fn code<T>(result: Result<T>) -> String {
    result.err().map(|error: Error| error.what).unwrap_or_default()
}

#[test]
fn the_key_encryption_key_opens_for_its_owner_only() {
    let (disk, entropy) = (SimDisk::new(), SimEntropy::new(5));
    let (plain, wrapped) = (Path::new("/a"), Path::new("/b"));
    assert_eq!(code(Kek::open(&disk, plain, None)), "KEK_MISSING");
    let first = Kek::create(&disk, plain, None, &entropy).unwrap();
    assert_eq!(code(Kek::create(&disk, plain, None, &entropy)), "KEK_EXISTS");
    let again = Kek::open(&disk, plain, None).unwrap();
    assert!(again.key() == first.key() && !again.is_wrapped());
    let second = Kek::create(&disk, wrapped, Some(b"correct horse"), &entropy).unwrap();
    assert_eq!(code(Kek::open(&disk, wrapped, None)), "KEK_PASSPHRASE_NEEDED");
    assert_eq!(code(Kek::open(&disk, wrapped, Some(b"wrong"))), "KEK_PASSPHRASE_WRONG");
    let again = Kek::open(&disk, wrapped, Some(b"correct horse")).unwrap();
    assert!(again.key() == second.key() && again.is_wrapped());
    again.rewrap(&disk, wrapped, Some(b"battery staple"), &entropy).unwrap();
    assert_eq!(code(Kek::open(&disk, wrapped, Some(b"correct horse"))), "KEK_PASSPHRASE_WRONG");
    let third = Kek::open(&disk, wrapped, Some(b"battery staple")).unwrap();
    assert!(third.key() == second.key());
    for at in (0..140).step_by(7) {
        let bad = disk.fork();
        bad.flip(&wrapped.join("kek"), at, 2);
        assert_eq!(code(Kek::open(&bad, wrapped, Some(b"battery staple"))), "KEK_MALFORMED");
    }
    let wrapped_bytes = disk.all_bytes_ever(wrapped);
    let leaked = |key: &[u8; 32]| {
        wrapped_bytes.iter().any(|chunk| chunk.windows(32).any(|window| window == key))
    };
    assert!(!leaked(second.key().expose()));
    disk.make_public(&plain.join("kek"));
    assert_eq!(code(Kek::open(&disk, plain, None)), "KEK_WORLD_READABLE");
}

#[test]
fn a_sealed_secret_opens_in_its_place_only() {
    let (disk, entropy) = (SimDisk::new(), SimEntropy::new(6));
    let kek = Kek::create(&disk, Path::new("/keys"), None, &entropy).unwrap();
    let path = Path::new("/keys/signing/log.key");
    assert_eq!(code(kek::open_secret(&disk, path, &kek, "log")), "SECRET_MISSING");
    kek::seal_secret(&disk, path, &kek, "log", &[7; 32], &entropy).unwrap();
    assert_eq!(kek::open_secret(&disk, path, &kek, "log").unwrap().as_slice(), [7; 32]);
    assert_eq!(code(kek::open_secret(&disk, path, &kek, "report")), "SECRET_UNREADABLE");
    let other = Kek::create(&disk, Path::new("/other"), None, &entropy).unwrap();
    assert_eq!(code(kek::open_secret(&disk, path, &other, "log")), "SECRET_UNREADABLE");
    let len = disk.bytes(path).unwrap().len();
    for at in 0..len {
        let bad = disk.fork();
        bad.flip(path, at, 1);
        assert!(kek::open_secret(&bad, path, &kek, "log").is_err(), "byte {at}");
    }
    disk.make_public(path);
    assert_eq!(code(kek::open_secret(&disk, path, &kek, "log")), "SECRET_WORLD_READABLE");
}

/// On the real disk; `CHANCERY_CELLS` sets the size, and the numbers are printed.
#[test]
fn a_tree_on_the_real_disk_keeps_its_numbers() {
    let cells: usize =
        std::env::var("CHANCERY_CELLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys/t");
    let (disk, entropy, mut rng) =
        (Arc::new(OsDisk) as Arc<dyn Disk>, SimEntropy::new(7), Rng::new(7));
    let mut tree = KeyTree::create(disk.clone(), &dir, TENANT, &kek(), &entropy).unwrap();
    let all: Vec<_> = (0..cells).map(|_| (random_key(&mut rng), secret(&mut rng, 150))).collect();
    let start = Instant::now();
    for batch in all.chunks(5_000) {
        grow(&mut tree, batch, &entropy).unwrap();
    }
    println!("{cells} cells of 150 bytes in {:?}", start.elapsed());
    println!("height {}, file {} KiB", tree.height(), tree.bytes() >> 10);
    tree.compact().unwrap();
    println!("compacted: {} KiB, {} live", tree.bytes() >> 10, tree.live_bytes() >> 10);
    drop(tree);
    let start = Instant::now();
    let mut tree = KeyTree::open(disk.clone(), &dir, TENANT, &kek(), &entropy).unwrap();
    println!("opened in {:?}", start.elapsed());
    let (mut times, mut written) = (Vec::new(), 0);
    for (key, _) in all.iter().take(200) {
        let start = Instant::now();
        let done = rekey(&mut tree, &[(*key, None)], &entropy).unwrap();
        times.push(start.elapsed());
        written = written.max(done.bytes_written);
    }
    times.sort();
    println!("erase: p50 {:?}, p99 {:?}, at most {written} bytes", times[100], times[197]);
    drop(tree);
    let tree = KeyTree::open(disk, &dir, TENANT, &kek(), &entropy).unwrap();
    assert_eq!(tree.cells().unwrap(), (cells - 200) as u64);
    assert_eq!(tree.get(&all[0].0).unwrap(), None);
    assert_eq!(tree.get(&all[200].0).unwrap().as_deref(), Some(&all[200].1));
    tree.check().unwrap();
}
