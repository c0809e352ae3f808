//! The vectors as the crate computes them. Every input is fixed; names are the members of
//! `vectors.json`.

use crate::golden::complete;
use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{EventCode, Identifier, Outcome, Severity};
use chancery::base::id::{
    CaseId, DocumentId, EventIdTag, Hash32, JobId, NodeId, PersonId, RecordId, ReplicaId,
    SourceHandle, SubjectTag, TenantId, hex,
};
use chancery::base::secret::Key;
use chancery::base::unit::{
    ClassDay, ClassId, Day, EntryIndex, Generation, NANOS_PER_DAY, TreeSize, UtcNanos,
};
use chancery::crypto::aead;
use chancery::crypto::hash::{leaf_hash, node_hash, sha256};
use chancery::crypto::kdf::{HmacKey, derive, expand, label, tag};
use chancery::crypto::sign::SigningKey;
use chancery::format::bundle::{Disclosed, Disclosure, FORMAT, field_matches};
use chancery::format::cell::{self, Cell, ClassKey, IdentifierCell, PersonCell, TenantCell};
use chancery::format::checkpoint::Checkpoint;
use chancery::format::control::{self, Config, Deferred, Due, KeyRoll, Mode, RootChange, Scope};
use chancery::format::proof::TlogProof;
use chancery::format::seal::epoch::EpochTables;
use chancery::format::seal::payload::{DaySealPayload, SealPayload};
use chancery::format::slot::Slot;
use chancery::format::trust::Trust;
use chancery::format::unit::{BodySpan, UnitHead};
use chancery::format::vkey::{Algorithm, Signer};
use chancery::format::wire::{Malformed, Write};
use chancery::format::{body, canon, entry, node, roll, unit};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

pub(crate) type Vectors = BTreeMap<String, String>;

const CLASS: ClassId = ClassId(4);
const DAY: Day = Day(20_778);
pub(crate) const TENANT: TenantId = TenantId([0x11; 16]);
const NOW: UtcNanos = UtcNanos(20_778 * NANOS_PER_DAY + 1_234_567_890);

/// Fields of the event: name, group, value.
pub(crate) const FIELDS: [(&str, u8, &str); 4] = [
    ("actor.email", 1, r#""n1@clinic.example""#),
    ("data", 0, r#"{"ward":"3b", "weight": 71.50}"#),
    ("reason", 2, r#""ward round""#),
    ("target.name", 0, r#""J\u00fcrgen""#),
];

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

pub(crate) fn log_signer() -> Signer {
    let name = format!("vault.example/t/{TENANT}");
    Signer::new(&name, Algorithm::Ed25519, SigningKey::new(&key(0x51))).unwrap()
}

pub(crate) fn report_signer() -> Signer {
    let name = format!("vault.example/r/{TENANT}");
    Signer::new(&name, Algorithm::Ed25519, SigningKey::new(&key(0x52))).unwrap()
}

/// Everything.
pub(crate) fn vectors() -> Vectors {
    let mut out = Vectors::new();
    let entries = log(&mut out);
    proofs(&mut out, &entries);
    units(&mut out, &entries);
    for (name, bytes) in crate::golden::derived::crate_side(&log_signer()) {
        put(&mut out, name, &bytes);
    }
    tables(&mut out, &entries);
    complete::by_the_crate(&mut out, &entries);
    payloads(&mut out);
    cells(&mut out);
    out
}

fn put(out: &mut Vectors, name: &str, bytes: &[u8]) {
    assert!(out.insert(name.to_owned(), hex(bytes)).is_none(), "{name} twice");
}

fn text(out: &mut Vectors, name: &str, text: &[u8]) {
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(out.insert(name.to_owned(), text).is_none(), "{name} twice");
}

fn bare_head(kind: Kind, record: u8, clear: Vec<u8>) -> Head {
    Head {
        kind,
        class: ClassId(10),
        time: NOW,
        tenant: TENANT,
        record: RecordId([record; 16]),
        event_id: EventIdTag::ZERO,
        source: SourceHandle::ZERO,
        source_seq: None,
        code: EventCode::parse("vault.create").unwrap(),
        outcome: Outcome::Success,
        severity: Severity::default(),
        tags: Vec::new(),
        groups: Vec::new(),
        fields: Vec::new(),
        clear,
    }
}

/// Three entries: genesis, an event with three groups, an event that says almost nothing.
fn log(out: &mut Vectors) -> Vec<Vec<u8>> {
    let genesis = control::Genesis {
        format: 1,
        origin: log_signer().verifier().name().to_owned(),
        tenant: TENANT,
        log_key: log_signer().verifier().to_string(),
        report_key: report_signer().verifier().to_string(),
        generation: Generation(1),
        root: Hash32([0x77; 32]),
        continues: None,
    };
    let clear = control::encode(&genesis).unwrap();
    text(out, "control.genesis", &clear);
    let least = Head {
        source: SourceHandle([0xfe; 16]),
        source_seq: Some(9),
        time: UtcNanos(0),
        severity: Severity::new(10).unwrap(),
        ..bare_head(Kind::Event, 0x24, Vec::new())
    };
    let heads = [bare_head(Kind::Genesis, 0x23, clear), event(out), least];
    let (mut entries, mut prev) = (Vec::new(), Hash32::ZERO);
    for (number, head) in heads.into_iter().enumerate() {
        let index = EntryIndex(number as u64);
        let value = Entry { head, index, time_log: NOW, prev };
        let bytes = entry::encode(&value).unwrap();
        assert_eq!(entry::decode(&bytes).unwrap(), value);
        prev = leaf_hash(&bytes);
        put(out, &format!("entry.{number}"), &bytes);
        put(out, &format!("leaf.{number}"), &prev.0);
        entries.push(bytes);
    }
    for (group, frame) in frames(out, &entry::decode(&entries[1]).unwrap()).iter().enumerate() {
        put(out, &format!("frame.{group}"), frame);
    }
    let class_day = ClassDay { class: CLASS, day: DAY };
    put(out, "body.file", &body::file_head(&TENANT, class_day));
    entries
}

fn subject_tag(byte: u8) -> SubjectTag {
    let month = DAY.month().0.to_be_bytes();
    let tags = HmacKey::new(&expand(&key(byte), label::TAG));
    SubjectTag(tags.mac16(&[&tag::SUBJECT[..], &month].concat()))
}

/// Subjects with the keys a1 and a2; group 0 is both's, group 1 the second's, group 2 nobody's.
fn event(out: &mut Vectors) -> Head {
    let source = HmacKey::new(&key(0x50)).mac16(&[&tag::SOURCE[..], b"ehr"].concat());
    let event_id =
        HmacKey::new(&key(0xde)).mac16(&[&tag::EVENT_ID[..], &source, br#""e-1""#].concat());
    let token = HmacKey::new(&key(0x70)).mac16(&[&tag::TOKEN[..], b"siem.example"].concat());
    let mut tags = vec![subject_tag(0xa1), subject_tag(0xa2)];
    for (name, value) in [("source", source), ("event_id", event_id), ("token", token)] {
        put(out, &format!("tag.{name}"), &value);
    }
    let label = format!("{}token\0", label::SERVICE);
    put(out, "service_key", HmacKey::new(&key(0xde)).expand(label.as_bytes()).expose());
    put(out, "tag.subject.a1", &tags[0].0);
    put(out, "tag.subject.a2", &tags[1].0);
    let second = tags[1];
    tags.sort_unstable();
    let at = tags.iter().position(|t| *t == second).unwrap() as u8;
    let group = |policy, tags| GroupHead { policy, class: CLASS, bucket: DAY, tags };
    let mut head = Head {
        class: CLASS,
        event_id: EventIdTag(event_id),
        source: SourceHandle(source),
        code: EventCode::parse("data.read").unwrap(),
        severity: Severity::new(3).unwrap(),
        groups: vec![
            group(GroupPolicy::AnySubject, vec![0, 1]),
            group(GroupPolicy::AnySubject, vec![at]),
            group(GroupPolicy::Tenant, vec![]),
        ],
        tags,
        ..bare_head(Kind::Event, 0x22, br#"{"purpose":"treatment"}"#.to_vec())
    };
    for (number, (name, group, value)) in FIELDS.iter().enumerate() {
        let salt = sha256(&[&body::salt_preimage(&[*group; 32], number as u16)]);
        let mut preimage = Vec::new();
        let (record, value) = (&head.record, value.as_bytes());
        body::commit_preimage(&mut preimage, record, *group, &salt.0, name, value);
        let commitment = sha256(&[&preimage]);
        put(out, &format!("salt.{number}"), &salt.0);
        put(out, &format!("commit.{number}"), &commitment.0);
        head.fields.push(FieldHead { name: (*name).into(), group: *group, commitment });
    }
    head
}

fn frames(out: &mut Vectors, entry: &Entry) -> Vec<Vec<u8>> {
    let head = &entry.head;
    let seal = |byte| expand(&key(byte), label::SEAL);
    put(out, "key.seal.a1", seal(0xa1).expose());
    let mut members = [(subject_tag(0xa1), 0xa1), (subject_tag(0xa2), 0xa2)];
    members.sort_unstable();
    let both: Vec<u8> = members.iter().flat_map(|(_, byte)| *seal(*byte).expose()).collect();
    let inputs = [both, seal(0xa2).expose().to_vec(), label::NO_SUBJECT.to_vec()];
    let mut frames = Vec::new();
    for (position, (group, input)) in head.groups.iter().zip(&inputs).enumerate() {
        let number = position as u8;
        let mut digest = tag::COMMITS.to_vec();
        let own = || FIELDS.iter().zip(&head.fields).filter(|((_, g, _), _)| *g == number);
        own().for_each(|(_, field)| digest.extend(field.commitment.0));
        let digest = sha256(&[&digest]);
        let mut info = label::GROUP.to_vec();
        info.raw(&TENANT.0);
        info.put_u8(group.policy.value());
        info.put_u16(CLASS.0);
        info.put_u32(DAY.0);
        let base = derive(&key(0xd0), input, &info);
        let preimage = body::group_key_preimage(&head.record, number, &digest);
        let group_key = Key::new(HmacKey::new(&base).mac(&preimage).0);
        let aad = body::aad(head, number, &digest);
        let (mut frame, nonce) = (Vec::new(), [0x90 + number; 12]);
        let start = body::start_frame(&mut frame, number, &head.record, &nonce);
        let fields: Vec<(&str, &[u8])> = own().map(|((n, _, v), _)| (*n, v.as_bytes())).collect();
        body::encode_plain(&mut frame, &[number; 32], fields.into_iter());
        put(out, &format!("plain.{position}"), &frame[start..]);
        aead::seal_in_place(&group_key, &nonce, &aad, &mut frame, start);
        body::finish_frame(&mut frame, start);
        body::set_index(&mut frame, entry.index);
        put(out, &format!("digest.{position}"), &digest.0);
        put(out, &format!("base.{position}"), base.expose());
        put(out, &format!("group_key.{position}"), group_key.expose());
        put(out, &format!("aad.{position}"), &aad);
        frames.push(frame);
    }
    frames
}

fn root_of(entries: &[Vec<u8>]) -> (Vec<Hash32>, Hash32) {
    let leaves: Vec<Hash32> = entries.iter().map(|e| leaf_hash(e)).collect();
    let root = node_hash(&node_hash(&leaves[0], &leaves[1]), &leaves[2]);
    (leaves, root)
}

fn proofs(out: &mut Vectors, entries: &[Vec<u8>]) {
    let signer = log_signer();
    let (leaves, root) = root_of(entries);
    let origin = signer.verifier().name().to_owned();
    let checkpoint = Checkpoint { origin, size: TreeSize(3), root };
    let note = checkpoint.sign(&[&signer]).unwrap();
    text(out, "checkpoint", note.as_bytes());
    let proof = vec![leaves[0], leaves[2]];
    let extra = Some(entries[1].clone());
    let proof = TlogProof { index: EntryIndex(1), proof, checkpoint: note, extra };
    let trust = Trust::of(
        std::slice::from_ref(signer.verifier()),
        std::slice::from_ref(report_signer().verifier()),
    );
    let trust = trust.unwrap();
    proof.open(&trust).unwrap();
    text(out, "trust", trust.to_string().as_bytes());
    text(out, "proof", proof.to_string().as_bytes());
    let name = signer.verifier().name();
    let next = Signer::new(name, Algorithm::Ed25519, SigningKey::new(&key(0x53))).unwrap();
    let roll = roll::KeyRoll::sign(&signer, &next, TreeSize(3)).unwrap();
    text(out, "roll", roll.as_bytes());
    let entry = entry::decode(&entries[1]).unwrap();
    let fields = [0, 1].map(|number| Disclosed {
        group: FIELDS[number].1,
        name: FIELDS[number].0.to_owned(),
        salt: Hash32::parse(&out[&format!("salt.{number}")]).unwrap(),
        value: FIELDS[number].2.to_owned(),
    });
    assert!(fields.iter().all(|field| field_matches(&entry, field)));
    let disclosure =
        Disclosure { fields: fields.to_vec(), format: FORMAT.to_owned(), proof: proof.to_string() };
    text(out, "disclosure", &canon::to_canonical(&disclosure).unwrap());
}

fn units(out: &mut Vectors, entries: &[Vec<u8>]) {
    let (_, root) = root_of(entries);
    let class_day = ClassDay { class: CLASS, day: DAY };
    let mut head = UnitHead {
        len: 0,
        number: 1,
        epoch: 2,
        prev: Hash32([0x66; 32]),
        first: EntryIndex(1),
        end: TreeSize(3),
        root,
        state_before: Some(EntryIndex(0)),
        spans: vec![BodySpan { class_day, start: 32, end: 500 }],
    };
    let mut bytes = Vec::new();
    entries[1..].iter().for_each(|entry| bytes.put_lp16(entry));
    let sign = |message: &[u8]| log_signer().sign_unit(message);
    let (bytes, hash) = unit::encode(&mut head, &bytes, sign);
    assert_eq!(unit::decode(&bytes).unwrap().hash, hash);
    put(out, "unit", &bytes);
}

fn tables(out: &mut Vectors, entries: &[Vec<u8>]) {
    let entries: Vec<Entry> = entries.iter().map(|e| entry::decode(e).unwrap()).collect();
    let tables = EpochTables::build(0, &entries).unwrap().tables();
    let all = [tables.count, tables.source, tables.class, tables.index];
    for (name, table) in ["count", "source", "class", "index"].iter().zip(all) {
        put(out, &format!("table.{name}"), &table.rows().collect::<Vec<_>>().concat());
        put(out, &format!("table.{name}.root"), &table.root().0);
    }
    let seal = SealPayload {
        first: EntryIndex(65_536),
        end: EntryIndex(131_072),
        t_first: NOW,
        t_last: UtcNanos(NOW.0 + 1),
        root: Hash32([1; 32]),
        count_rows: 2,
        count_root: Hash32([2; 32]),
        source_rows: 3,
        source_root: Hash32([3; 32]),
        class_rows: 4,
        class_root: Hash32([4; 32]),
        index_rows: 5,
        index_root: Hash32([5; 32]),
    };
    text(out, "control.seal", &seal.encode());
    let day = DaySealPayload { day: DAY, first: EntryIndex(3), end: EntryIndex(9) };
    text(out, "control.day-seal", &day.encode());
}

fn payloads(out: &mut Vectors) {
    let (job, intent, mode) = (JobId([0x31; 16]), EntryIndex(8), Mode::TwoPerson);
    let (persons, classes) = (vec![PersonId([0x41; 16])], vec![ClassId(4), ClassId(5)]);
    let (from, to) = (Generation(6), Generation(7));
    let root = RootChange { from, to, old_root: Hash32([6; 32]), new_root: Hash32([7; 32]) };
    let case = CaseId([0xca; 16]);
    let deferred =
        |why: &str, law: String, due| vec![Deferred { class: CLASS, why: why.into(), law, due }];
    let erase = control::EraseIntent {
        job,
        persons: persons.clone(),
        basis: "gdpr-17-1".into(),
        mode,
        classes: classes.clone(),
        deferred: deferred("floor", "45 CFR 164.316".into(), Some(NOW)),
        generation: from,
    };
    let done = control::EraseDone {
        job,
        intent,
        persons,
        classes,
        deferred: deferred("hold", case.to_string(), None),
        root: root.clone(),
        store: "D".into(),
        replicas: "1/1".into(),
        missed: None,
    };
    let due = vec![Due { class: CLASS, day: DAY, due: Day(20_869).end(), groups: 12 }];
    let policy = Hash32([8; 32]);
    let prune = control::PruneIntent { job, class_days: due, policy, generation: from };
    let class_days = vec![ClassDay { class: CLASS, day: DAY }];
    let pruned = control::PruneDone { job, intent, class_days, root: root.clone(), missed: None };
    let days = Scope::ClassDays { class: CLASS, from: DAY, to: Day(20_780) };
    let person = Scope::Person { person: PersonId([0x41; 16]) };
    let first = EntryIndex(1);
    let grow = KeyRoll::GrowthIntent { generation: from };
    let mut add = |name: &str, bytes| add_control(out, name, bytes);
    add("erase-intent", control::encode(&erase));
    add("erase-done", control::encode(&done));
    let missed = Some(ReplicaId([0xfe; 16]));
    let partial = control::EraseDone { replicas: "1/2".into(), missed, ..done };
    add("erase-done.missed", control::encode(&partial));
    let last = control::EraseFinal { job, done: EntryIndex(9), replicas: "2/2".into() };
    add("erase-final", control::encode(&last));
    add("prune-intent", control::encode(&prune));
    add("prune-done", control::encode(&pruned));
    add("prune-done.missed", control::encode(&control::PruneDone { missed, ..pruned }));
    add("hold-set.days", control::encode(&control::HoldSet { case, scope: days, mode }));
    add("hold-set.person", control::encode(&control::HoldSet { case, scope: person, mode }));
    add("hold-release", control::encode(&control::HoldRelease { case, mode: Mode::Scheduled }));
    add("growth-intent", control::encode(&grow));
    add("growth-done", control::encode(&KeyRoll::GrowthDone { root }));
    disclosures(out);
    settings(out);
    add_control(out, "conflict", control::encode(&control::Conflict { first }));
}

fn disclosures(out: &mut Vectors) {
    let fields = vec!["actor.email".to_owned()];
    let (first, last) = (EntryIndex(1), EntryIndex(2));
    let disclose = control::Disclose {
        act: "read".into(),
        records: 2,
        first,
        last,
        fields,
        mode: None,
        ground: None,
    };
    let mut add = |name: &str, bytes| add_control(out, name, bytes);
    add("disclose", control::encode(&disclose));
    let mode = Some(Mode::TwoPerson);
    let ground = Some(control::Ground::RightsOfOthers);
    let allowed = control::Disclose { ground, ..disclose.clone() };
    add("disclose.ground", control::encode(&allowed));
    let ordered = control::Disclose { act: "export".into(), mode, ..disclose };
    add("disclose.ordered", control::encode(&ordered));
}

fn add_control(out: &mut Vectors, name: &str, bytes: Result<Vec<u8>, Malformed>) {
    let _: Result<_, Malformed> = bytes.map(|bytes| text(out, &format!("control.{name}"), &bytes));
}

/// What a config entry may say.
fn settings(out: &mut Vectors) {
    let (mode, policy, size) = (Mode::TwoPerson, Hash32([8; 32]), TreeSize(7));
    let policies = Config::Policies { version: 1, policies: policy, mode: Mode::SingleOperator };
    let link = Config::Link { mode, persons: vec![PersonId([0x41; 16])] };
    let source = Config::Source { source: SourceHandle([0xfe; 16]) };
    let (kind, id) = (control::DocumentKind::Human, DocumentId([0xfe; 16]));
    let document = Config::Document { kind, id, version: 3, gone: false };
    let mut add = |name: &str, bytes| add_control(out, name, bytes);
    add("policies", control::encode(&policies));
    add("source", control::encode(&source));
    add("document", control::encode(&document));
    add("link", control::encode(&link));
    let replica = ReplicaId([0xfe; 16]);
    add("mirror-forgotten", control::encode(&Config::MirrorForgotten { mode, replica }));
    let person = PersonId([0xfe; 16]);
    add("restriction", control::encode(&Config::Restriction { person, begins: true }));
    let corrects = EntryIndex(7);
    add("correction", control::encode(&Config::Correction { corrects }));
    add("unwitnessed", control::encode(&Config::Unwitnessed { size, witnesses: 2 }));
    let (sight, time) = (control::Sight::Timestamp, NOW);
    add("anchor", control::encode(&Config::Anchor { sight, size, hash: policy, time }));
}

fn cells(out: &mut Vectors) {
    let directory = HmacKey::new(&key(0xdd));
    let identifier = Identifier { kind: "email".into(), value: "n1@clinic.example".into() };
    let (person, class_day) = (PersonId([0x41; 16]), ClassDay { class: CLASS, day: DAY });
    let identifier_key = cell::identifier_key(&directory, &identifier);
    let persons = vec![PersonId([0x40; 16]), person];
    let created = DAY;
    let own = PersonCell {
        id: person,
        retired: false,
        created,
        token: key(0x70),
        keys: vec![ClassKey { class: CLASS, created, key: key(0xa1) }],
        links: vec![identifier_key],
        peers: vec![PersonId([0x42; 16])],
    };
    let identifier = IdentifierCell { current: Some(1), persons, identifier };
    let tenant = TenantCell { dedupe: key(0xde), source: key(0x50) };
    let all = [
        ("identifier", identifier_key, Cell::Identifier(identifier)),
        ("person", cell::person_key(&directory, &person), Cell::Person(own)),
        (
            "class-day",
            cell::class_day_key(&directory, class_day),
            Cell::ClassDay(class_day, key(0xd0)),
        ),
        ("tenant", cell::tenant_key(&directory), Cell::Tenant(tenant)),
    ];
    let mut leaf = Vec::new();
    for (name, cell_key, value) in all {
        let value = value.encode();
        put(out, &format!("cell.{name}.key"), &cell_key);
        put(out, &format!("cell.{name}"), &value);
        leaf.push(node::Cell { key: cell_key, value: Zeroizing::new(value.to_vec()) });
    }
    leaf.sort_by_key(|cell| cell.key);
    nodes(out, leaf);
}

/// Long blobs are given by their hash.
fn nodes(out: &mut Vectors, cells: Vec<node::Cell>) {
    let head = |id, level| node::NodeHead { tenant: TENANT, id: NodeId([id; 16]), level };
    let leaf = node::Content::Leaf(cells).seal(&head(0xb0, 0), &key(0xb0), &[0x91; 12]).unwrap();
    let row = |low, id| node::Row { low: [low; 8], id: NodeId([id; 16]), key: key(id) };
    let rows = node::Content::Internal(vec![row(0, 0xb0), row(0x80, 0xb1)]);
    let internal = rows.seal(&head(0xb2, 1), &key(0xb2), &[0x92; 12]).unwrap();
    let blobs = [leaf.as_slice(), internal.as_slice()].concat();
    let commit = node::Commit::after(4, Hash32([0x99; 32]), &blobs);
    let slot = Slot {
        generation: Generation(7),
        tenant: TENANT,
        root: NodeId([0xb2; 16]),
        root_hash: node::blob_hash(&internal),
        log_size: TreeSize(3),
        log_root: Hash32([0x55; 32]),
        copies: 1,
        root_key: key(0xb2),
        directory_key: key(0xdd),
    };
    let slot = slot.seal(&key(0xee), &[0x93; 12]).unwrap();
    put(out, "commit_record", &commit.encode());
    put(out, "slot.front", &slot[..220]);
    for (name, blob) in [("leaf", leaf), ("internal", internal), ("slot", slot)] {
        put(out, &format!("sha256.{name}"), &sha256(&[blob.as_slice()]).0);
    }
}

/// Compressions of a message of `len` bytes.
fn compressions(len: usize) -> usize {
    (len + 9).div_ceil(64)
}

/// The table of section 17: four values of 40 bytes under names of 23, two subjects, one group.
#[test]
fn the_budget_table_is_right() {
    let (name, value) = ("n".repeat(22), [b'1'; 40]);
    let field = |number: usize| FieldHead {
        name: format!("{name}{number}").into(),
        group: 0,
        commitment: Hash32([1; 32]),
    };
    let policy = GroupPolicy::AnySubject;
    let head = Head {
        tags: vec![SubjectTag([1; 16]), SubjectTag([2; 16])],
        groups: vec![GroupHead { policy, class: CLASS, bucket: DAY, tags: vec![0, 1] }],
        fields: (0..4).map(field).collect(),
        ..bare_head(Kind::Event, 0x22, vec![b' '; 143])
    };
    let mut commit = Vec::new();
    body::commit_preimage(&mut commit, &head.record, 0, &[0; 32], &head.fields[0].name, &value);
    let salt = body::salt_preimage(&[0; 32], 0).len();
    // The inner pad of an HMAC is absorbed once for all messages, and so is the outer.
    let hmac = |message: usize| compressions(64 + message) - 1 + compressions(64 + 32) - 1;
    let key = body::group_key_preimage(&head.record, 0, &Hash32::ZERO).len();
    let entry = entry::encode_head(&head).unwrap().len() + entry::TAIL_BYTES;
    let steps = [
        4 * compressions(salt),
        4 * compressions(commit.len()),
        compressions(2 + 4 * 32),
        hmac(key),
        compressions(1 + entry),
        compressions(65),
    ];
    assert_eq!((commit.len(), entry), (119, 559));
    assert_eq!(steps, [4, 8, 3, 2, 9, 2]);
    assert_eq!(steps.iter().sum::<usize>(), 28);
    assert_eq!(hmac(2 + 16 + 37), 2);
}
