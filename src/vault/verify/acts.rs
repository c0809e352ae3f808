//! The vault's own acts, replayed: genesis, seals, intents and what came of them, the chain of
//! key-tree roots, key rolls. It believes no act that the log does not bear out.

use crate::base::entry::{Entry, Kind};
use crate::base::id::{Hash32, JobId};
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{ClassDay, Day, EntryIndex, Generation, UtcNanos};
use crate::format::control::{self, EraseIntent, KeyRoll, PruneIntent, RootChange};
use crate::format::note::NoteError;
use crate::format::roll::{self, RollError};
use crate::format::seal::epoch::EpochTables;
use crate::format::seal::payload::{DaySealPayload, SealPayload};
use crate::format::vkey::Verifier;
use crate::format::wire::Malformed;
use crate::vault::config::VaultFile;
use crate::vault::verify::report::Report;
use crate::vault::verify::unit::Seen;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A seal whose payload is not one.
const SEAL: Malformed = Malformed { offset: 0, what: "seal payload" };

/// What the acts said so far.
pub(crate) struct Acts {
    origin: String,
    tenant: crate::base::id::TenantId,
    /// Announced generation and root of the key tree.
    pub(crate) root: Option<(Generation, Hash32)>,
    /// Keys the log named as its own, the newest last.
    pub(crate) log_keys: Vec<Verifier>,
    /// How one handed over to the next.
    pub(crate) rolls: Vec<roll::KeyRoll>,
    /// Intents by their place, and whether a done entry named them.
    erasures: HashMap<EntryIndex, (EraseIntent, bool)>,
    prunes: HashMap<EntryIndex, (PruneIntent, bool)>,
    /// Done entries that name a replica which missed them.
    partial: HashMap<JobId, EntryIndex>,
    /// Class-days whose keys are gone by a prune-done entry.
    pub(crate) expired: BTreeSet<ClassDay>,
    /// Epochs sealed, with the seal's place.
    seals: BTreeMap<u64, EntryIndex>,
    /// Epochs whose tables are computed again.
    wanted: BTreeSet<u64>,
    /// Tables of the epoch being read, if it is one of them.
    tables: Option<EpochTables>,
    /// Seals recomputed and not yet met.
    replayed: BTreeMap<u64, SealPayload>,
    /// Log times of the first and the last entry of each epoch.
    times: BTreeMap<u64, (UtcNanos, UtcNanos)>,
    /// First entry of each day by log time.
    days: Vec<(Day, EntryIndex)>,
    /// Where the next day-seal must begin.
    day_next: EntryIndex,
}

impl Acts {
    pub(crate) fn new(file: &VaultFile, wanted: BTreeSet<u64>) -> Self {
        Acts {
            origin: file.origin(),
            tenant: file.tenant,
            root: None,
            log_keys: Vec::new(),
            rolls: Vec::new(),
            erasures: HashMap::new(),
            prunes: HashMap::new(),
            partial: HashMap::new(),
            expired: BTreeSet::new(),
            seals: BTreeMap::new(),
            wanted,
            tables: None,
            replayed: BTreeMap::new(),
            times: BTreeMap::new(),
            days: Vec::new(),
            day_next: EntryIndex(0),
        }
    }

    /// Every entry's day, and the times of its epoch; and a log begins with its genesis, and has
    /// one.
    pub(crate) fn place(&mut self, index: EntryIndex, day: Day, seen: &Seen, report: &mut Report) {
        if (index.0 == 0) != (seen.kind == Kind::Genesis) {
            report.fail("MALFORMED", index, "a log begins with its genesis, and has one");
        }
        let times = self.times.entry(index.0 / EPOCH_ENTRIES);
        times.or_insert((seen.time, seen.time)).1 = seen.time;
        if self.days.last().is_none_or(|(last, _)| *last < day) {
            self.days.push((day, index));
        }
    }

    /// Replays an entry into its epoch's tables. `epochs` holds the roots of finished epochs.
    pub(crate) fn replay(&mut self, entry: &Entry, epochs: &[Hash32]) {
        let epoch = entry.index.0 / EPOCH_ENTRIES;
        if entry.index.0.is_multiple_of(EPOCH_ENTRIES) && self.wanted.contains(&epoch) {
            self.tables = Some(EpochTables::new(epoch));
        }
        let Some(tables) = &mut self.tables else { return };
        if tables.observe(entry).is_err() || !tables.is_whole() {
            return;
        }
        let root = usize::try_from(epoch).ok().and_then(|at| epochs.get(at));
        let payload = root.and_then(|root| tables.payload(&tables.tables(), *root));
        if let Some(payload) = payload {
            self.replayed.insert(epoch, payload);
        }
        self.tables = None;
    }

    /// Takes in an act.
    pub(crate) fn take(
        &mut self,
        index: EntryIndex,
        entry: &Entry,
        epochs: &[Hash32],
        report: &mut Report,
    ) {
        let clear = &entry.head.clear;
        let result = match entry.head.kind {
            Kind::Genesis => self.genesis(index, clear, report),
            Kind::EraseIntent => control::decode::<EraseIntent>(clear).map(|plan| {
                self.erasures.insert(index, (plan, false));
            }),
            Kind::EraseDone => self.erase_done(index, clear, report),
            Kind::PruneIntent => control::decode::<PruneIntent>(clear).map(|plan| {
                self.prunes.insert(index, (plan, false));
            }),
            Kind::PruneDone => self.prune_done(index, clear, report),
            Kind::Seal => self.seal(index, clear, epochs, report),
            Kind::DaySeal => self.day_seal(index, clear, report),
            Kind::KeyRoll => self.key_roll(index, clear, report),
            Kind::HoldSet => control::decode::<control::HoldSet>(clear).map(drop),
            Kind::HoldRelease => control::decode::<control::HoldRelease>(clear).map(drop),
            Kind::Disclose => control::decode::<control::Disclose>(clear).map(drop),
            Kind::Config => control::decode::<control::Config>(clear).map(drop),
            Kind::Conflict => control::decode::<control::Conflict>(clear).map(drop),
            Kind::EraseFinal => self.erase_final(index, clear, report),
            Kind::Scan => control::decode::<control::Scan>(clear).map(drop),
            Kind::Event => Ok(()),
        };
        if let Err(why) = result {
            let what = format!("{}: {why}", entry.head.kind);
            report.fail("MALFORMED", index, what);
        }
    }

    fn genesis(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        let genesis: control::Genesis = control::decode(clear)?;
        if genesis.format != 1 {
            report.doubt("the log is of a newer format");
        }
        if genesis.tenant != self.tenant || genesis.origin != self.origin {
            let what = format!("genesis of {}, in the vault {}", genesis.origin, self.origin);
            report.fail("TENANT_MISMATCH", index, what);
        }
        match Verifier::parse(&genesis.log_key) {
            Ok(key) if key.name() == self.origin => self.log_keys.push(key),
            _ => report.fail("UNTRUSTED_KEY", index, "genesis names no key of this log"),
        }
        self.root = Some((genesis.generation, genesis.root));
        Ok(())
    }

    fn erase_done(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        let done: control::EraseDone = control::decode(clear)?;
        self.root_change(index, &done.root, report);
        match self.erasures.get_mut(&done.intent) {
            Some((plan, finished @ false))
                if plan.job == done.job
                    && plan.persons == done.persons
                    && done.classes.iter().all(|class| plan.classes.contains(class)) =>
            {
                *finished = true;
                self.partial.extend(done.missed.map(|_| (done.job, index)));
                report.erasures += 1;
            }
            _ => {
                let (job, intent) = (done.job, done.intent);
                let what = format!("erasure {job}: entry {intent} is no open intent of the same");
                report.fail("INTENT_MISSING", index, what);
            }
        }
        Ok(())
    }

    fn prune_done(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        let done: control::PruneDone = control::decode(clear)?;
        self.root_change(index, &done.root, report);
        let planned = |plan: &PruneIntent, day: &ClassDay| {
            plan.class_days.iter().any(|due| (due.class, due.day) == (day.class, day.day))
        };
        match self.prunes.get_mut(&done.intent) {
            Some((plan, finished @ false))
                if plan.job == done.job && done.class_days.iter().all(|day| planned(plan, day)) =>
            {
                *finished = true;
                self.partial.extend(done.missed.map(|_| (done.job, index)));
                self.expired.extend(done.class_days);
            }
            // A class-day that no intent names stays unjustified.
            _ => {
                let (job, intent) = (done.job, done.intent);
                let what = format!("expiry {job}: entry {intent} is no open intent of the same");
                report.fail("INTENT_MISSING", index, what);
            }
        }
        Ok(())
    }

    fn erase_final(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        let last: control::EraseFinal = control::decode(clear)?;
        if self.partial.get(&last.job) == Some(&last.done) {
            self.partial.remove(&last.job);
            return Ok(());
        }
        let what = format!("{} was not left open by a replica at {}", last.job, last.done);
        report.fail("INTENT_MISSING", index, what);
        Ok(())
    }

    /// Each change of the root must take up where the one before left off.
    fn root_change(&mut self, index: EntryIndex, change: &RootChange, report: &mut Report) {
        let follows = self.root == Some((change.from, change.old_root))
            && change.from.0.checked_add(1) == Some(change.to.0);
        if !follows {
            let what = format!(
                "root of the key tree goes from generation {} to {}, announced was {}",
                change.from,
                change.to,
                self.root.map_or(0, |(generation, _)| generation.0)
            );
            report.fail("ROOT_HASH_MISMATCH", index, what);
        }
        self.root = Some((change.to, change.new_root));
    }

    fn seal(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        epochs: &[Hash32],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        let seal = SealPayload::decode(clear).map_err(|_| SEAL)?;
        report.seals += 1;
        let epoch = seal.epoch();
        if let Some(first) = self.seals.get(&epoch) {
            let what = format!("epoch {epoch} was sealed at {first}");
            report.fail("SEAL_DUPLICATE", index, what);
            return Ok(());
        }
        self.seals.insert(epoch, index);
        let root = usize::try_from(epoch).ok().and_then(|at| epochs.get(at));
        let of_epoch = root == Some(&seal.root) && seal.end <= index;
        let in_time = self.times.get(&epoch) == Some(&(seal.t_first, seal.t_last));
        // One finding a seal: what is wrong with the root a replay would only say again.
        match self.replayed.remove(&epoch).map(|replayed| seal.check(&replayed)) {
            _ if !of_epoch => {
                let what = format!("the root of epoch {epoch} is not the sealed one");
                report.fail("SEAL_MISMATCH", index, what);
            }
            _ if !in_time => {
                let what = format!("the log times of epoch {epoch} are not the sealed ones");
                report.fail("SEAL_MISMATCH", index, what);
            }
            Some(Ok(())) => report.seals_replayed += 1,
            Some(Err(why)) => report.fail("SEAL_MISMATCH", index, why.to_string()),
            None => {}
        }
        Ok(())
    }

    fn day_seal(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        let seal = DaySealPayload::decode(clear).map_err(|_| SEAL)?;
        report.day_seals += 1;
        let at = self.days.iter().position(|(_, first)| *first == seal.first);
        let next = at.and_then(|at| self.days.get(at + 1)).map(|(_, first)| *first);
        let day = at.and_then(|at| self.days.get(at)).map(|(day, _)| *day);
        if seal.first != self.day_next || day != Some(seal.day) || next != Some(seal.end) {
            let what = format!("day {} is not entries {}..{}", seal.day, seal.first, seal.end);
            report.fail("SEAL_MISMATCH", index, what);
        }
        self.day_next = seal.end;
        Ok(())
    }

    fn key_roll(
        &mut self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Result<(), Malformed> {
        match control::decode::<KeyRoll>(clear)? {
            KeyRoll::GrowthIntent { .. } => {}
            KeyRoll::GrowthDone { root } => self.root_change(index, &root, report),
            KeyRoll::LogKey { note, .. } => match roll::KeyRoll::open(note.as_bytes()) {
                Ok(roll) if index.0.checked_add(1) != Some(roll.until.0) => {
                    let what = "a roll of the log key holds up to and with its own entry";
                    report.fail("MALFORMED", index, what);
                }
                Ok(roll) if self.follows(&roll) => {
                    self.log_keys.push(roll.new.clone());
                    self.rolls.push(roll);
                }
                // That fails, whoever is pinned: the log holds what its own key did not sign.
                Ok(_) => {
                    let what = "the key that hands over here is not the one in force";
                    report.fail("UNTRUSTED_KEY", index, what);
                }
                Err(why) => {
                    let verdict = match &why {
                        RollError::Note(NoteError::BadSignature { .. }) => "BAD_SIGNATURE",
                        RollError::Note(NoteError::UntrustedKey) | RollError::NotCrossSigned => {
                            "UNTRUSTED_KEY"
                        }
                        _ => "MALFORMED",
                    };
                    report.fail(verdict, index, format!("the roll of the log key: {why}"));
                }
            },
        }
        Ok(())
    }

    /// Whether a roll hands over from the key in force to one of the same log.
    fn follows(&self, roll: &roll::KeyRoll) -> bool {
        self.log_keys.last() == Some(&roll.old) && roll.new.name() == self.origin
    }

    /// What is owed at the end of a log of `size` entries.
    pub(crate) fn finish(&mut self, size: u64, report: &mut Report) {
        for epoch in 0..(size / EPOCH_ENTRIES).saturating_sub(1) {
            let due = EntryIndex((epoch + 2) * EPOCH_ENTRIES);
            match self.seals.get(&epoch) {
                None => {
                    let what = format!("epoch {epoch} is over and has no seal");
                    report.fail("SEAL_MISSING", due, what);
                }
                Some(at) if *at >= due => {
                    let what = format!("epoch {epoch} was sealed after the next one had ended");
                    report.attention("SEAL_LATE", *at, what);
                }
                Some(_) => {}
            }
        }
        let unsealed = self.days.iter().filter(|(_, first)| *first >= self.day_next).count();
        if unsealed > 2 {
            let what = "days are over and have no day-seal";
            report.attention("DAY_SEAL_MISSING", self.day_next, what);
        }
        let open = self.erasures.values().filter(|(_, done)| !done).count();
        if open > 0 {
            let what = format!("{open} erasures have an intent and are not done");
            report.attention("ERASURE_OPEN", None, what);
        }
        if !self.partial.is_empty() {
            let what = format!(
                "{} erasures or expiries were missed by a replica of the keys",
                self.partial.len()
            );
            report.attention("ERASURE_PARTIAL", None, what);
        }
        report.generation = self.root.map_or(Generation(0), |(generation, _)| generation);
    }
}
