//! Attacks on bodies: swapped, moved, planted, damaged and deleted. Damage is never mistaken for
//! forgetting, and a lost body never takes its neighbours along.

use crate::attacks::raw::{Raw, Site, failures, steal};
use crate::support::world::{SeedEntropy, two_people};
use chancery::base::entry::Entry;
use chancery::base::event::Identifier;
use chancery::base::secret::Key;
use chancery::base::unit::{ClassDay, ClassId, EntryIndex};
use chancery::cli::bench::attacks::salamander::two_keys;
use chancery::crypto::aead;
use chancery::crypto::hash::sha256;
use chancery::crypto::kdf::{HmacKey, derive, label, tag};
use chancery::format::cell::{self, Cell};
use chancery::format::unit::BodySpan;
use chancery::format::{body, wire::Reader};
use chancery::store::disk::OsDisk;
use chancery::store::kek::Kek;
use chancery::store::keytree::KeyTree;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A frame in its file.
struct Place {
    file: PathBuf,
    at: Range<usize>,
}

impl Place {
    fn of(site: &Site, entry: &Entry, group: u8) -> Place {
        let head = &entry.head.groups[usize::from(group)];
        let file = site.body_file(ClassDay { class: head.class, day: head.bucket });
        let bytes = fs::read(&file).unwrap();
        let mut reader = Reader::new(&bytes);
        reader.take(body::FILE_HEAD_BYTES as usize, "head").unwrap();
        loop {
            let start = reader.offset();
            let frame = body::read_frame(&mut reader).unwrap();
            if (frame.index, frame.group) == (entry.index, group) {
                return Place { file, at: start..reader.offset() };
            }
        }
    }

    fn get(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap()[self.at.clone()].to_vec()
    }

    fn put(&self, frame: &[u8]) {
        let mut bytes = fs::read(&self.file).unwrap();
        bytes[self.at.clone()].copy_from_slice(frame);
        fs::write(&self.file, bytes).unwrap();
    }
}

/// Makes the checksum right again: it is no secret.
fn fix(frame: &mut [u8]) {
    let crc = crc32fast::hash(&frame[16..]);
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
}

/// What the insider's check finds wrong, with indexes.
fn opened(site: &Site) -> Vec<(&'static str, u64)> {
    let report = site.open().unwrap().verify_bodies(&mut |_, _| {}).unwrap();
    assert!(report.fates["open"] > 20, "{report:?}");
    report.verdicts.iter().map(|v| (v.name, v.index.unwrap().0)).collect()
}

/// Events about one patient: their entries.
fn about(site: &Site, raw: &Raw) -> Vec<Entry> {
    let size = raw.size().0;
    let events = (0..size).map(|i| raw.entry(i)).filter(|e| e.head.source_seq.is_some());
    let events: Vec<Entry> = events.collect();
    let (first, rest) = events.split_first().unwrap();
    let tags = |e: &Entry| e.head.groups.iter().map(|g| g.tags.len()).collect::<Vec<_>>();
    let same = rest.iter().filter(|e| e.head.tags == first.head.tags && tags(e) == tags(first));
    let len = |e: &Entry| Place::of(site, e, 0).at.len();
    let same = same.filter(|e| len(e) == len(first)).cloned();
    std::iter::once(first.clone()).chain(same).collect()
}

#[test]
fn attack_12_bodies_of_two_records_of_one_subject_swapped() {
    let site = Site::with(6);
    let raw = Raw::of(&site);
    let events = about(&site, &raw);
    let (a, b) = (Place::of(&site, &events[0], 0), Place::of(&site, &events[1], 0));
    let (mut one, mut two) = (a.get(), b.get());
    // Nonce, ciphertext and tag; the frames keep their names.
    one[34..].swap_with_slice(&mut two[34..]);
    fix(&mut one);
    fix(&mut two);
    a.put(&one);
    b.put(&two);
    assert_eq!(failures(&site.verify()), [], "nothing that shows without keys");
    let places = [events[0].index.0, events[1].index.0];
    assert_eq!(opened(&site), places.map(|i| ("BODY_AUTH_FAIL", i)));
    // Names swapped too: they are not where their entries' are.
    one[8..34].swap_with_slice(&mut two[8..34]);
    a.put(&one);
    b.put(&two);
    let found = failures(&site.verify());
    assert!(found.contains(&("BODY_AUTH_FAIL", Some(places[0]))), "{found:?}");
}

#[test]
fn attack_13_groups_swapped_or_moved_to_a_longer_class() {
    let site = Site::with(6);
    let raw = Raw::of(&site);
    let entry = about(&site, &raw).remove(0);
    let (a, b) = (Place::of(&site, &entry, 0), Place::of(&site, &entry, 1));
    assert_eq!((&a.file, a.at.end), (&b.file, b.at.start), "side by side");
    let (mut one, mut two) = (a.get(), b.get());
    (one[16], two[16]) = (1, 0);
    fix(&mut one);
    fix(&mut two);
    let both = Place { file: a.file.clone(), at: a.at.start..b.at.end };
    let before = both.get();
    both.put(&[two, one].concat());
    assert_eq!(failures(&site.verify()), []);
    let index = entry.index.0;
    assert_eq!(opened(&site), [("BODY_AUTH_FAIL", index), ("BODY_AUTH_FAIL", index)]);
    both.put(&before);
    assert_eq!(opened(&site), []);
}

#[test]
fn attack_13_a_group_moved_to_a_longer_class() {
    let site = Site::with(5);
    let old = site.checkpoint();
    let vault = site.open().unwrap();
    site.append(&vault, 26, 1);
    drop(vault);
    let mut raw = Raw::of(&site);
    raw.stolen = Some(steal(&site));
    let index = raw.size().0 - 1;
    let entry = raw.entry(index);
    let last = entry.head.groups.len() as u8 - 1;
    let frame = Place::of(&site, &entry, last).get();
    let day = entry.head.groups[0].bucket;
    let longer = ClassDay { class: ClassId(10), day };
    raw.edit(index, |entry| {
        entry.head.groups[usize::from(last)].class = longer.class;
    });
    let file = site.body_file(longer);
    let mut bytes = fs::read(&file).unwrap();
    let start = bytes.len() as u64;
    bytes.extend_from_slice(&frame);
    fs::write(&file, &bytes).unwrap();
    let spans = &mut raw.units.last_mut().unwrap().0.spans;
    spans.push(BodySpan { class_day: longer, start, end: bytes.len() as u64 });
    spans.sort();
    // He set the checkpoint back and stole the log key: only the sealed body is out of reach.
    raw.cover_up();
    fs::write(site.places().checkpoint(), old).unwrap();
    let report = site.verify();
    // Where the body came from it lies on, and no entry names it any more.
    let (found, tail) = (failures(&report), report.unsigned_tail);
    assert!(matches!(found[..], [("BODY_EXTRA", Some(_))]) && tail == 5, "{report:?}");
    assert_eq!(opened(&site), [("BODY_AUTH_FAIL", index)]);
}

/// The true key of a tenant's group, out of the key tree.
fn group_key(site: &Site, entry: &Entry, group: u8) -> Key {
    let head = &entry.head;
    let class_day =
        ClassDay { class: head.groups[usize::from(group)].class, day: head.groups[0].bucket };
    assert!(head.groups[usize::from(group)].tags.is_empty(), "sealed to the tenant");
    let disk = Arc::new(OsDisk);
    let kek = Kek::open(&*disk, &site.config.keys, None).unwrap();
    let (entropy, dir) = (SeedEntropy::new(9), site.places().tree);
    let tree = KeyTree::open(disk, &dir, head.tenant, kek.key(), &*entropy).unwrap();
    let directory = HmacKey::new(tree.directory_key());
    let found = tree.get(&cell::class_day_key(&directory, class_day)).unwrap().unwrap();
    let Cell::ClassDay(_, day_key) = Cell::decode(&found).unwrap() else { panic!("no key") };
    let mut info = [label::GROUP, &head.tenant.0, &[0]].concat();
    info.extend_from_slice(&class_day.class.0.to_be_bytes());
    info.extend_from_slice(&class_day.day.0.to_be_bytes());
    let base = HmacKey::new(&derive(&day_key, label::NO_SUBJECT, &info));
    let preimage = body::group_key_preimage(&head.record, group, &digest(entry, group));
    Key::new(base.mac(&preimage).0)
}

fn digest(entry: &Entry, group: u8) -> chancery::base::id::Hash32 {
    let of = entry.head.fields.iter().filter(|f| f.group == group);
    let commits: Vec<u8> = of.flat_map(|f| f.commitment.0).collect();
    sha256(&[&tag::COMMITS, &commits])
}

#[test]
fn attack_14_a_ciphertext_that_opens_under_two_keys() {
    let site = Site::with(6);
    let raw = Raw::of(&site);
    let of_tenant = |e: &Entry| e.head.groups.first().is_some_and(|g| g.tags.is_empty());
    let entry = (0..raw.size().0).map(|i| raw.entry(i)).find(of_tenant).unwrap();
    let (place, key) = (Place::of(&site, &entry, 0), group_key(&site, &entry, 0));
    let frame = place.get();
    let nonce: [u8; 12] = frame[34..46].try_into().unwrap();
    let aad = body::aad(&entry.head, 0, &digest(&entry, 0));
    let plain = aead::open(&key, &nonce, &aad, &frame[46..]).expect("the derived key is the true");
    // Same shape, another value; the tag is valid under the true key.
    let mut forged = plain.to_vec();
    let at = forged.iter().rposition(|b| b.is_ascii_alphabetic()).unwrap();
    forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
    let mut sealed = Vec::from(&forged[..]);
    aead::seal_in_place(&key, &nonce, &aad, &mut sealed, 0);
    let plant = |sealed: &[u8]| {
        let mut planted = frame.clone();
        planted[46..].copy_from_slice(sealed);
        fix(&mut planted);
        place.put(&planted);
    };
    let index = entry.index.0;
    plant(&sealed);
    assert_eq!(opened(&site), [("COMMITMENT_MISMATCH", index)]);
    // The same, and valid under a second key as well: one block of it solves both tags.
    let other = Key::new([0x42; 32]);
    let both = two_keys(&key, &other, &nonce, &aad, &forged).unwrap();
    assert!(aead::open(&other, &nonce, &aad, &both).is_ok(), "opens under the second key");
    assert!(aead::open(&key, &nonce, &aad, &both).is_ok(), "and under the true one");
    plant(&both);
    assert_eq!(failures(&site.verify()), []);
    assert_eq!(opened(&site), [("COMMITMENT_MISMATCH", index)]);
}

#[test]
fn attack_15_a_body_flipped_cut_or_of_another_algorithm() {
    let site = Site::with(6);
    let raw = Raw::of(&site);
    let entry = about(&site, &raw).remove(0);
    let (place, index) = (Place::of(&site, &entry, 0), entry.index.0);
    let whole = fs::read(&place.file).unwrap();
    let good = place.get();
    for byte in [0, 8, 16, 17, 18, 34, 46, good.len() - 1] {
        let mut bad = good.clone();
        bad[byte] ^= 3;
        place.put(&bad);
        assert_eq!(failures(&site.verify()), [("BODY_AUTH_FAIL", Some(index))], "byte {byte}");
        assert_eq!(opened(&site), [("BODY_AUTH_FAIL", index)], "byte {byte}");
        if byte >= 17 {
            fix(&mut bad);
            place.put(&bad);
            assert_eq!(opened(&site), [("BODY_AUTH_FAIL", index)], "byte {byte}, CRC right");
        }
        place.put(&good);
    }
    // The file cut within its last body: that body alone is lost.
    fs::write(&place.file, &whole[..whole.len() - 9]).unwrap();
    let found = failures(&site.verify());
    assert_eq!(found, [("BODY_AUTH_FAIL", Some(raw.size().0 - 1))]);
    assert_eq!(opened(&site), [("BODY_AUTH_FAIL", raw.size().0 - 1)]);
    fs::write(&place.file, &whole).unwrap();
    // The file of another class-day.
    let mut foreign = whole.clone();
    foreign[21] ^= 1;
    fs::write(&place.file, foreign).unwrap();
    let report = site.verify();
    assert!(report.counts["BODY_AUTH_FAIL"] > 20, "{report:?}");
    assert!(!report.counts.contains_key("BODY_MISSING_UNJUSTIFIED"));
}

#[test]
fn attack_16_a_body_deleted_without_an_entry_that_says_so() {
    let site = Site::with(6);
    let raw = Raw::of(&site);
    let entry = about(&site, &raw).remove(0);
    let place = Place::of(&site, &entry, 0);
    let whole = fs::read(&place.file).unwrap();
    // One body cut out and its unit's spans moved: hashes of units are no secret.
    let mut bytes = whole.clone();
    bytes.drain(place.at.clone());
    fs::write(&place.file, bytes).unwrap();
    let mut edited = Raw::of(&site);
    let (gap, cut) = (place.at.start as u64, place.at.len() as u64);
    let groups = &entry.head.groups[0];
    for span in edited.units.iter_mut().flat_map(|(head, _)| &mut head.spans) {
        if (span.class_day.class, span.class_day.day) == (groups.class, groups.bucket) {
            span.start -= if span.start > gap { cut } else { 0 };
            span.end -= if span.end > gap { cut } else { 0 };
        }
    }
    edited.relink();
    edited.write();
    let index = entry.index.0;
    assert_eq!(failures(&site.verify()), [("BODY_MISSING_UNJUSTIFIED", Some(index))]);
    assert_eq!(opened(&site), [("BODY_MISSING_UNJUSTIFIED", index)]);
    // The whole file.
    let mut raw = raw;
    raw.write();
    fs::remove_file(&place.file).unwrap();
    let report = site.verify();
    let in_file = (0..raw.size().0).map(|i| raw.entry(i)).flat_map(|e| e.head.groups);
    let lost = in_file.filter(|g| (g.class, g.bucket) == (groups.class, groups.bucket)).count();
    assert_eq!(report.counts["BODY_MISSING_UNJUSTIFIED"], lost as u64);
    assert!(report.has("BODY_MISSING_UNJUSTIFIED", Some(EntryIndex(index))));
}

#[test]
fn an_erased_or_expired_body_is_justified_and_damage_beside_it_is_not() {
    let site = Site::with(6);
    let vault = site.open().unwrap();
    let patient = Identifier { kind: "patient_id".into(), value: "p1".into() };
    vault.erase(&[patient], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    let report = site.open().unwrap().verify_bodies(&mut |_, _| {}).unwrap();
    assert_eq!(report.exit_code(), 0, "{report:?}");
    assert!(report.fates["erased"] > 3, "{report:?}");
    let report = site.verify();
    assert_eq!((failures(&report), report.erasures), (vec![], 1), "{report:?}");
    // A damaged body of somebody else is not taken for erased.
    let raw = Raw::of(&site);
    let mut events = (0..raw.size().0).map(|i| raw.entry(i));
    let other = events.rfind(|e| e.head.source_seq == Some(2)).unwrap();
    let place = Place::of(&site, &other, 0);
    let mut bad = place.get();
    bad[60] ^= 1;
    fix(&mut bad);
    place.put(&bad);
    assert_eq!(opened(&site), [("BODY_AUTH_FAIL", other.index.0)]);
}
