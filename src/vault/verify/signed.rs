//! The signed checkpoint, and checkpoints kept from before: what the entries are held against.
//! A key is believed only when the trust file pins it.

use crate::base::entry::{Entry, Kind};
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::crypto::merkle::EMPTY_ROOT;
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{self, Genesis};
use crate::format::note::Note;
use crate::format::seal::sample::Sample;
use crate::format::trust::{LogKey, Trust, Trusted};
use crate::format::unit;
use crate::format::vkey::Verifier;
use crate::store::disk::Disk;
use crate::vault::config::{Places, VaultFile};
use crate::vault::error::Result;
use crate::vault::recover::FOUNDING_ENTRIES;
use crate::vault::verify::acts::Acts;
use crate::vault::verify::chain::Target;
use crate::vault::verify::report::{Report, SignedBy};
use crate::vault::verify::unit::Checked;
use crate::vault::verify::walk::{Found, Reading};
use std::collections::BTreeSet;

/// A key of the log, and what it may sign: units that end beyond `from`, up to `until`.
pub(crate) struct Signing {
    key: Verifier,
    from: TreeSize,
    until: Option<TreeSize>,
}

/// Who may have signed a unit, asked while units are joined.
pub(crate) struct Signers<'a> {
    pub(crate) head: &'a Head,
    pub(crate) trust: Option<&'a Trust>,
    pub(crate) file: &'a VaultFile,
}

impl Signers<'_> {
    /// Whether a key signed the unit that is known by what came before it: a pinned one, or
    /// without trust one that the log named. The first unit brings the log's first key along.
    pub(crate) fn signed(&self, acts: &Acts, found: &Found, checked: &Checked) -> bool {
        let mut keys = self.head.keys(self.trust, self.file, acts);
        if self.trust.is_none() && acts.log_keys.is_empty() {
            let first = checked.entries.first().and_then(|seen| seen.as_ref());
            let entry = first.and_then(|seen| seen.entry.as_deref());
            let key = entry.and_then(|entry| genesis_key(entry, self.file));
            keys.extend(key.map(|key| Signing { key, from: TreeSize(0), until: None }));
        }
        let message = unit::signed_message(&found.hash);
        keys.iter().any(|key| key.holds(found.head.end, &message, &checked.signature))
    }
}

/// The key that a genesis names as the log's own.
fn genesis_key(entry: &Entry, file: &VaultFile) -> Option<Verifier> {
    let genesis = (entry.head.kind == Kind::Genesis).then_some(&entry.head.clear)?;
    let genesis: Genesis = control::decode(genesis).ok()?;
    let key = Verifier::parse(&genesis.log_key).ok()?;
    (key.name() == file.origin()).then_some(key)
}

impl Signing {
    fn holds(&self, end: TreeSize, message: &[u8], signature: &[u8; 64]) -> bool {
        let of_time = end > self.from && self.until.is_none_or(|until| end <= until);
        of_time && self.key.key().verify(message, signature).is_ok()
    }
}

/// The checkpoint file, read before anything else: the log can only have grown since.
pub(crate) struct Head {
    note: Option<Vec<u8>>,
    checkpoint: Option<Checkpoint>,
    trusted: Option<Trusted>,
    /// The newest checkpoint that meets the trust file's quorum, if that asks for one.
    witnessed: Option<Trusted>,
    /// Size it states, believed only as far as the entries bear it out.
    pub(crate) size: TreeSize,
}

impl Head {
    pub(crate) fn read(
        disk: &dyn Disk,
        places: &Places,
        file: &VaultFile,
        trust: Option<&Trust>,
        report: &mut Report,
    ) -> Result<Head> {
        let path = places.checkpoint();
        let note = if disk.exists(&path)? { Some(disk.read(&path)?) } else { None };
        let mut head =
            Head { note, checkpoint: None, trusted: None, witnessed: None, size: TreeSize(0) };
        let Some(note) = &head.note else { return Ok(head) };
        head.checkpoint = Note::parse(note).ok().and_then(|n| Checkpoint::parse(&n.text).ok());
        match trust.map(|trust| trust.open_signed(note)) {
            Some(Ok(trusted)) => head.trusted = Some(trusted),
            Some(Err(e)) => unsigned(e.verdict(), format!("checkpoint: {e}"), report),
            None if head.checkpoint.is_none() => {
                report.fail("MALFORMED", None, "the checkpoint file holds no signed checkpoint");
            }
            None => {}
        }
        let origin = file.origin();
        if head.checkpoint.as_ref().is_some_and(|c| c.origin != origin) {
            let what = format!("the checkpoint is not of the log {origin}");
            report.fail("TENANT_MISMATCH", None, what);
            (head.checkpoint, head.trusted) = (None, None);
        }
        head.size = head.checkpoint.as_ref().map_or(TreeSize(0), |c| c.size);
        if let (Some(trust), Some(_)) = (trust, &head.checkpoint)
            && !trust.witnesses().is_empty()
        {
            let path = places.witnessed();
            let there = disk.exists(&path)?;
            let cosigned = if there { Some(disk.read(&path)?) } else { None };
            head.take_witnessed(cosigned.as_deref(), &origin, trust, report);
        }
        Ok(head)
    }

    /// Finds what witnesses vouch for: the checkpoint itself, or the older one beside it.
    fn take_witnessed(
        &mut self,
        cosigned: Option<&[u8]>,
        origin: &str,
        trust: &Trust,
        report: &mut Report,
    ) {
        let newest = self.note.as_deref().and_then(|note| trust.open_checkpoint(note).ok());
        let newest = newest.filter(|trusted| !trusted.witnesses.is_empty());
        let beside = cosigned.map(|note| trust.open_checkpoint(note));
        self.witnessed = match (newest, beside) {
            (Some(newest), _) => Some(newest),
            (None, Some(Ok(beside))) if beside.checkpoint.origin == origin => Some(beside),
            (None, Some(Ok(_))) => {
                let what = "checkpoint.witnessed is of another log";
                report.fail("TENANT_MISMATCH", None, what);
                None
            }
            (None, Some(Err(e))) if trust.is_unwitnessed() => {
                report.attention(e.verdict(), None, format!("checkpoint.witnessed: {e}"));
                None
            }
            (None, Some(Err(e))) => {
                unsigned(e.verdict(), format!("checkpoint.witnessed: {e}"), report);
                None
            }
            (None, None) if trust.is_unwitnessed() => None,
            (None, None) => {
                let what = "no checkpoint here meets the quorum of the trust file".to_owned();
                unsigned("QUORUM_MISSING", what, report);
                None
            }
        };
        let Some(witnessed) = &self.witnessed else { return };
        let (size, signed) = (witnessed.checkpoint.size, self.size);
        if size > signed {
            let what = format!("witnesses saw {size} entries, the checkpoint has {signed}");
            report.fail("ROLLED_BACK", None, what);
        } else if size < signed && !trust.is_unwitnessed() {
            let what = format!("entries from here to {signed} have no witness yet");
            report.attention("UNWITNESSED_TAIL", EntryIndex(size.0), what);
        }
    }

    /// The epochs a sample takes of a log of `total` entries, under the checkpoint's root.
    pub(crate) fn sample(&self, sample: &Sample, total: u64) -> BTreeSet<u64> {
        let root = self.checkpoint.as_ref().map_or(EMPTY_ROOT, |checkpoint| checkpoint.root);
        sample.of_range(&root, &(0..total))
    }

    /// What the tree must have been at which size.
    pub(crate) fn targets(
        &self,
        file: &VaultFile,
        trust: Option<&Trust>,
        retained: &[String],
        report: &mut Report,
    ) -> Vec<Target> {
        let target = |c: &Checkpoint, verdict| {
            let (size, root) = (c.size, c.root);
            let met = size.0 == 0 && root == EMPTY_ROOT;
            Target { size, root, verdict, met, imprint_of: None }
        };
        let mut targets: Vec<Target> =
            self.checkpoint.iter().map(|c| target(c, "ROOT_MISMATCH")).collect();
        targets.extend(self.witnessed.iter().map(|w| target(&w.checkpoint, "INCONSISTENT")));
        for text in retained {
            if let Some(Err(e)) = trust.map(|trust| trust.open_checkpoint(text.as_bytes())) {
                unsigned(e.verdict(), format!("retained checkpoint: {e}"), report);
            }
            // Whoever signed it: what it says must not contradict the log.
            let note = Note::parse(text.as_bytes()).ok();
            let Some(kept) = note.and_then(|n| Checkpoint::parse(&n.text).ok()) else {
                if trust.is_none() {
                    report.fail("MALFORMED", None, "a retained checkpoint is none");
                }
                continue;
            };
            if kept.origin != file.origin() {
                let what = "a retained checkpoint is of another log";
                report.fail("TENANT_MISMATCH", None, what);
                continue;
            }
            let split = self.checkpoint.as_ref().is_some_and(|c| c.contradicts(&kept));
            let verdict = if split { "EQUIVOCATION" } else { "INCONSISTENT" };
            targets.push(target(&kept, verdict));
        }
        targets
    }

    /// Keys that may have signed units, each with the sizes it may sign: the pinned ones of this
    /// log, or those the log names. What the log's own rolls say of a key counts beside the pins.
    pub(crate) fn keys(
        &self,
        trust: Option<&Trust>,
        file: &VaultFile,
        acts: &Acts,
    ) -> Vec<Signing> {
        let pinned = |trust: &Trust| {
            let of_log = trust.logs().iter().filter(|log| log.verifier.name() == file.origin());
            of_log.map(|log| (log.verifier.clone(), log.until)).collect()
        };
        let own = || acts.log_keys.iter().map(|key| (key.clone(), None)).collect();
        let keys: Vec<(Verifier, Option<TreeSize>)> = trust.map_or_else(own, pinned);
        let window = |(key, until): (Verifier, Option<TreeSize>)| {
            let made = acts.rolls.iter().find(|roll| roll.new == key).map(|roll| roll.until);
            let rolled = acts.rolls.iter().find(|roll| roll.old == key).map(|roll| roll.until);
            let until = until.into_iter().chain(rolled).min();
            Signing { key, from: made.unwrap_or(TreeSize(0)), until }
        };
        keys.into_iter().map(window).collect()
    }

    /// Checkpoints that pinned witnesses saw, with the earliest time at which one did.
    pub(crate) fn seen(&self) -> Vec<(TreeSize, UtcNanos)> {
        let seen = |trusted: &Trusted| {
            let times = trusted.witnesses.iter().map(|w| w.time).filter(|t| t.0 > 0);
            times.min().map(|time| (trusted.checkpoint.size, time))
        };
        self.trusted.iter().chain(&self.witnessed).filter_map(seen).collect()
    }

    /// Says who signed. `own` are the keys that the log itself names.
    pub(crate) fn finish(
        &self,
        acts: &Acts,
        size: TreeSize,
        trust: Option<&Trust>,
        report: &mut Report,
    ) {
        if trust.is_none() {
            report.doubt("no trust file: consistent with itself at best, signer unknown");
        }
        let (Some(note), Some(checkpoint)) = (&self.note, &self.checkpoint) else {
            if self.note.is_none() {
                missing(size, report);
            }
            return;
        };
        let (size, root) = (checkpoint.size, checkpoint.root);
        let own = &acts.log_keys;
        // The log's own rolls retire a key, whatever a trust file says.
        let ends = |key: &Verifier| acts.rolls.iter().find(|r| r.old == *key).map(|r| r.until);
        let signs = |key: &Verifier| {
            ends(key).is_none_or(|u| size <= u) && Checkpoint::open(note, key).is_ok()
        };
        let unpinned =
            |trust: &Trust, key: &Verifier| trust.logs().iter().all(|log| log.verifier != *key);
        if let (Some(trust), Some(first)) = (trust, own.first())
            && unpinned(trust, first)
        {
            let what = "the key that genesis names is not pinned".to_owned();
            unsigned("UNTRUSTED_KEY", what, report);
        }
        if let (Some(trust), Some(_)) = (trust, &self.trusted) {
            let in_time = |until: Option<TreeSize>| until.is_none_or(|until| size <= until);
            let may = |log: &LogKey| in_time(log.until) && signs(&log.verifier);
            if !trust.logs().iter().any(may) {
                let what = "the checkpoint is signed by a key that the log has rolled away before";
                report.fail("KEY_RETIRED", None, what);
            }
        }
        if let Some(trusted) = &self.trusted {
            let by = self.witnessed.as_ref().unwrap_or(trusted);
            let of = by.witnesses.iter().map(|w| (w.name.clone(), w.time));
            report.witnessed = self.witnessed.as_ref().map(|w| w.checkpoint.size);
            let (key, witnesses) = (trusted.key.to_string(), of.collect());
            report.signed_by = Some(SignedBy { key, pinned: true, size, root, witnesses });
        } else if trust.is_none() {
            match own.iter().rev().find(|key| signs(key)) {
                Some(key) => {
                    let (key, witnesses) = (key.to_string(), Default::default());
                    let signed = SignedBy { key, pinned: false, size, root, witnesses };
                    report.signed_by = Some(signed);
                }
                None => {
                    let what = "not signed by the key that the log names as its own there";
                    report.fail("CHECKPOINT_SIGNATURE", None, what);
                }
            }
        }
    }
}

/// No checkpoint: a vault that was just made has none yet, an older one lost it.
fn missing(size: TreeSize, report: &mut Report) {
    let what = "the log has entries and no signed checkpoint";
    match size {
        TreeSize(0) => {}
        TreeSize(..=FOUNDING_ENTRIES) => {
            report.doubt("there is no signed checkpoint yet");
            report.attention("CHECKPOINT_MISSING", None, what);
        }
        _ => report.fail("CHECKPOINT_MISSING", None, what),
    }
}

/// A checkpoint that is not what it must be, or that only nobody here can vouch for.
fn unsigned(verdict: &'static str, what: String, report: &mut Report) {
    // The error begins with its verdict, which stands before the finding already.
    let what = what.replacen(&format!("{verdict}: "), "", 1);
    if matches!(verdict, "UNTRUSTED_KEY" | "QUORUM_MISSING") {
        report.doubt("a checkpoint without a pinned signer or without enough witnesses");
        report.attention(verdict, None, what);
    } else {
        report.fail(verdict, None, what);
    }
}

/// Checks the signature of every joined unit beyond the checkpoint: nothing else vouches for
/// those.
pub(crate) fn tail(
    disk: &dyn Disk,
    units: &[Found],
    signed: TreeSize,
    keys: &[Signing],
    report: &mut Report,
) -> Result<()> {
    let mut reading = Reading::default();
    for found in units.iter().filter(|unit| unit.head.end > signed) {
        let mut signature = [0; unit::SIGNATURE_BYTES];
        let end = found.offset + found.head.len;
        let file = reading.of(disk, found)?;
        file.read_exact_at(end - unit::SIGNATURE_BYTES as u64, &mut signature)?;
        let message = unit::signed_message(&found.hash);
        if !keys.iter().any(|key| key.holds(found.head.end, &message, &signature)) {
            let number = found.head.number;
            let what = format!("unit {number} is not signed by the log key in force there");
            report.fail("FORGED_TAIL", found.head.first, what);
        }
    }
    Ok(())
}
