//! The crash matrix: every scene, cut before every single operation that changes the disk (each
//! write, sync, rename, removal), with nothing, everything and several random selections of what
//! was pending surviving; and the recovery from each, cut again in the same way, twice nested.
//! It prints its seed. `CHANCERY_CRASH=full` takes every instant, more selections and deeper
//! nesting; `CHANCERY_SEED` takes another seed.

use super::check::{Depth, check, goes_on, reopen};
use super::scenes::{Scene, all, calm, documents};
use super::told::{HOME, MIRROR, Teller};
use super::upkeep::upkeep;
use crate::support::sim::{Rng, SimDisk, Still, Survivors};
use chancery::base::id::Hash32;
use chancery::base::unit::TreeSize;
use chancery::format::control::Continues;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use std::path::{Path, PathBuf};

/// How much of the matrix to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Random selections of survivors at each instant.
    pub(super) randoms: usize,
    /// Instants of each recovery that are cut again; all of them if that many.
    pub(super) nested: usize,
    /// Instants of each recovery within a recovery.
    pub(super) twice: usize,
    /// One in this many crashes is looked at from outside too.
    pub(super) whole: usize,
}

pub(super) const SMALL: Size = Size { randoms: 1, nested: 1, twice: 0, whole: 3 };
const FULL: Size = Size { randoms: 4, nested: usize::MAX, twice: 1, whole: 1 };

pub(super) fn size() -> Size {
    match std::env::var("CHANCERY_CRASH").as_deref() {
        Ok("full") => FULL,
        _ => SMALL,
    }
}

pub(super) fn seed() -> u64 {
    let seed = std::env::var("CHANCERY_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(1);
    println!("seed {seed}");
    seed
}

/// What a run of the matrix saw.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) instants: usize,
    pub(super) crashes: usize,
    pub(super) nested: usize,
    /// Crashes that took one of two key disks with them.
    pub(super) lost: usize,
}

/// Plays a scene up to where its operation begins, with the vault closed.
pub(super) fn prepare(scene: &Scene, seed: u64) -> Teller {
    let context = scene.name;
    let mut told = Teller::new(seed);
    (scene.setup)(&mut told);
    let vault = told.make().unwrap_or_else(|e| panic!("{context}: {e}"));
    (scene.before)(&mut told, &vault).unwrap_or_else(|e| panic!("{context}: {e}"));
    calm(&vault).unwrap();
    told.checkpoint(&vault).unwrap();
    drop(vault);
    told.keyhole = scene.forgets;
    told
}

/// Plays a scene up to its end and gives every instant of its operation.
pub(super) fn play(scene: &Scene, seed: u64, lie: Option<&str>) -> (Teller, Vec<Still>) {
    let context = scene.name;
    let mut told = prepare(scene, seed);
    let vault = told.open().unwrap_or_else(|e| panic!("{context}: {e}"));
    calm(&vault).unwrap();
    if let Some(below) = lie {
        told.disk.lie(below);
    }
    told.disk.film();
    (scene.act)(&mut told, &vault).unwrap_or_else(|e| panic!("{context}: {e}"));
    let vault = (scene.then)(&mut told, vault).unwrap_or_else(|e| panic!("{context}: {e}"));
    calm(&vault).unwrap();
    assert!((scene.done)(&told, &vault), "{context}: {} nodes", told.nodes());
    drop(vault);
    let stills = told.disk.cut();
    (told, stills)
}

/// Crashes a scene at all its instants.
pub(super) fn crash(scene: &Scene, seed: u64, size: Size, lie: Option<&str>) -> Seen {
    let (mut told, stills) = play(scene, seed, lie);
    let mut run = Run { rng: Rng::new(seed), size, seen: Seen::default() };
    for still in &stills {
        run.seen.instants += 1;
        for survivors in run.choose(still, size.randoms) {
            let context = format!("{}, before {}, {survivors:?}", scene.name, still.next);
            let context = format!("{context} (operation {})", still.operation);
            run.one(&mut told, still, survivors, &context);
        }
    }
    run.seen
}

struct Run {
    rng: Rng,
    size: Size,
    seen: Seen,
}

impl Run {
    fn choose(&mut self, still: &Still, randoms: usize) -> Vec<Survivors> {
        if still.is_clean() {
            return vec![Survivors::Nothing];
        }
        let mut chosen = vec![Survivors::Nothing, Survivors::Everything];
        chosen.extend((0..randoms).map(|_| Survivors::Random(self.rng.next())));
        chosen
    }

    /// One crash, the recovery from it, and crashes within that recovery.
    fn one(&mut self, told: &mut Teller, still: &Still, survivors: Survivors, context: &str) {
        let instant = still.operation;
        let disk = still.crash(survivors);
        self.seen.crashes += 1;
        disk.film();
        let vault = reopen(told, instant, &disk, context);
        let within = disk.cut();
        if let Some(vault) = vault {
            let whole = self.seen.crashes.is_multiple_of(self.size.whole);
            let depth = if whole { Depth::Whole } else { Depth::Inside };
            check(told, instant, &vault, &disk, depth, context);
            goes_on(told, instant, &vault, context);
            drop(vault);
            if whole {
                let context = format!("{context}, opened once more");
                let vault = reopen(told, instant, &disk, &context).expect("made by now");
                let passed = vault.notices().iter().find(|n| n.code == "SNAPSHOT_IGNORED");
                assert!(passed.is_none(), "{context}: {passed:?}");
                check(told, instant, &vault, &disk, Depth::Inside, &context);
            }
        }
        if told.config.mirror.is_some() && told.made(instant) {
            self.lose(told, still, survivors, context);
        }
        self.nested(told, instant, &within, self.size.nested, 1, context);
    }

    /// The crash takes a key disk with it: the other one, and the log, must do.
    fn lose(&mut self, told: &mut Teller, still: &Still, survivors: Survivors, context: &str) {
        let keys = Path::new(HOME).join("keys");
        let both = [keys.clone(), PathBuf::from(MIRROR)];
        let at = self.seen.crashes % 2;
        let some = if self.size.whole == 1 { &both[..] } else { &both[at..=at] };
        for dir in some {
            let disk = still.crash(survivors);
            let context = format!("{context}, and {} is lost", dir.display());
            self.seen.lost += 1;
            let behind = disk.files().iter().any(|path| path.ends_with("keys.behind"));
            lose(&disk, dir);
            if *dir == keys {
                let restored = Vault::restore_keys(told.world(&disk), &told.config, false);
                if let Err(error) = restored {
                    // What is known to lack something is never taken for whole.
                    let stale = error.to_string().starts_with("KEYS_MIRROR_STALE");
                    assert!(behind && stale, "{context}: {error}");
                    continue;
                }
            }
            let vault = reopen(told, still.operation, &disk, &context).expect("it was made");
            check(told, still.operation, &vault, &disk, Depth::Inside, &context);
        }
    }

    /// Crashes within a recovery.
    fn nested(
        &mut self,
        told: &mut Teller,
        instant: u64,
        within: &[Still],
        most: usize,
        level: u8,
        context: &str,
    ) {
        let dirty: Vec<&Still> = within.iter().filter(|still| !still.is_clean()).collect();
        let all = dirty.len() <= most;
        let count = dirty.len().min(most);
        for number in 0..count {
            let at = if all { number } else { self.rng.below(dirty.len()) };
            let still = dirty[at];
            let seed = self.rng.next();
            let context = format!("{context}; again before {} (seed {seed})", still.next);
            let disk = still.crash(Survivors::Random(seed));
            self.seen.nested += 1;
            disk.film();
            let vault = reopen(told, instant, &disk, &context);
            let deeper = disk.cut();
            if let Some(vault) = vault {
                check(told, instant, &vault, &disk, Depth::Inside, &context);
            }
            if level < 2 {
                self.nested(told, instant, &deeper, self.size.twice, level + 1, &context);
            }
        }
    }
}

/// A disk dies: every file below is gone.
fn lose(disk: &SimDisk, dir: &Path) {
    let files: Vec<PathBuf> = disk.files().into_iter().filter(|p| p.starts_with(dir)).collect();
    for path in &files {
        disk.remove(path).unwrap();
    }
    for path in files {
        disk.sync_dir(path.parent().unwrap()).unwrap();
    }
}

/// Runs every `of`-th of the scenes from `from`.
fn part(scenes: &[Scene], from: usize, of: usize) {
    let seed = seed();
    for scene in scenes.iter().skip(from).step_by(of) {
        let seen = crash(scene, seed, size(), None);
        println!("{}: {seen:?}", scene.name);
        assert!(seen.instants > 1 || scene.name == "open and close", "{}", scene.name);
    }
}

#[test]
fn no_crash_in_any_operation_breaks_a_promise() {
    part(&operations(), 0, 2);
}

#[test]
fn no_crash_in_any_operation_breaks_a_promise_other_half() {
    part(&operations(), 1, 2);
}

#[test]
fn no_crash_in_any_upkeep_breaks_a_promise() {
    part(&upkeep(), 0, 2);
}

#[test]
fn no_crash_in_any_upkeep_breaks_a_promise_other_half() {
    part(&upkeep(), 1, 2);
}

#[test]
fn no_crash_in_the_registry_breaks_a_promise() {
    part(&documents(), 0, 1);
}

/// The scenes that are neither upkeep nor of the registry.
fn operations() -> Vec<Scene> {
    let apart: Vec<&str> = upkeep().iter().chain(&documents()).map(|scene| scene.name).collect();
    all().into_iter().filter(|scene| !apart.contains(&scene.name)).collect()
}

/// The making of a vault: before it is acknowledged there may be none, after it there is one.
#[test]
fn no_crash_in_the_making_leaves_a_vault_that_cannot_be_opened() {
    made(Teller::new(seed()));
}

/// As `init --continue-from`, with a mirror: the genesis names the old log, whatever happened.
#[test]
fn no_crash_in_the_making_forgets_which_log_is_continued() {
    let mut told = Teller::new(seed());
    told.config.mirror = Some(MIRROR.into());
    let origin = "old.example/t/0123456789abcdef0123456789abcdef".to_owned();
    told.continues = Some(Continues { origin, size: TreeSize(77), root: Hash32([7; 32]) });
    made(told);
}

fn made(mut told: Teller) {
    told.disk.film();
    drop(told.make().unwrap());
    let stills = told.disk.cut();
    assert!(stills.len() > 20);
    let mut run = Run { rng: Rng::new(told.seed), size: size(), seen: Seen::default() };
    for still in &stills {
        run.seen.instants += 1;
        for survivors in run.choose(still, 3) {
            let context = format!("making, before {}, {survivors:?}", still.next);
            run.one(&mut told, still, survivors, &context);
        }
    }
    println!("the making: {:?}", run.seen);
}

/// Every byte of every file at every instant, and every verdict.
fn everything(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.files().into_iter();
    files.map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect()
}

/// The same seed gives the same bytes and verdicts: whatever a run finds can be found again.
#[test]
fn one_seed_gives_one_history() {
    let seed = seed();
    let scenes = all();
    // Scenes in which the caller alone acts: when a background thread draws its random bytes is
    // the machine's choice, so scenes in which a day is sealed are in the matrix and not here.
    let names = [
        "erase linked peers",
        "growth of the key tree",
        "set and release a hold",
        "roll of the log key",
        "rolls with a mirror",
        "compaction of the key tree with a mirror",
        "mirror in step",
        "mirror away and back",
        "snapshots, one an opening",
        "scrub with a mirror",
    ];
    for scene in scenes.iter().filter(|scene| names.contains(&scene.name)) {
        let runs = [(), ()].map(|()| {
            let (told, stills) = play(scene, seed, None);
            let stills: Vec<_> = stills
                .iter()
                .map(|s| {
                    (s.operation, s.next.clone(), everything(&s.crash(Survivors::Random(seed))))
                })
                .collect();
            // Not when each was answered: a seal in the background may be counted before or after.
            let acts: Vec<String> = told.deeds.iter().map(|d| format!("{:?}", d.act)).collect();
            let seen = crash(scene, seed, Size { whole: 9, ..SMALL }, None);
            let notes: Vec<String> = told.notes.iter().map(|(_, note)| note.clone()).collect();
            (everything(&told.disk), stills, notes, acts, seen)
        });
        let [one, other] = runs;
        assert!(one.1.len() > 5, "{}", scene.name);
        assert_eq!(one.3, other.3, "{}: acts and answers", scene.name);
        assert_eq!(one.4, other.4, "{}: crashes", scene.name);
        let told = |stills: &[(u64, String, _)]| -> Vec<(u64, String)> {
            stills.iter().map(|(at, next, _)| (*at, next.clone())).collect()
        };
        assert_eq!(told(&one.1), told(&other.1), "{}: order of operations", scene.name);
        assert_eq!(one.2, other.2, "{}: checkpoints shown", scene.name);
        for (one, other) in one.1.iter().zip(&other.1) {
            let differ = one.2.iter().zip(&other.2).find(|(a, b)| a != b);
            let which = differ.map(|((path, _), _)| path.clone());
            assert_eq!(which, None, "{}: bytes before {}", scene.name, one.1);
        }
        assert!(one == other, "{}: one seed gave two histories", scene.name);
    }
}
