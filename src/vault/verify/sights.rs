//! What lies in `anchors/`, held against pinned witnesses and time-stamp authorities. It believes
//! no time of a file that does not verify, and no file that an entry names by another hash.

use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::control::{self, Sight};
use crate::format::timestamp::{self, Query};
use crate::format::trust::Trust;
use crate::store::disk::Disk;
use crate::vault::anchor::{Kept, ending, kept};
use crate::vault::config::Places;
use crate::vault::error::Result;
use crate::vault::verify::chain::Target;
use crate::vault::verify::report::{Report, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// A sight that verified.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Verified {
    earliest: UtcNanos,
    latest: UtcNanos,
    /// The root it saw, or the imprint.
    saw: Hash32,
}

/// Everything in `anchors/`.
#[derive(Default)]
pub(crate) struct Sights {
    origin: String,
    files: BTreeMap<Kept, (Hash32, Option<Verified>)>,
    checked: bool,
}

impl Sights {
    /// Reads the directory. Without a trust file nobody's clock counts, and nothing is read.
    pub(crate) fn read(
        disk: &dyn Disk,
        places: &Places,
        origin: &str,
        trust: Option<&Trust>,
        report: &mut Report,
    ) -> Result<Sights> {
        let Some(trust) = trust else { return Ok(Sights::default()) };
        let dir = places.anchors();
        let mut sights = Sights { origin: origin.to_owned(), checked: true, ..Sights::default() };
        for kept in kept(disk, &dir)? {
            let path = |ending: &str| dir.join(format!("{:020}.{ending}", kept.size.0));
            let bytes = disk.read(&path(ending(kept.sight)))?;
            let verified = match kept.sight {
                Sight::Cosigned => cosigned(&bytes, origin, kept.size, trust),
                Sight::Timestamp => {
                    let query = question(disk, &path("tsq"))?;
                    stamped(&bytes, query.as_ref(), trust)
                }
            };
            let verified = match verified {
                Ok(verified) => Some(verified),
                Err((name, what)) => {
                    let what = format!("anchor of {} entries: {what}", kept.size);
                    report.attention(name, None, what);
                    None
                }
            };
            report.anchors += 1;
            report.anchors_verified += u64::from(verified.is_some());
            sights.files.insert(kept, (sha256(&[&bytes]), verified));
        }
        report.seen = sights.newest();
        Ok(sights)
    }

    /// What the log must have been when it was seen.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let target = |(kept, (_, verified)): (&Kept, &(Hash32, Option<Verified>))| {
            let imprint_of = (kept.sight == Sight::Timestamp).then(|| self.origin.clone());
            let root = verified.as_ref()?.saw;
            let (size, verdict) = (kept.size, "INCONSISTENT");
            Some(Target { size, root, verdict, met: false, imprint_of })
        };
        self.files.iter().filter_map(target).collect()
    }

    /// Sizes that were seen, and the latest instant at which each can have been.
    pub(crate) fn seen(&self) -> Vec<(TreeSize, UtcNanos)> {
        let files = self.files.iter();
        files.filter_map(|(kept, (_, v))| Some((kept.size, v.as_ref()?.latest))).collect()
    }

    fn newest(&self) -> Option<Seen> {
        let verified = self.files.iter().rev().find_map(|(k, (_, v))| Some((k, v.as_ref()?)));
        verified.map(|(kept, v)| Seen { size: kept.size, by: kept.sight, not_after: v.latest })
    }

    /// The instant after which everything behind a naming entry was written, if its file verifies.
    pub(crate) fn named(
        &self,
        index: EntryIndex,
        clear: &[u8],
        report: &mut Report,
    ) -> Option<UtcNanos> {
        let anchor = control::decode(clear).ok().filter(|_| self.checked)?;
        let control::Config::Anchor { sight, size, hash, .. } = anchor else { return None };
        if size.0 > index.0 {
            let what = format!("it names a sight of {size} entries, more than stand before it");
            report.fail("ANCHOR_MISMATCH", index, what);
            return None;
        }
        match self.files.get(&Kept { size, sight }) {
            None => {
                let what = format!("the sight of {size} entries that it names is not in anchors/");
                report.attention("ANCHOR_MISSING", index, what);
                None
            }
            Some((of, _)) if *of != hash => {
                let what =
                    format!("the sight of {size} entries in anchors/ is not the one it names");
                report.fail("ANCHOR_MISMATCH", index, what);
                None
            }
            Some((_, verified)) => verified.as_ref().map(|v| v.earliest),
        }
    }
}

type Refused = (&'static str, String);

fn cosigned(
    note: &[u8],
    origin: &str,
    size: TreeSize,
    trust: &Trust,
) -> std::result::Result<Verified, Refused> {
    let trusted = trust.open_signed(note).map_err(|e| (e.verdict(), e.to_string()))?;
    let (checkpoint, times) = (&trusted.checkpoint, trusted.witnesses.iter().map(|w| w.time));
    if checkpoint.origin != origin || checkpoint.size != size {
        return Err(("ANCHOR_MISMATCH", "a note of another log or size".to_owned()));
    }
    let time = times.min().ok_or(("QUORUM_MISSING", "no pinned witness signed it".to_owned()))?;
    Ok(Verified { earliest: time, latest: time, saw: checkpoint.root })
}

fn stamped(
    response: &[u8],
    query: Option<&Query>,
    trust: &Trust,
) -> std::result::Result<Verified, Refused> {
    let refused = |e: timestamp::StampError| (e.verdict(), e.to_string());
    let saw = timestamp::claimed(response).map_err(refused)?.imprint;
    let pinned: Vec<Vec<u8>> = trust.authorities().iter().map(|a| a.certificate.clone()).collect();
    let nonce = query.map(|query| &query.nonce);
    let stamp = timestamp::open(response, &saw, nonce, &pinned).map_err(refused)?;
    Ok(Verified { earliest: stamp.not_before(), latest: stamp.not_after(), saw })
}

fn question(disk: &dyn Disk, path: &Path) -> Result<Option<Query>> {
    Ok(if disk.exists(path)? { Query::parse(&disk.read(path)?) } else { None })
}
