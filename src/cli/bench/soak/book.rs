//! What the checker holds outside the process that is killed: every receipt, in a file of slots
//! by index, and what was ordered of whom. Receipts are compared, never believed: one index has
//! one receipt, a resent event has the receipt it had.

use crate::base::id::Hash32;
use crate::cli::bench::soak::script::Script;
use crate::cli::bench::soak::wire::{Order, Said};
use anyhow::{Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writer, number, leaf, and a mark that says that the slot is used.
const SLOT_BYTES: u64 = 64;

/// The receipt of one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) writer: u64,
    pub(crate) number: u64,
    pub(crate) leaf: Hash32,
}

/// Everything the checker knows.
pub(crate) struct Book {
    pub(crate) script: Script,
    slots: File,
    /// Next batch of each writer.
    pub(crate) next: Vec<u64>,
    last: Vec<Option<u64>>,
    /// Entries up to the highest receipt.
    pub(crate) end: u64,
    /// Events with a receipt.
    pub(crate) events: u64,
    /// Events that came again and had their first receipt.
    pub(crate) recognised: u64,
    /// Events that are in the log, unacknowledged, and were erased before they came again.
    pub(crate) unclaimed: u64,
    /// Persons whose records before this index are gone.
    pub(crate) erased: BTreeMap<u64, u64>,
    /// Persons who may be gone up to this index: the order was not answered.
    pub(crate) doubtful: BTreeMap<u64, u64>,
    /// Persons whose erasure is ordered and not answered yet.
    pending: BTreeSet<u64>,
    /// Cases by person.
    pub(crate) held: BTreeMap<u64, String>,
    /// Persons that may or may not be held.
    pub(crate) hold_doubtful: BTreeSet<u64>,
    /// Persons linked with each other: each with the least of its circle.
    circle: BTreeMap<u64, u64>,
    /// Persons that may be linked with each other: nobody answered for it.
    loose: BTreeSet<u64>,
    /// Whether anything may have expired.
    pub(crate) expired: bool,
    /// Erasures answered.
    pub(crate) erasures: u64,
    /// Class-days expired.
    pub(crate) class_days: u64,
}

impl Book {
    /// An empty book for `writers` writers.
    pub(crate) fn new(path: &Path, script: Script, writers: u64) -> Result<Book> {
        let mut options = std::fs::OpenOptions::new();
        let slots = options.read(true).write(true).create_new(true).open(path)?;
        let count = usize::try_from(writers)?;
        Ok(Book {
            script,
            slots,
            next: vec![0; count],
            last: vec![None; count],
            end: 0,
            events: 0,
            recognised: 0,
            unclaimed: 0,
            erased: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            pending: BTreeSet::new(),
            held: BTreeMap::new(),
            hold_doubtful: BTreeSet::new(),
            circle: BTreeMap::new(),
            loose: BTreeSet::new(),
            expired: false,
            erasures: 0,
            class_days: 0,
        })
    }

    /// The receipt for an index, if one was given.
    pub(crate) fn slot(&self, index: u64) -> Result<Option<Slot>> {
        let mut bytes = [0; SLOT_BYTES as usize];
        if index >= self.end {
            return Ok(None);
        }
        // The end of the file may lie within the slots that were never written.
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.slots.read_at(rest, index * SLOT_BYTES + read as u64)? {
                0 => break,
                n => read += n,
            }
        }
        let number = |from: usize| {
            let part = bytes.get(from..from + 8).and_then(|b| b.try_into().ok());
            part.map_or(0, u64::from_be_bytes)
        };
        let leaf = bytes.get(16..48).and_then(|b| b.try_into().ok()).map(Hash32);
        let used = bytes.get(48) == Some(&1);
        let slot = Slot { writer: number(0), number: number(8), leaf: leaf.unwrap_or_default() };
        Ok(used.then_some(slot))
    }

    fn put(&mut self, index: u64, slot: Slot) -> Result<()> {
        if let Some(other) = self.slot(index)? {
            bail!("two receipts for entry {index}: {other:?} and {slot:?}");
        }
        let mut bytes = [0; SLOT_BYTES as usize];
        let parts = slot.writer.to_be_bytes().into_iter().chain(slot.number.to_be_bytes());
        let parts = parts.chain(slot.leaf.0).chain([1]);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        self.slots.write_all_at(&bytes, index * SLOT_BYTES)?;
        self.end = self.end.max(index + 1);
        self.events += 1;
        Ok(())
    }

    /// Takes the receipts of a batch.
    pub(crate) fn acked(&mut self, writer: u64, batch: u64, receipts: &[Said]) -> Result<()> {
        let at = usize::try_from(writer)?;
        let (Some(next), Some(last)) = (self.next.get(at).copied(), self.last.get(at).copied())
        else {
            bail!("there is no writer {writer}");
        };
        let numbers = self.script.numbers(writer, batch);
        ensure!(receipts.len() as u64 == numbers.end - numbers.start, "receipts are missing");
        let (mut before, mut known) = (None, 0);
        for (said, number) in receipts.iter().zip(numbers) {
            // A batch is one commit: its entries stand side by side, or it was not atomic.
            ensure!(
                before.is_none_or(|before| before + 1 == said.index),
                "batch {batch} of writer {writer} is torn apart: {receipts:?}"
            );
            before = Some(said.index);
            let slot = Slot { writer, number, leaf: said.leaf };
            known += u64::from(said.duplicate);
            match self.slot(said.index)? {
                Some(other) => {
                    let same = other == slot && said.duplicate && batch < next;
                    ensure!(same, "entry {} has the receipts {other:?} and {slot:?}", said.index);
                    self.recognised += 1;
                }
                None => {
                    ensure!(batch == next, "a resent event was stored again: {slot:?}");
                    ensure!(
                        last.is_none_or(|last| said.index > last),
                        "writer {writer} was overtaken by itself at entry {}",
                        said.index
                    );
                    self.recognised += u64::from(said.duplicate);
                    self.put(said.index, slot)?;
                }
            }
        }
        let whole = known == 0 || known == receipts.len() as u64;
        ensure!(whole, "half of batch {batch} of writer {writer} was there before: {receipts:?}");
        if batch == next {
            self.advance(at, before);
        }
        Ok(())
    }

    fn advance(&mut self, at: usize, last: Option<u64>) {
        if let (Some(next), Some(slot)) = (self.next.get_mut(at), self.last.get_mut(at)) {
            *next += 1;
            *slot = last.or(*slot);
        }
    }

    /// Takes the refusal of a batch: right only when one of its persons may have been erased, or
    /// its class-day may have expired, since it was first sent.
    pub(crate) fn refused(&mut self, writer: u64, batch: u64, code: &str) -> Result<()> {
        let at = usize::try_from(writer)?;
        let next = self.next.get(at).copied().unwrap_or(0);
        let gone = self.expired
            || self.script.numbers(writer, batch).any(|number| {
                let person = self.script.person(writer, number);
                self.erased.contains_key(&person)
                    || self.doubtful.contains_key(&person)
                    || self.pending.contains(&person)
            });
        let right = code == "DUPLICATE_OF_ERASED" && gone && batch <= next;
        ensure!(right, "batch {batch} of writer {writer} was refused: {code}");
        if batch == next {
            self.unclaimed += self.script.batch_len(writer);
            self.advance(at, None);
        }
        Ok(())
    }

    /// Everybody linked with a person.
    pub(crate) fn circle_of(&self, person: u64) -> Vec<u64> {
        let Some(least) = self.circle.get(&person) else { return vec![person] };
        let same = self.circle.iter().filter(|(_, other)| *other == least);
        same.map(|(person, _)| *person).collect()
    }

    /// Those who may be linked with somebody of this circle, and may go with it: whoever may be
    /// linked with anybody at all, and everybody known to be linked with one of those.
    fn perhaps(&self, circle: &[u64]) -> Vec<u64> {
        let reached = |person: &u64| self.circle_of(*person);
        match circle.iter().any(|person| self.loose.contains(person)) {
            true => {
                let all: BTreeSet<u64> = self.loose.iter().flat_map(reached).collect();
                all.into_iter().filter(|person| !circle.contains(person)).collect()
            }
            false => Vec::new(),
        }
    }

    /// Who may be linked with these may have gone with them.
    fn doubt(&mut self, circle: &[u64]) {
        let perhaps = self.perhaps(circle);
        self.take_doubtful(perhaps);
    }

    /// Whether these went, and with it whether they are still linked, is not known.
    fn take_doubtful(&mut self, persons: Vec<u64>) {
        for person in persons {
            self.doubtful.insert(person, u64::MAX);
            self.circle.remove(&person);
            self.loose.insert(person);
        }
    }

    fn link(&mut self, a: u64, b: u64) {
        let mut all = self.circle_of(a);
        all.extend(self.circle_of(b));
        let least = all.iter().min().copied().unwrap_or(a);
        self.circle.extend(all.into_iter().map(|person| (person, least)));
    }

    /// An order was given: from now on, not from its answer on, it may have been carried out.
    pub(crate) fn given(&mut self, order: &Order) {
        match order {
            Order::Erase(person) => {
                let circle = self.circle_of(*person);
                self.pending.extend(self.perhaps(&circle).into_iter().chain(circle));
            }
            Order::Expire => self.expired = true,
            _ => {}
        }
    }

    /// Takes the answer to an order; none when the process died over it.
    pub(crate) fn answered(
        &mut self,
        order: &Order,
        answer: Option<std::result::Result<&[String], &str>>,
    ) -> Result<()> {
        self.pending.clear();
        match (order, answer) {
            (Order::Erase(person), Some(Ok(words))) => {
                let intent = words.first().and_then(|word| word.parse().ok()).unwrap_or(0);
                let circle = self.circle_of(*person);
                self.doubt(&circle);
                for person in circle {
                    ensure!(!self.held.contains_key(&person), "person {person} was held");
                    self.erased.insert(person, intent);
                    // Whoever comes again by that name is linked with nobody.
                    self.circle.remove(&person);
                    self.loose.remove(&person);
                }
                self.erasures += 1;
            }
            (Order::Erase(person), None) => {
                // How far it came is found out by nobody but the vault.
                let circle = self.circle_of(*person);
                self.doubt(&circle);
                self.take_doubtful(circle);
            }
            (Order::Link(a, b), Some(Ok(_))) => self.link(*a, *b),
            (Order::Link(a, b), None) => {
                let both = self.circle_of(*a).into_iter().chain(self.circle_of(*b));
                let both: Vec<u64> = both.collect();
                self.hold_doubtful.extend(&both);
                self.loose.extend(both);
            }
            (Order::Hold(person), Some(Ok(words))) => {
                if let Some(case) = words.first() {
                    let circle = self.circle_of(*person);
                    self.held.extend(circle.into_iter().map(|person| (person, case.clone())));
                }
            }
            (Order::Hold(person), None) => self.hold_doubtful.extend(self.circle_of(*person)),
            (Order::Release(case), Some(Ok(_)) | None) => {
                let (gone, kept) = std::mem::take(&mut self.held)
                    .into_iter()
                    .partition::<BTreeMap<_, _>, _>(|(_, held)| held == case);
                self.held = kept;
                if answer.is_none() {
                    self.hold_doubtful.extend(gone.into_keys());
                }
            }
            (Order::Free, Some(Ok(_))) => {
                self.held.clear();
                self.hold_doubtful.clear();
            }
            (Order::Free, None) => {
                self.hold_doubtful.extend(std::mem::take(&mut self.held).into_keys());
            }
            (Order::Expire, Some(Ok(words))) => {
                self.class_days += words.first().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
            (Order::Expire, None) => {}
            (_, Some(Err(code))) => self.disobeyed(order, code)?,
        }
        Ok(())
    }

    fn disobeyed(&self, order: &Order, code: &str) -> Result<()> {
        let right = match code {
            "SUBJECT_UNKNOWN" => true,
            "HOLD_BLOCKED" => !self.held.is_empty() || !self.hold_doubtful.is_empty(),
            "HOLD_UNKNOWN" => matches!(order, Order::Release(_) | Order::Free),
            _ => false,
        };
        ensure!(right, "the order `{order}` was refused: {code}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script { seed: 1, people: 10, batch: 2 };

    fn said(index: u64, duplicate: bool) -> Said {
        Said { index, duplicate, leaf: Hash32([index as u8; 32]) }
    }

    fn pair(index: u64, duplicate: bool) -> [Said; 2] {
        [said(index, duplicate), said(index + 1, duplicate)]
    }

    fn book() -> (tempfile::TempDir, Book) {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::new(&dir.path().join("receipts"), SCRIPT, 2).unwrap();
        book.acked(0, 0, &pair(5, false)).unwrap();
        (dir, book)
    }

    fn refused(act: impl FnOnce(&mut Book) -> Result<()>, why: &str) {
        let (_dir, mut book) = book();
        let error = act(&mut book).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_receipt_that_cannot_be_true_is_refused() {
        refused(|b| b.acked(1, 0, &pair(6, false)), "has the receipts");
        refused(|b| b.acked(0, 0, &pair(8, true)), "was stored again");
        refused(|b| b.acked(0, 1, &pair(3, false)), "overtaken by itself");
        refused(|b| b.acked(0, 1, &[said(8, false), said(10, false)]), "torn apart");
        refused(|b| b.acked(0, 1, &[said(8, true), said(9, false)]), "half of batch");
        refused(|b| b.acked(0, 1, &[said(8, false)]), "missing");
        refused(|b| b.acked(0, 0, &pair(5, false)), "has the receipts");
        let mut other = pair(5, true);
        if let Some(said) = other.first_mut() {
            said.leaf = Hash32::ZERO;
        }
        refused(|b| b.acked(0, 0, &other), "has the receipts");
        refused(|b| b.refused(0, 0, "DUPLICATE_OF_ERASED"), "was refused");
        refused(|b| b.refused(0, 1, "STORE_IO"), "was refused");
        refused(|b| b.answered(&Order::Erase(1), Some(Err("STORE_IO"))), "was refused");
        refused(|b| b.answered(&Order::Erase(1), Some(Err("HOLD_BLOCKED"))), "was refused");
    }

    #[test]
    fn a_receipt_that_comes_again_is_recognised() {
        let (_dir, mut book) = book();
        book.acked(0, 0, &pair(5, true)).unwrap();
        assert_eq!((book.events, book.recognised, book.next.clone()), (2, 2, vec![1, 0]));
        assert_eq!(book.slot(6).unwrap().map(|slot| (slot.writer, slot.number)), Some((0, 1)));
        assert_eq!((book.slot(4).unwrap(), book.slot(99).unwrap()), (None, None));
    }

    #[test]
    fn who_is_linked_is_erased_together_unless_held() {
        let (_dir, mut book) = book();
        book.answered(&Order::Link(1, 2), Some(Ok(&[]))).unwrap();
        book.answered(&Order::Link(2, 3), Some(Ok(&[]))).unwrap();
        book.answered(&Order::Erase(3), Some(Ok(&["40".to_owned()]))).unwrap();
        assert_eq!(book.erased, BTreeMap::from([(1, 40), (2, 40), (3, 40)]));
        book.answered(&Order::Hold(4), Some(Ok(&["c".to_owned()]))).unwrap();
        let held = book.answered(&Order::Erase(4), Some(Ok(&["50".to_owned()])));
        assert!(held.unwrap_err().to_string().contains("was held"));
        let person = SCRIPT.person(0, 0);
        assert!(book.refused(0, 0, "DUPLICATE_OF_ERASED").is_err());
        book.given(&Order::Erase(person));
        book.refused(0, 0, "DUPLICATE_OF_ERASED").unwrap();
        book.answered(&Order::Erase(person), Some(Err("SUBJECT_UNKNOWN"))).unwrap();
        assert!(book.refused(0, 0, "DUPLICATE_OF_ERASED").is_err());
        book.answered(&Order::Erase(5), None).unwrap();
        assert!(book.doubtful.contains_key(&5));
        book.answered(&Order::Hold(6), Some(Ok(&["d".to_owned()]))).unwrap();
        book.answered(&Order::Free, Some(Ok(&[]))).unwrap();
        book.answered(&Order::Erase(6), Some(Ok(&["60".to_owned()]))).unwrap();
    }

    #[test]
    fn who_is_linked_with_one_that_may_be_linked_may_be_gone_too() {
        let (_dir, mut book) = book();
        // 1 and 2 are linked; whether 1 was erased, and they with it parted, is not known.
        book.answered(&Order::Link(1, 2), Some(Ok(&[]))).unwrap();
        book.answered(&Order::Erase(1), None).unwrap();
        book.answered(&Order::Link(2, 3), Some(Ok(&[]))).unwrap();
        book.given(&Order::Erase(1));
        assert!(book.pending.contains(&3));
        book.answered(&Order::Erase(1), Some(Ok(&["40".to_owned()]))).unwrap();
        assert!(book.doubtful.contains_key(&3), "3 may have gone with 1");
        // If they did, 2 and 3 are strangers now: one does not go with the other for certain.
        book.answered(&Order::Erase(2), Some(Ok(&["60".to_owned()]))).unwrap();
        assert_eq!(book.erased, BTreeMap::from([(1, 40), (2, 60)]));
        // And so it is when the order is not answered.
        book.answered(&Order::Link(3, 4), Some(Ok(&[]))).unwrap();
        book.answered(&Order::Erase(3), None).unwrap();
        assert!(book.doubtful.contains_key(&4), "4 may have gone with 3");
        // A name that was erased for certain is free of the past.
        book.answered(&Order::Erase(4), Some(Ok(&["80".to_owned()]))).unwrap();
        assert!(!book.loose.contains(&4) && book.loose.contains(&3));
    }
}
