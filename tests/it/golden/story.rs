//! A tiny vault, the same to the byte in every run: fixed entropy, a clock set by hand, a
//! simulated disk. Threads cannot change a byte, because every verb waits for its commit, only the
//! housekeeper draws entropy beside the caller, and it does so only when a day has passed: the
//! story then waits for it. Its policies are a frozen copy, so that the real ones may change.

use crate::golden::by_the_page::{expand, h, hex, hkdf, mac, unseal};
use crate::golden::{golden, home};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::event::{Draft, Identifier};
use chancery::base::record::Fate;
use chancery::base::unit::{Day, EntryIndex};
use chancery::format::canon::to_canonical;
use chancery::format::control::Scope;
use chancery::vault::Vault;
use chancery::vault::read::Reading;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const POLICIES: [&str; 3] = ["classes.toml", "fields.toml", "sources/canonical.toml"];

fn identifier(kind: &str, value: &str) -> Identifier {
    Identifier { kind: kind.into(), value: value.into() }
}

fn visit(seq: u64, patient: &str) -> Value {
    let subject = json!({"role": "target",
        "identifiers": [{"kind": "patient_id", "value": patient}]});
    json!({
        "id": format!("ehr-{seq}"), "time": "2026-11-21T08:00:00Z", "source_seq": seq,
        "actor": {"id": format!("n{}", seq % 2), "type": "user"}, "action": "record.open",
        "category": "data", "verb": "read", "outcome": "success", "severity": 3,
        "targets": [{"type": "patient", "id": patient, "name": format!("Patient {patient}")}],
        "subjects": [subject], "data": {"ward": "3b"},
    })
}

fn flow(id: &str) -> Value {
    json!({
        "id": id, "time": "2026-11-21T09:00:00Z", "action": "network.connect",
        "category": "network", "verb": "connect", "outcome": "success", "severity": 1,
        "origin": {"ip": "192.0.2.7"},
    })
}

fn settle(vault: &Vault) {
    vault.settle();
    // The day-seal was asked for before the index had followed, so it stands before this.
    vault.checkpoint().unwrap();
    vault.settle();
}

/// init, eight events of two sources, link, erase, hold, an expiry three months later.
fn tell(disk: &SimDisk) -> Vec<Vec<Fate>> {
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let mut config = config(Path::new("/sim"));
    let frozen = home().join("tests/golden/format/policies");
    let read = |name: &str| std::fs::read_to_string(frozen.join(name)).unwrap();
    config.policies = POLICIES.iter().map(|n| ((*n).to_owned(), read(n))).collect();
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let vault = Vault::init(world(disk, &clock, 7), &config, "vault.example").unwrap();
    let events: Vec<(&str, Value)> = (1..=5)
        .map(|n| ("ehr", visit(n, &format!("p{}", n % 3))))
        .chain((1..=3).map(|n| ("firewall", flow(&format!("f-{n}")))))
        .collect();
    // Canonical, so that the order of members is no crate's whim.
    let texts: Vec<(&str, Vec<u8>)> =
        events.iter().map(|(source, event)| (*source, to_canonical(event).unwrap())).collect();
    let drafts: Vec<Draft<'_>> =
        texts.iter().map(|(source, t)| Draft { source, json: t }).collect();
    vault.append(&drafts).unwrap();
    let two = two_people();
    vault
        .link(&[identifier("patient_id", "p0"), identifier("email", "p0@home.example")], &two)
        .unwrap();
    vault.erase(&[identifier("patient_id", "p2")], "gdpr-17-1", &two).unwrap();
    let person = vault.persons_named(&[identifier("patient_id", "p1")]).unwrap()[0];
    vault.set_hold(None, "Roe v. Clinic", Scope::Person { person }, &two).unwrap();
    settle(&vault);
    clock.pass_days(92);
    let late = to_canonical(&flow("f-4")).unwrap();
    vault.append(&[Draft { source: "firewall", json: &late }]).unwrap();
    settle(&vault);
    let done = vault.expire(Some(Day::parse("2027-02-21").unwrap())).unwrap();
    assert_eq!(done.groups, 3, "the three flows of November");
    settle(&vault);
    let (mut fates, all) = (Vec::new(), EntryIndex(0)..EntryIndex(vault.size().0));
    let reading = Reading::OPEN;
    vault
        .for_each_record(all, reading, &mut |record| {
            fates.push(record.groups);
            Ok(())
        })
        .unwrap();
    fates
}

/// Path below the vault's home and bytes of every file.
fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let paths = disk.files().into_iter();
    let name = |p: &Path| p.strip_prefix("/sim").unwrap().to_string_lossy().into_owned();
    paths.map(|p| (name(&p), disk.bytes(&p).unwrap())).collect()
}

#[test]
fn a_small_vault_is_frozen() {
    let disk = SimDisk::new();
    tell(&disk);
    let files = files(&disk);
    let mut list = String::new();
    let mut open = BTreeMap::new();
    for (name, bytes) in &files {
        list += &format!("{} {} {name}\n", hex(&h(&[bytes])), bytes.len());
        if ["/log/", "/tile/", "/checkpoint"].iter().any(|part| name.contains(part)) {
            open.insert(name.clone(), hex(bytes));
        }
    }
    golden("vault.txt", &list);
    golden("vault.json", &(serde_json::to_string_pretty(&open).unwrap() + "\n"));
}

#[test]
fn the_story_is_the_same_every_time() {
    let (one, two) = (SimDisk::new(), SimDisk::new());
    assert_eq!(tell(&one), tell(&two));
    assert!(files(&one) == files(&two), "threads changed a byte");
}

// ---- The same vault opened from the page alone.

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b))
}

/// Takes bytes off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len);
        self.0 = tail;
        head
    }

    fn n(&mut self, width: usize) -> usize {
        number(self.take(width))
    }

    fn lp(&mut self, width: usize) -> &'a [u8] {
        let len = self.n(width);
        self.take(len)
    }
}

/// Everything a key plane still holds: (class, day) keys, and the seal key of every living tag.
#[derive(Default)]
struct Living {
    days: BTreeMap<(usize, usize), Vec<u8>>,
    seals: BTreeMap<Vec<u8>, [u8; 32]>,
}

fn living(files: &BTreeMap<String, Vec<u8>>) -> Living {
    let end = |suffix: &str| files.iter().find(|(n, _)| n.ends_with(suffix)).map(|(_, b)| b);
    let kek = &files["keys/kek"][60..92];
    let slots = [end("/root.0").unwrap(), end("/root.1").unwrap()];
    let whole: Vec<&&Vec<u8>> = slots.iter().filter(|s| s.iter().any(|b| *b != 0)).collect();
    assert_eq!(whole.len(), 1, "the other slot is scrubbed");
    let slot = whole[0];
    assert_eq!(h(&[&slot[..4064]]), slot[4064..]);
    let aad = [b"chancery/v1/root\0", &slot[..128]].concat();
    let keys = unseal(kek, &slot[128..140], &slot[140..220], &aad).unwrap();
    let (mut blobs, mut rest) = (BTreeMap::new(), Cursor(end("/nodes.seg").unwrap()));
    while !rest.0.is_empty() {
        let record = rest.take(128);
        assert_eq!(&record[..4], b"CHK1");
        for _ in 0..number(&record[4..8]) {
            let blob = rest.take(4096);
            blobs.insert(blob[20..36].to_vec(), blob);
        }
    }
    let mut living = Living::default();
    node(&blobs, &slot[32..48], &keys[..32], &mut living);
    living
}

fn node(blobs: &BTreeMap<Vec<u8>, &[u8]>, id: &[u8], key: &[u8], living: &mut Living) {
    let blob = blobs[id];
    let aad = [b"chancery/v1/node\0", &blob[..37]].concat();
    let plain = unseal(key, &blob[37..49], &blob[49..], &aad).unwrap();
    let mut rest = Cursor(&plain);
    for _ in 0..rest.n(2) {
        if blob[36] > 0 {
            let row = rest.take(56);
            node(blobs, &row[8..24], &row[24..], living);
        } else {
            rest.take(32);
            cell(rest.lp(2), living);
        }
    }
}

fn cell(value: &[u8], living: &mut Living) {
    let mut rest = Cursor(value);
    match rest.n(1) {
        2 => {
            rest.take(16 + 1 + 4 + 32);
            for _ in 0..rest.n(1) {
                rest.take(6);
                let key = rest.take(32);
                let tags = expand(key, "chancery/v1/tag\0");
                for month in 682_u32..=685 {
                    let tag = mac(&tags, &[&[0x10, 7], &month.to_be_bytes()])[..16].to_vec();
                    living.seals.insert(tag, expand(key, "chancery/v1/seal\0"));
                }
            }
        }
        3 => {
            let name = (rest.n(2), rest.n(4));
            living.days.insert(name, rest.take(32).to_vec());
        }
        _ => {}
    }
}

/// Of each entry, which of its groups open.
fn opened(files: &BTreeMap<String, Vec<u8>>) -> Vec<Vec<bool>> {
    let living = living(files);
    let (mut out, mut prev) = (Vec::new(), [0; 32]);
    let log = files.iter().filter(|(name, _)| name.contains("/log/"));
    for (_, segment) in log {
        let mut rest = Cursor(segment);
        while !rest.0.is_empty() {
            let len = number(&rest.0[4..12]);
            let mut unit = Cursor(rest.take(len));
            let head = unit.take(118);
            let spans = unit.take(22 * number(&head[116..]));
            assert_eq!(h(&[b"chancery/v1/unit\0", head, spans]), segment_end(&unit));
            for _ in number(&head[60..68])..number(&head[68..76]) {
                let entry = unit.lp(2);
                assert_eq!(entry.len() % 64, 47);
                assert_eq!(entry[entry.len() - 32..], prev);
                prev = h(&[&[0], entry]);
                out.push(groups(entry, files, &living));
            }
        }
    }
    out
}

fn segment_end<'a>(unit: &Cursor<'a>) -> &'a [u8] {
    &unit.0[unit.0.len() - 96..unit.0.len() - 64]
}

fn groups(entry: &[u8], files: &BTreeMap<String, Vec<u8>>, living: &Living) -> Vec<bool> {
    let (tenant, record) = (&entry[16..32], &entry[32..48]);
    let mut rest = Cursor(&entry[92..]);
    let (tags, groups, fields) = (rest.n(1), rest.n(1), rest.n(2));
    let tags: Vec<&[u8]> = (0..tags).map(|_| rest.take(16)).collect();
    let groups: Vec<(&[u8], &[u8])> = (0..groups).map(|_| (rest.take(7), rest.lp(1))).collect();
    let fields: Vec<(&[u8], usize, &[u8])> =
        (0..fields).map(|_| (rest.lp(1), rest.n(1), rest.take(32))).collect();
    let open = |(g, (place, positions)): (usize, &(&[u8], &[u8]))| {
        let (class, day) = (number(&place[1..3]), number(&place[3..]));
        let day_key = living.days.get(&(class, day))?;
        let own: Vec<&[u8]> = positions.iter().map(|at| tags[usize::from(*at)]).collect();
        let seals: Option<Vec<&[u8]>> =
            own.iter().map(|t| living.seals.get(*t).map(|s| s.as_slice())).collect();
        let ikm = match positions.is_empty() {
            true => b"chancery/v1/nosubject\0".to_vec(),
            false => seals?.concat(),
        };
        let mine = || fields.iter().enumerate().filter(|(_, f)| f.1 == g);
        let commits: Vec<u8> = mine().flat_map(|(_, f)| f.2.to_vec()).collect();
        let digest = h(&[&[0x10, 3], &commits]);
        let base = hkdf(day_key, &ikm, &[b"chancery/v1/group\0", tenant, place].concat());
        let key = mac(&base, &[&[0x10, 4], record, &[g as u8], &digest]);
        let count = [own.len() as u8];
        let aad = [&[0x10, 5], tenant, record, &[g as u8], place, &count, &own.concat(), &digest]
            .concat();
        let frame = frame(files, class, day, record, g);
        let plain = unseal(&key, &frame[34..46], &frame[46..], &aad).unwrap();
        let (seed, mut values) = (&plain[..32], Cursor(&plain[32..]));
        assert_eq!(values.n(2), mine().count());
        for (n, (name, _, commitment)) in mine() {
            assert_eq!(values.lp(1), *name);
            let salt = h(&[&[0x10, 1], seed, &(n as u16).to_be_bytes()]);
            let value = values.lp(4);
            let (name_len, len) = ([name.len() as u8], (value.len() as u32).to_be_bytes());
            let parts: [&[u8]; 8] =
                [&[0x10, 2], record, &[g as u8], &salt, &name_len, name, &len, value];
            assert_eq!(h(&parts), *commitment);
        }
        Some(())
    };
    groups.iter().enumerate().map(open).map(|found| found.is_some()).collect()
}

/// The frame of a record's group.
fn frame<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    class: usize,
    day: usize,
    record: &[u8],
    group: usize,
) -> &'a [u8] {
    let day = if day == 20_778 { "2026-11-21" } else { "2027-02-21" };
    let suffix = format!("/bodies/{class}/{day}.seg");
    let file = files.iter().find(|(name, _)| name.ends_with(&suffix)).unwrap().1;
    let mut rest = Cursor(&file[32..]);
    loop {
        let len = 46 + number(&rest.0[..4]);
        let frame = rest.take(len);
        assert_eq!(crc32fast::hash(&frame[16..]).to_be_bytes(), frame[4..8]);
        if &frame[18..34] == record && usize::from(frame[16]) == group {
            return frame;
        }
    }
}

#[test]
fn the_page_alone_opens_what_is_alive_and_nothing_else() {
    let disk = SimDisk::new();
    let fates = tell(&disk);
    let opened = opened(&files(&disk));
    let said: Vec<Vec<bool>> =
        fates.iter().map(|e| e.iter().map(|f| *f == Fate::Open).collect()).collect();
    assert_eq!(opened, said);
    let count = |fate| fates.iter().flatten().filter(|f| **f == fate).count();
    assert!(count(Fate::Open) > 5 && count(Fate::Erased) > 0, "{fates:?}");
    assert_eq!(count(Fate::Expired), 3);
    assert_eq!(count(Fate::KeyLost) + count(Fate::BodyMissing) + count(Fate::AuthFailed), 0);
}
