//! The window of event ids against a plain map of everything ever sent: random histories with
//! snapshots, restarts from the disk, layers that were forgotten, and runs that were damaged. A
//! wrong "new" would store a duplicate, a wrong "seen" would lose an event: neither may happen.

use crate::support::sim::{Rng, SimDisk};
use chancery::base::id::{EventIdTag, SourceHandle, TenantId};
use chancery::base::unit::{EntryIndex, TreeSize, UtcNanos};
use chancery::format::run::RunInfo;
use chancery::store::disk::Disk;
use chancery::store::runs::{Run, Span, name};
use chancery::vault::dedupe::{Bounds, Captured, Ids, Layer, Seen, Window, persist};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const DIR: &str = "/sim/snapshot";
const TENANT: TenantId = TenantId([1; 16]);
const SOURCE: SourceHandle = SourceHandle([2; 16]);
const BOUNDS: Bounds = Bounds { ids: 400, nanos: 1_000 };

/// A tag that looks random, and is a function of a small number.
fn tag(number: u64) -> EventIdTag {
    let mut bytes = [0; 16];
    Rng::new(number ^ 0xabcd).fill(&mut bytes);
    EventIdTag(bytes)
}

/// The log as far as the window cares: every entry's id and time.
struct Model {
    sent: Vec<(u64, u64)>,
    /// The newest entry of each id.
    at: HashMap<u64, u64>,
    now: u64,
}

impl Model {
    /// Whether the window must still know the entry: it is among the newest ids or young enough.
    fn must_know(&self, index: u64) -> bool {
        let newer = self.sent.len() as u64 - index - 1;
        newer < BOUNDS.ids as u64 || self.now - self.sent[index as usize].1 <= BOUNDS.nanos
    }

    fn ids(&self, span: Span) -> Ids {
        let range = span.first.0..span.end.0;
        range.map(|at| (tag(self.sent[at as usize].0), EntryIndex(at))).collect()
    }
}

struct History {
    disk: SimDisk,
    window: Window,
    model: Model,
    /// What the last snapshot wrote, and where.
    saved: Option<(TreeSize, Vec<RunInfo>)>,
    rng: Rng,
    mended: u32,
    forgotten: u32,
    asked_disk: u32,
}

impl History {
    fn new(seed: u64) -> History {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        let model = Model { sent: Vec::new(), at: HashMap::new(), now: 10_000 };
        let (window, rng) = (Window::new(BOUNDS), Rng::new(seed));
        let saved = None;
        History { disk, window, model, saved, rng, mended: 0, forgotten: 0, asked_disk: 0 }
    }

    fn seen(&mut self, id: u64) -> Seen {
        loop {
            match self.window.seen(&SOURCE, None, &tag(id)) {
                Ok(seen) => return seen,
                Err(lost) => {
                    self.mended += 1;
                    let ids = self.model.ids(lost.span);
                    self.window.mend(lost.span, ids);
                }
            }
        }
    }

    /// Sends an id as the sequencer would, and holds the answer against the model.
    fn send(&mut self, id: u64) {
        self.model.now += self.rng.below(6) as u64;
        let seen = self.seen(id);
        match (seen, self.model.at.get(&id)) {
            (Seen::At(found), Some(at)) => {
                assert_eq!(found.0, *at, "id {id}: another entry");
                let saved = self.saved.as_ref().map_or(0, |(end, _)| end.0);
                self.asked_disk += u32::from(*at < saved);
                return;
            }
            (Seen::New, Some(at)) => {
                assert!(!self.model.must_know(*at), "id {id} of entry {at} was forgotten");
                self.forgotten += 1;
            }
            (Seen::New, None) => {}
            (other, known) => panic!("id {id}: {other:?}, the model says {known:?}"),
        }
        let index = self.model.sent.len() as u64;
        self.model.sent.push((id, self.model.now));
        self.model.at.insert(id, index);
        let time = UtcNanos(self.model.now);
        self.window.insert(&SOURCE, None, &tag(id), EntryIndex(index), time);
    }

    fn snapshot(&mut self, adopt: bool) {
        while let Some(span) = self.window.first_lost() {
            self.mended += 1;
            self.window.mend(span, self.model.ids(span));
        }
        let end = TreeSize(self.model.sent.len() as u64);
        let Captured { layers, .. } = self.window.capture(end);
        let (disk, dir) = (&self.disk, Path::new(DIR));
        // While it is written, the log goes on.
        let runs = persist(disk, dir, &TENANT, &layers, BOUNDS.layer()).unwrap();
        self.saved = Some((end, runs.iter().map(|run| run.info).collect()));
        for _ in 0..self.rng.below(30) {
            let id = self.rng.below(3_000) as u64;
            self.send(id);
        }
        if adopt {
            self.window.adopt(end, runs);
        }
    }

    /// What an opening does: runs as the snapshot says, then the entries behind it.
    fn restart(&mut self) {
        let Some((end, runs)) = self.saved.clone() else { return };
        let mut layers = Vec::new();
        for info in &runs {
            layers.push(Layer::open(&self.disk, Path::new(DIR), &TENANT, info));
        }
        self.window = Window::resume(BOUNDS, Vec::new(), layers, end);
        for index in end.0..self.model.sent.len() as u64 {
            let (id, time) = self.model.sent[index as usize];
            self.window.insert(&SOURCE, None, &tag(id), EntryIndex(index), UtcNanos(time));
        }
    }

    fn damage(&mut self) {
        let Some((_, runs)) = &self.saved else { return };
        let Some(info) = runs.get(self.rng.below(runs.len())) else { return };
        let path = PathBuf::from(DIR).join(name(info.first, info.end));
        let Some(bytes) = self.disk.bytes(&path) else { return };
        match self.rng.below(4) {
            0 => self.disk.remove(&path).unwrap_or_default(),
            1 => self.disk.plant(&path, &bytes[..self.rng.below(bytes.len())]),
            _ => {
                self.disk.write_through(&path, self.rng.below(bytes.len()), 1 << self.rng.below(8))
            }
        }
    }
}

#[test]
fn random_histories_with_restarts_forgetting_and_damage_agree_with_a_plain_map() {
    let (mut mended, mut forgotten, mut asked_disk, mut joined) = (0, 0, 0, false);
    for seed in 0..60 {
        println!("seed {seed}");
        let mut history = History::new(seed);
        for _ in 0..6_000 {
            match history.rng.below(400) {
                0..=12 => history.snapshot(true),
                13 => history.snapshot(false),
                14..=16 => history.restart(),
                17 if seed % 2 == 0 => history.damage(),
                _ => {
                    // Ids come again soon, late, or never before.
                    let far = [40, 600, 3_000, 1 << 40][history.rng.below(4)];
                    let id = (history.model.sent.len() as u64 / 2 + history.rng.below(far) as u64)
                        % (1 << 40);
                    history.send(id);
                }
            }
        }
        history.restart();
        for id in 0..3_000 {
            history.send(id);
        }
        let runs = history.saved.iter().flat_map(|(_, runs)| runs);
        joined |= runs.into_iter().any(|run| run.rows > 60);
        mended += history.mended;
        forgotten += history.forgotten;
        asked_disk += history.asked_disk;
    }
    println!("mended {mended}, forgotten {forgotten}, answered from disk {asked_disk}");
    assert!(mended > 20 && forgotten > 100 && asked_disk > 1_000 && joined);
}

fn written(rows: u64) -> (SimDisk, Run) {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    let mut sorted: Vec<_> = (0..rows).map(|n| (tag(n), EntryIndex(n + 5))).collect();
    sorted.sort_unstable();
    let span = Span { first: EntryIndex(5), end: EntryIndex(rows + 5), until: UtcNanos(9) };
    let run = Run::write(&disk, Path::new(DIR), &TENANT, span, &sorted).unwrap();
    (disk, run)
}

/// No flipped bit of a run changes an answer: it is named when the run is opened or asked.
#[test]
fn every_byte_of_a_run_is_bound() {
    let (disk, run) = written(300);
    let path = PathBuf::from(DIR).join(name(run.info.first, run.info.end));
    let len = disk.bytes(&path).unwrap().len();
    for at in 0..len {
        let disk = disk.fork();
        disk.flip(&path, at, 1 << (at % 8));
        let Ok(run) = Run::open(&disk, Path::new(DIR), &TENANT, &run.info) else { continue };
        let answers: Vec<_> = (0..300).map(|n| run.find(&tag(n))).collect();
        assert!(answers.iter().any(Result::is_err), "byte {at}: nobody noticed");
        let right = |(n, answer): (usize, &Result<_, _>)| match answer {
            Ok(found) => *found == Some(EntryIndex(n as u64 + 5)),
            Err(_) => true,
        };
        assert!(answers.iter().enumerate().all(right), "byte {at}: a wrong answer");
    }
    assert!(Run::open(&disk, Path::new(DIR), &TenantId([2; 16]), &run.info).is_err());
}

#[test]
fn a_tag_that_is_not_there_seldom_costs_a_read() {
    let (_, run) = written(20_000);
    let found = (20_000..60_000).filter(|n| run.find(&tag(*n)).unwrap().is_some()).count();
    assert_eq!(found, 0);
    assert!((0..20_000).all(|n| run.find(&tag(n)).unwrap() == Some(EntryIndex(n + 5))));
}
