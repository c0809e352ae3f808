//! Random histories of one vault: all operations, with power losses, failing operations, failed
//! syncs and full disks in between, several openings, and bits that rot at the end. After every
//! fault the model learns what became of the act that got no answer, and everything is checked.
//! `CHANCERY_CRASH=full` runs many more; `CHANCERY_SEED` starts elsewhere; each prints its seed.

use super::check::{Depth, check, linked};
use super::matrix::seed;
use super::scenes::{calm, tomorrow};
use super::told::{Act, HOME, NOW, Sure, Teller};
use crate::support::clinic::{Visit, data_fate, patient, read_all, text};
use crate::support::sim::{FailedSync, Rng, SimDisk, Survivors};
use chancery::base::record::Fate;
use chancery::format::unit;
use chancery::format::wire::Reader;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::error::{Error, Result};
use chancery::vault::verify::{Options, verify_data};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

struct History {
    told: Teller,
    rng: Rng,
    faults: usize,
}

impl History {
    fn name(&mut self) -> String {
        format!("p{}", self.rng.below(6))
    }

    /// A batch of one to four visits.
    fn visits(&mut self) -> Vec<Visit> {
        let count = 1 + self.rng.below(4);
        (0..count)
            .map(|_| {
                let class = ["90d", "1y", "1y", "6y"][self.rng.below(4)];
                let (nurse, name) = (["n1", "n2"][self.rng.below(2)], self.name());
                self.told.visit(nurse, &name).class(class)
            })
            .collect()
    }

    /// One act. Refusals the model foresees are no errors.
    fn act(&mut self, vault: &Vault) -> Result<()> {
        match self.rng.below(14) {
            0..=4 => {
                let visits = self.visits();
                let sources: &[&str] = [&["ehr"][..], &["ehr", "lab"]][self.rng.below(2)];
                self.told.append_from(vault, sources, &visits)
            }
            5 => {
                let (one, other) = (self.name(), self.name());
                if one == other { Ok(()) } else { self.told.link(vault, &one, &other) }
            }
            6 | 7 => self.erase(vault),
            8 => {
                let name = self.name();
                match vault.persons_named(&[patient(&name)]) {
                    Ok(_) if self.told.holds().is_empty() => {
                        self.told.hold(vault, &name).map(|_| ())
                    }
                    Ok(_) => Ok(()),
                    Err(error) => foreseen(Err(error), "SUBJECT_UNKNOWN"),
                }
            }
            9 => match self.told.holds().pop_first() {
                Some((case, _)) => self.told.release(vault, case),
                None => Ok(()),
            },
            10 => {
                let days = [1, 1, 20, 95][self.rng.below(4)];
                tomorrow(&mut self.told, vault, days)
            }
            11 => self.told.expire(vault, &[]),
            12 => self.told.checkpoint(vault),
            _ => self.told.policies(vault),
        }
    }

    fn erase(&mut self, vault: &Vault) -> Result<()> {
        let name = self.name();
        let peers = self.told.peers(&name);
        let held = |names: &BTreeSet<String>| {
            self.told.holds().values().flatten().any(|held| names.contains(held))
        };
        // What an erasure left of linked handles still leads from one name to the other.
        let ever = self.ever_linked(&name);
        let (held, perhaps) = (held(&peers), held(&ever));
        let floor = self.told.deeds.iter().any(|deed| match &deed.act {
            Act::Append { visits, .. } => {
                visits.iter().any(|v| v.class == "6y" && ever.contains(&v.patient))
            }
            _ => false,
        });
        let spared: &[&'static str] = if floor { &["6y"] } else { &[] };
        let result = self.told.erase(vault, &name, spared);
        let result = if perhaps { foreseen(result, "HOLD_BLOCKED") } else { result };
        foreseen(result, if held { "HOLD_BLOCKED" } else { "SUBJECT_UNKNOWN" })
    }

    /// Names that were ever linked with this one, itself included.
    fn ever_linked(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([name.to_owned()]);
        loop {
            let before = found.len();
            for deed in &self.told.deeds {
                if let Act::Link { names } = &deed.act
                    && names.iter().any(|name| found.contains(name))
                {
                    found.extend(names.iter().cloned());
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    /// Makes something go wrong soon; says what.
    fn arm(&mut self) -> String {
        let disk = &self.told.disk;
        let seed = self.rng.next();
        match self.rng.below(5) {
            0 => {
                let n = 1 + self.rng.below(40) as u64;
                disk.fail_at(n);
                format!("operation {n} from here fails")
            }
            1 => {
                let n = 1 + self.rng.below(15) as u64;
                let kinds = [FailedSync::Lost, FailedSync::Kept, FailedSync::Torn(seed)];
                let kind = kinds[self.rng.below(3)];
                disk.fail_sync(n, kind);
                format!("sync {n} from here fails, {kind:?}")
            }
            2 => {
                let n = 1 + self.rng.below(12) as u64;
                disk.full_at(n);
                format!("full at {n} from here")
            }
            3 => {
                let bytes = self.rng.below(20_000) as u64;
                disk.full_after(bytes);
                format!("full after {bytes} bytes")
            }
            _ => "power loss after this".to_owned(),
        }
    }

    /// What the disk is after the process has died: as it is, or after a power loss.
    fn die(&mut self) -> Survivors {
        match self.rng.below(4) {
            0 => Survivors::Everything,
            1 => Survivors::Nothing,
            _ => Survivors::Random(self.rng.next()),
        }
    }

    /// Dies, may die again while recovering, and opens.
    fn survive(&mut self, context: &str) -> Vault {
        let survivors = self.die();
        self.told.disk = self.told.disk.still().crash(survivors);
        let mut context = format!("{context}, {survivors:?}");
        for _ in 0..self.rng.below(3) {
            self.told.disk.fail_at(1 + self.rng.below(30) as u64);
            drop(self.told.open());
            let survivors = self.die();
            self.told.disk = self.told.disk.still().crash(survivors);
            context = format!("{context}, again {survivors:?}");
        }
        let vault = self.told.open().unwrap_or_else(|e| panic!("{context}: {e}"));
        calm(&vault).unwrap_or_else(|e| panic!("{context}: {e}"));
        let disk = self.told.disk.clone();
        // What was answered must stand, what was not may, before the model learns which.
        check(&self.told, NOW, &vault, &disk, Depth::Inside, &context);
        self.learn(&vault);
        check(&self.told, u64::MAX, &vault, &disk, Depth::Whole, &context);
        vault
    }

    /// Finds out what became of acts without an answer.
    fn learn(&mut self, vault: &Vault) {
        let facts = vault.facts_now();
        let records = read_all(vault);
        let there = |visit: &Visit| {
            records.iter().any(|record| record.entry.head.source_seq == Some(visit.seq))
        };
        let unknown = |name: &String| vault.persons_named(&[patient(name)]).is_err();
        for number in self.told.open_ends() {
            let known = self.told.holds();
            let happened = match &mut self.told.deeds[number].act {
                Act::Append { visits, .. } => there(&visits[0]),
                Act::Erase { names, .. } => names.iter().all(unknown),
                Act::Link { names } => linked(vault, names),
                Act::Hold { case, .. } => {
                    *case = facts.holds.keys().find(|case| !known.contains_key(case)).copied();
                    case.is_some()
                }
                Act::Release { case } => !facts.holds.contains_key(case),
                Act::Expire { days } => {
                    days.retain(|day| facts.expired.contains_key(day));
                    true
                }
                Act::Document { key, version, .. } => {
                    facts.documents.get(key).is_some_and(|fact| fact.version >= *version)
                }
                Act::Make
                | Act::Complete { .. }
                | Act::Policies { .. }
                | Act::Roll
                | Act::Named { .. }
                | Act::Other => true,
            };
            self.told.settle(number, happened);
        }
    }

    /// One act, perhaps with a fault in it.
    fn step(&mut self, vault: Vault, context: &str) -> Vault {
        if self.rng.below(3) > 0 {
            self.act(&vault).unwrap_or_else(|e| panic!("{context}: {e}"));
            calm(&vault).unwrap_or_else(|e| panic!("{context}: {e}"));
            return vault;
        }
        self.faults += 1;
        let context = format!("{context}, {}", self.arm());
        let result = self.act(&vault);
        if let Err(error) = &result {
            assert!(matches!(error, Error::Unavailable(_)), "{context}: {error}");
        }
        drop(vault);
        self.survive(&context)
    }

    /// Bits rot under the vault. It may refuse, it may name what is damaged; it never lies.
    fn rot(&mut self, context: &str) {
        let below = ["/log/", "/bodies/", "nodes.seg", "checkpoint", "/tile/", "/root."];
        let below = below[self.rng.below(below.len())];
        let (before, disk) = (self.told.disk.fork(), self.told.disk.fork());
        disk.rot(below, 1 + self.rng.below(6) as u64, self.rng.next());
        let context = format!("{context}, rot below {below}");
        let opened = self.told.open_on(&disk);
        let mut dropped = false;
        match &opened {
            Err(error) => {
                let named = matches!(error, Error::Unavailable(_) | Error::Evidence { .. });
                assert!(named, "{context}: {error}");
            }
            Ok(vault) => {
                // What rots from here on is the next reading's business.
                disk.heal();
                dropped = vault.notices().iter().any(|notice| notice.code == "TAIL_DROPPED");
                self.no_lie(vault, &context);
            }
        }
        drop(opened);
        if disk.rotted() > 0 && ["/log/", "/bodies/"].contains(&below) && !dropped {
            let after = disk.fork();
            let outside: Arc<dyn Disk> = Arc::new(disk);
            let (data, options) = (Path::new(HOME).join("data"), Options::default());
            let trust = self.told.first_trust();
            let report = verify_data(&outside, &data, trust.as_ref(), &options, &mut |_, _| {});
            let exit = report.map_or(3, |report| report.exit_code());
            let seen = exit != 0 || in_idle_signatures(&before, &after);
            assert!(seen, "{context}: an outsider does not see it");
        }
    }

    /// Whatever opens is what was sent, and nothing forgotten opens.
    fn no_lie(&self, vault: &Vault, context: &str) {
        let certain = self.told.deeds.iter().filter(|deed| deed.at(u64::MAX) == Sure::Certain);
        for deed in certain {
            let Act::Append { receipts, .. } = &deed.act else { continue };
            for (index, leaf) in receipts {
                let found = vault.leaf(*index);
                assert!(found.is_none_or(|found| found == *leaf), "{context}: leaf of {index}");
            }
        }
        let expected = self.told.expected(u64::MAX);
        let reading = chancery::vault::read::Reading::OPEN;
        for index in 0..vault.size().0 {
            let index = chancery::base::unit::EntryIndex(index);
            let Ok(record) = vault.record(index, reading) else { continue };
            let Some(seq) = record.entry.head.source_seq else { continue };
            let Some((_, visit, fates)) = expected.get(&seq) else { continue };
            if data_fate(&record) == Fate::Open {
                assert!(fates.contains(&Fate::Open), "{context}: {visit:?} was forgotten");
                assert!(text(&record).contains(&visit.secret), "{context}: {visit:?} is changed");
            }
        }
    }
}

/// Whether all that rotted in plain segments are signatures of units. Where the checkpoint covers a
/// unit nothing rests on its signature, and a verifier passes over it (docs/format.md, section 12);
/// beyond the checkpoint it does not. The vault's own scrub finds it anywhere.
fn in_idle_signatures(before: &SimDisk, after: &SimDisk) -> bool {
    let mut idle = 0;
    for path in before.files().iter().filter(|path| path.extension().is_some_and(|e| e == "seg")) {
        let (Some(old), Some(new)) = (before.bytes(path), after.bytes(path)) else { return false };
        let rotted: Vec<usize> = (0..old.len()).filter(|at| old.get(*at) != new.get(*at)).collect();
        let mut signatures = Vec::new();
        let mut offset = 0;
        while let Some(rest) = old.get(offset..).filter(|rest| !rest.is_empty())
            && let Ok(head) = unit::decode_head(&mut Reader::new(rest))
        {
            offset += head.len as usize;
            signatures.push(offset - unit::SIGNATURE_BYTES..offset);
        }
        if !rotted.iter().all(|at| signatures.iter().any(|signature| signature.contains(at))) {
            return false;
        }
        idle += rotted.len();
    }
    idle > 0
}

/// A result, taking one refusal for an answer.
fn foreseen(result: Result<()>, code: &str) -> Result<()> {
    match result {
        Err(error) if error.code() == code => Ok(()),
        result => result,
    }
}

/// One history. Returns how many faults it had.
fn history(seed: u64, steps: usize) -> usize {
    let mut told = Teller::new(seed);
    told.keyhole = true;
    let mut vault = told.make().unwrap();
    let mut history = History { told, rng: Rng::new(seed), faults: 0 };
    for step in 0..steps {
        vault = history.step(vault, &format!("seed {seed}, step {step}"));
    }
    let context = format!("seed {seed}, at the end");
    let disk: SimDisk = history.told.disk.clone();
    check(&history.told, u64::MAX, &vault, &disk, Depth::Whole, &context);
    drop(vault);
    for _ in 0..4 {
        history.rot(&context);
    }
    history.faults
}

#[test]
fn random_histories_with_faults_keep_every_promise() {
    let first = seed();
    let count = if std::env::var("CHANCERY_CRASH").is_ok_and(|s| s == "full") { 500 } else { 16 };
    let faults: usize = (first..first + count).map(|seed| history(seed, 30)).sum();
    println!("{count} histories from seed {first}: {faults} faults");
    assert!(faults as u64 > count * 5);
}
