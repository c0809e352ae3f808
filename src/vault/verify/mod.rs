//! The outsider's check of a data directory: no key, no lock, no trust in the vault, nothing
//! written. Every entry, every hash, every act and every body's place is held against the signed
//! checkpoint and against each other. What it cannot tell it says: without a pinned key a log is
//! only consistent with itself, and whether a body opens needs keys (`Vault::verify_bodies`).
//!
//! Units are taken apart by workers in parallel and joined in order. Memory: 250 bytes a unit,
//! 8 to 16 bytes an entry, and a few units in flight.

mod acts;
mod brackets;
mod chain;
mod evidence;
mod names;
mod opened;
mod report;
mod sights;
mod signed;
mod unit;
mod walk;

pub use crate::vault::verify::evidence::seal_evidence;
pub use crate::vault::verify::opened::BodyReport;
pub use crate::vault::verify::report::{LISTED_MAX, Report, Seen, SignedBy, Verdict, exit_code_of};

use crate::base::unit::{ClassDay, EntryIndex, UtcNanos};
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::store::bodies::Bodies;
use crate::store::disk::Disk;
use crate::store::error::Error as StoreError;
use crate::vault::config::{Places, VaultFile};
use crate::vault::error::{NO_THREAD, Result};
use crate::vault::verify::acts::Acts;
use crate::vault::verify::brackets::Brackets;
use crate::vault::verify::chain::{Chain, Stored};
use crate::vault::verify::names::Names;
use crate::vault::verify::sights::Sights;
use crate::vault::verify::signed::Signers;
use crate::vault::verify::unit::{Checked, Tally, Worker};
use crate::vault::verify::walk::Found;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// Units a worker may be ahead of the joiner.
const AHEAD: usize = 2;
/// Workers at most: beyond, the joiner is what takes time.
const WORKERS_MAX: usize = 8;

/// How far to go.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// A gap in a source's numbers fails the verification.
    pub strict: bool,
    /// Recompute the tables of these epochs and hold their seals against them.
    pub replay_seals: Option<Sample>,
    /// Checkpoints of this log kept from before: each must be a prefix of it.
    pub retained: Vec<String>,
}

/// Checks a data directory as an outsider. `progress` is told entries done and in all.
///
/// # Errors
/// What kept it from checking: missing, unreadable or newer files. What is wrong is in the report.
pub fn verify_data(
    disk: &Arc<dyn Disk>,
    data: &Path,
    trust: Option<&Trust>,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report> {
    let file = VaultFile::read(&**disk, data)?;
    let places = Places::of(data, Path::new(""), &file.tenant);
    let mut report = Report::new(file.origin(), file.tenant);
    let head = signed::Head::read(&**disk, &places, &file, trust, &mut report)?;
    let units = walk::walk(&**disk, &places.log(), head.size, &mut report)?;
    let stored = Stored::open(&**disk, &places.tiles())?;
    let mut chain = Chain::new(file.tenant, stored, head.size);
    chain.targets = head.targets(&file, trust, &options.retained, &mut report);
    let sights = Sights::read(&**disk, &places, &file.origin(), trust, &mut report)?;
    chain.targets.extend(sights.targets());
    chain.brackets = Brackets::new(head.seen(), sights);
    let total: u64 = units.iter().map(|unit| unit.entries() as u64).sum();
    let wanted = options.replay_seals.as_ref().map(|sample| head.sample(sample, total));
    let keep = wanted.as_ref().is_some_and(|wanted| !wanted.is_empty());
    let acts = Acts::new(&file, wanted.unwrap_or_default());
    let mut joiner = Joiner {
        signers: Signers { head: &head, trust, file: &file },
        chain,
        acts,
        names: Names::default(),
        bodies: BTreeMap::new(),
        report,
        last_time: UtcNanos(0),
        joined: 0,
    };
    let bodies = Bodies::new(disk.clone(), &places.bodies(), file.tenant);
    in_order(disk, &bodies, &units, keep, &mut |found, checked| {
        joiner.take(found, checked)?;
        progress(joiner.chain.tree.size().0, total);
        Ok(())
    })?;
    let Joiner { mut chain, mut acts, names, bodies: totals, mut report, joined, .. } = joiner;
    let units = units.get(..joined).unwrap_or(&units);
    chain.finish(&mut report);
    let size = chain.tree.size();
    acts.finish(size.0, &mut report);
    head.finish(&acts, size, trust, &mut report);
    signed::tail(&**disk, units, head.size, &head.keys(trust, &file, &acts), &mut report)?;
    let mut suspects = names.finish(options.strict, &mut report);
    if !suspects.is_empty() {
        in_order(disk, &bodies, units, false, &mut |found, checked| {
            for (at, seen) in checked.entries.iter().enumerate() {
                let index = EntryIndex(found.head.first.0 + at as u64);
                seen.iter().for_each(|seen| suspects.take(index, seen, &mut report));
            }
            Ok(())
        })?;
    }
    finish_bodies(&totals, &acts, &bodies, units, &mut report)?;
    report.entries = size.0;
    report.units = units.len() as u64;
    report.unsigned_tail = size.0.saturating_sub(head.size.0);
    Ok(report)
}

/// Where the results of the workers meet.
struct Joiner<'a> {
    signers: Signers<'a>,
    chain: Chain,
    acts: Acts,
    names: Names,
    bodies: BTreeMap<ClassDay, Total>,
    report: Report,
    last_time: UtcNanos,
    /// Units that count: all but an unsound one that ends the log beyond the checkpoint.
    joined: usize,
}

/// What was found of one class-day.
#[derive(Default)]
struct Total {
    tally: Tally,
    /// Entries whose body is not there; the first ones.
    missing: Vec<EntryIndex>,
}

impl Joiner<'_> {
    fn take(&mut self, found: &Found, mut checked: Checked) -> Result<()> {
        let first = self.chain.tree.size().0;
        // The end of the log beyond the checkpoint may be what a crash left half written, or what
        // anybody wrote: it counts only if it is whole and signed.
        if found.last && first >= self.chain.signed.0 {
            let signed = self.signers.signed(&self.acts, found, &checked);
            if !signed || !self.chain.bears_out(found, &checked) {
                return Ok(self.chain.leave_out(&checked, &mut self.report)?);
            }
        }
        self.joined += 1;
        std::mem::take(&mut checked.findings).into_iter().for_each(|f| self.report.add(f));
        // What nobody names is told only where every entry of the unit is believed.
        if self.chain.take(found, &checked, &mut self.report)? {
            std::mem::take(&mut checked.extra).into_iter().for_each(|f| self.report.add(f));
        }
        for (at, seen) in checked.entries.iter().enumerate() {
            let Some(seen) = seen else { continue };
            let index = EntryIndex(first + at as u64);
            if index.0 == 0 {
                self.report.first_time = seen.time;
            }
            self.last_time = self.last_time.max(seen.time);
            *self.report.kinds.entry(seen.kind.name()).or_default() += 1;
            self.names.take(index, seen, &mut self.report);
            self.acts.place(index, self.last_time.day(), seen, &mut self.report);
            let Some(entry) = &seen.entry else { continue };
            self.acts.replay(entry, &self.chain.epochs);
            if seen.kind != crate::base::entry::Kind::Event {
                self.acts.take(index, entry, &self.chain.epochs, &mut self.report);
            }
        }
        self.report.last_time = self.last_time;
        for (class_day, tally) in &checked.tallies {
            let total = &mut self.bodies.entry(*class_day).or_default().tally;
            total.groups += tally.groups;
            total.bodies += tally.bodies;
            total.missing += tally.missing;
        }
        for (class_day, index) in checked.missing {
            let total = self.bodies.entry(class_day).or_default();
            if (total.missing.len() as u64) < LISTED_MAX {
                total.missing.push(index);
            }
        }
        Ok(())
    }
}

/// Has workers take the units apart and gives the results to `each` in order.
fn in_order(
    disk: &Arc<dyn Disk>,
    bodies: &Bodies,
    units: &[Found],
    keep: bool,
    each: &mut dyn FnMut(&Found, Checked) -> Result<()>,
) -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    std::thread::scope(|scope| {
        let mut answers = Vec::with_capacity(workers);
        for number in 0..workers {
            let (send, receive) = sync_channel(AHEAD);
            answers.push(receive);
            let work = move || {
                let mut worker = Worker::new(disk, bodies, keep);
                for found in units.iter().skip(number).step_by(workers) {
                    let answer = worker.check(found);
                    let failed = answer.is_err();
                    if send.send(answer).is_err() || failed {
                        return;
                    }
                }
            };
            let started = std::thread::Builder::new().spawn_scoped(scope, work);
            started.map_err(|e| StoreError::io(std::path::Path::new("log"), NO_THREAD, e))?;
        }
        for (found, answer) in units.iter().zip(answers.iter().cycle()) {
            let gone = || StoreError::corrupt(&found.segment, "a worker did not come back");
            each(found, answer.recv().map_err(|_| gone())??)?;
        }
        Ok(())
    })
}

/// Missing bodies are justified by prune-done entries, or named.
fn finish_bodies(
    totals: &BTreeMap<ClassDay, Total>,
    acts: &Acts,
    bodies: &Bodies,
    units: &[Found],
    report: &mut Report,
) -> Result<()> {
    for (class_day, total) in totals {
        report.groups += total.tally.groups;
        if acts.expired.contains(class_day) {
            report.expired += total.tally.groups;
            continue;
        }
        report.bodies += total.tally.bodies;
        let left = total.tally.missing.saturating_sub(total.missing.len() as u64);
        for index in &total.missing {
            let what = format!("no body in {class_day}, and no entry that says why");
            report.fail("BODY_MISSING_UNJUSTIFIED", *index, what);
        }
        if left > 0 {
            let what = format!("and {left} more in {class_day}");
            report.fail("BODY_MISSING_UNJUSTIFIED", None, what);
        }
    }
    let mut ends: BTreeMap<ClassDay, u64> = BTreeMap::new();
    for span in units.iter().flat_map(|u| &u.head.spans) {
        let end = ends.entry(span.class_day).or_default();
        *end = span.end.max(*end);
    }
    for (class_day, _) in bodies.list()? {
        // One that is damaged was named by whoever read its bodies.
        let room = bodies.room_of(class_day).filter(|room| !room.damaged);
        let len = room.map_or(0, |room| room.plain);
        let end = ends.get(&class_day).copied().unwrap_or(0);
        if len > end && len > crate::format::body::FILE_HEAD_BYTES {
            let what = format!("{} bytes in {class_day} that no unit names", len - end);
            report.attention("BODY_UNCOMMITTED", None, what);
        }
    }
    Ok(())
}
