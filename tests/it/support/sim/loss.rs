//! What a power loss leaves of a disk: which of the pending operations survive, and in which state.
//! It never touches what was synced.

use super::{Inode, NameChange, Pending, Rng, SECTOR, SimDisk, State, apply, apply_name};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Which pending operations survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// Only what was synced.
    Nothing,
    /// All, whole: the machine did not stop, the process did.
    Everything,
    /// Each by itself kept, lost, cut or torn, as this seed says.
    Random(u64),
}

/// How one pending write ends.
enum Fate {
    Lost,
    Kept,
    Cut,
    Torn,
}

impl State {
    /// The disk after a power loss.
    pub(super) fn lose(&self, survivors: Survivors) -> SimDisk {
        let mut rng = match survivors {
            Survivors::Random(seed) => Some(Rng::new(seed)),
            _ => None,
        };
        let keep = survivors == Survivors::Everything;
        let mut after = State {
            dirs: self.dirs.clone(),
            tape: self.tape.clone(),
            durable_names: self.durable_names.clone(),
            rotted: self.rotted,
            ..State::default()
        };
        // By name: the order in which files were made is not always a function of the seed.
        let mut order: Vec<usize> = self.names.values().copied().collect();
        let rest = (0..self.inodes.len()).filter(|n| !self.names.values().any(|named| named == n));
        order.extend(rest);
        after.inodes = vec![Inode::default(); self.inodes.len()];
        for number in order {
            let inode = &self.inodes[number];
            let mut bytes = inode.durable.clone();
            for pending in &inode.pending {
                match &mut rng {
                    Some(rng) => survive(&mut bytes, pending, rng),
                    None if keep => apply(&mut bytes, pending),
                    None => {}
                }
            }
            let (cached, public) = (bytes.clone(), inode.public);
            after.inodes[number] = Inode { durable: bytes, cached, pending: Vec::new(), public };
        }
        for changes in self.changes.values() {
            for tied in knots(changes) {
                let kept = match &mut rng {
                    Some(rng) => rng.below(tied.len() + 1),
                    None if keep => tied.len(),
                    None => 0,
                };
                tied[..kept].iter().for_each(|c| apply_name(&mut after.durable_names, c));
            }
        }
        after.names = after.durable_names.clone();
        SimDisk::of(after)
    }
}

/// What a power loss leaves of one pending operation.
pub(super) fn survive(bytes: &mut Arc<Vec<u8>>, pending: &Pending, rng: &mut Rng) {
    let fate = match rng.below(4) {
        0 => Fate::Lost,
        1 => Fate::Cut,
        2 => Fate::Torn,
        _ => Fate::Kept,
    };
    match (pending, fate) {
        (_, Fate::Lost) => {}
        (Pending::Write(at, data), Fate::Cut) => {
            let cut = data[..rng.below(data.len() + 1)].to_vec();
            apply(bytes, &Pending::Write(*at, Arc::new(cut)));
        }
        (Pending::Write(at, data), Fate::Torn) => {
            let mut from = 0;
            while from < data.len() {
                let sector_end = SECTOR - (*at as usize + from) % SECTOR;
                let to = (from + sector_end).min(data.len());
                if rng.below(2) == 0 {
                    let part = Arc::new(data[from..to].to_vec());
                    apply(bytes, &Pending::Write(*at + from as u64, part));
                }
                from = to;
            }
        }
        (Pending::Len(_), _) | (_, Fate::Kept) => apply(bytes, pending),
    }
}

/// Changes of a directory by the names they touch: those tied by a common name stay in order.
fn knots(changes: &[NameChange]) -> Vec<Vec<&NameChange>> {
    let mut knots: Vec<Vec<&NameChange>> = Vec::new();
    let mut of: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for change in changes {
        let touched: Vec<&PathBuf> = match change {
            NameChange::Set(path, _) | NameChange::Remove(path) => vec![path],
            NameChange::Rename(from, to) => vec![from, to],
        };
        let mut tied: Vec<usize> = touched.iter().filter_map(|p| of.get(*p).copied()).collect();
        tied.sort_unstable();
        let home = tied.first().copied().unwrap_or_else(|| {
            knots.push(Vec::new());
            knots.len() - 1
        });
        for other in tied.into_iter().filter(|other| *other != home) {
            let moved = std::mem::take(&mut knots[other]);
            knots[home].extend(moved);
            of.values_mut().filter(|knot| **knot == other).for_each(|knot| *knot = home);
        }
        knots[home].push(change);
        of.extend(touched.into_iter().map(|path| (path.clone(), home)));
    }
    knots
}
