//! A small world for reports: a month of entries from three sources, and what a vault would say
//! of it. Everything is computed from positions; nothing is random.

use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{EventCode, Outcome, Severity};
use chancery::base::id::{
    CaseId, EventIdTag, Hash32, JobId, PersonId, RecordId, SourceHandle, SubjectTag, TenantId,
};
use chancery::base::unit::{
    ClassDay, ClassId, Day, EntryIndex, Generation, NANOS_PER_DAY, TreeSize, UtcNanos,
};
use chancery::crypto::hash::sha256;
use chancery::report::build;
use chancery::report::catalogue::{Catalogue, parse};
use chancery::report::evidence::{
    AccessCover, AccessRow, ClassDayState, ClassDayStatus, Deferred, ErasureMode, ErasureStatus,
    Facts, Grade, Integrity, Population, Verdict, pseudonym,
};
use chancery::report::inputs::{Inputs, Period, Scope, Sealing};
use chancery::report::model::Report;
use std::collections::BTreeMap;

pub(super) const CATALOGUE: &str = include_str!("../../../reports/gdpr.toml");
pub(super) const NONCE: [u8; 16] = [0x5a; 16];
const ENTRIES: u64 = 1_440;
const ORIGIN: &str = "vault.example/t/07070707070707070707070707070707";
const SOURCES: [&str; 3] = ["billing-api", "clinic-portal", "identity-provider"];
const CODES: [&str; 5] =
    ["data.read", "authentication.login", "data.update", "database.export", "access.list"];

pub(super) fn at(text: &str) -> UtcNanos {
    UtcNanos::parse(text).unwrap()
}

/// A world and the entries it was made from.
pub(super) struct World {
    pub(super) inputs: Inputs,
    pub(super) facts: Facts,
    pub(super) catalogue: Catalogue,
}

pub(super) fn leaf(index: u64) -> Hash32 {
    sha256(&[b"leaf", &index.to_be_bytes()])
}

/// An event of the month; every field that a test may want to bend is bent on the result.
pub(super) fn entry(index: u64) -> Entry {
    let source = index % 3;
    let time = UtcNanos(at("2026-10-01T00:00:00Z").0 + index * (NANOS_PER_DAY / 48));
    let tag = |n: u64| SubjectTag([n as u8 + 1; 16]);
    let code = EventCode::parse(CODES[(index % 5) as usize]).unwrap();
    let field = |name: &str, group| FieldHead { name: name.into(), group, commitment: leaf(index) };
    Entry {
        head: Head {
            kind: Kind::Event,
            class: ClassId(1),
            time,
            tenant: TenantId([7; 16]),
            record: RecordId(index.to_be_bytes().repeat(2).try_into().unwrap()),
            event_id: EventIdTag::ZERO,
            source: SourceHandle([source as u8 + 0x10; 16]),
            source_seq: Some(1 + index / 3),
            code,
            outcome: if index.is_multiple_of(11) { Outcome::Denied } else { Outcome::Success },
            severity: Severity::default(),
            tags: vec![tag(index % 4)],
            groups: vec![GroupHead {
                policy: GroupPolicy::AnySubject,
                class: ClassId(1),
                bucket: time.day(),
                tags: vec![0],
            }],
            fields: vec![field("actor.email", 0), field("target.name", 0)],
            clear: br#"{"mfa":true,"region":"eu-1"}"#.to_vec(),
        },
        index: EntryIndex(index),
        time_log: time,
        prev: index.checked_sub(1).map_or(Hash32::ZERO, leaf),
    }
}

pub(super) fn scope() -> Scope {
    let registry = [
        ("actor.email", Sealing::Subjects),
        ("target.name", Sealing::Subjects),
        ("trace.id", Sealing::Tenant),
        ("mfa", Sealing::Clear),
        ("region", Sealing::Clear),
    ];
    Scope {
        period: Period { start: at("2026-10-01T00:00:00Z"), end: at("2026-10-31T00:00:00Z") },
        tenant: TenantId([7; 16]),
        origin: ORIGIN.into(),
        registry: registry.map(|(name, sealing)| (name.to_owned(), sealing)).into(),
    }
}

pub(super) fn observe(inputs: &mut Inputs, entry: &Entry) {
    let name = SOURCES.get((entry.head.source.0[0] - 0x10) as usize).copied();
    inputs.observe(entry, &leaf(entry.index.0), name);
}

pub(super) fn facts() -> Facts {
    Facts {
        tenant_name: "Clinic Zo\u{eb} GmbH".into(),
        requester: "privacy officer (role 3)".into(),
        nonce: NONCE,
        cut_off: at("2026-10-31T06:00:00Z"),
        generation: Generation(41),
        software: "chancery 0.1.0".into(),
        supersedes: None,
    }
}

pub(super) fn class_days() -> Population<ClassDayStatus> {
    let first = Day::parse("2026-09-01").unwrap().0;
    let mut days = Population::default();
    for n in 0..60 {
        let day = Day(first + n);
        let due = UtcNanos(day.end().0 + 45 * NANOS_PER_DAY);
        let done = EntryIndex(u64::from(n) * 7);
        let gone = due <= facts().cut_off;
        days.push(ClassDayStatus {
            class_day: ClassDay { class: ClassId(1), day },
            class_name: "security-45d".into(),
            groups: 48,
            due: Some(due),
            state: if gone {
                ClassDayState::Expired { done: Some(done) }
            } else {
                ClassDayState::Live
            },
        });
    }
    days
}

pub(super) fn erasure() -> ErasureStatus {
    ErasureStatus {
        job: JobId([0xe1; 16]),
        requested: EntryIndex(500),
        requested_at: entry(500).time_log,
        completed: Some(EntryIndex(502)),
        completed_at: Some(entry(502).time_log),
        mode: ErasureMode::TwoPerson,
        generation_from: Generation(40),
        generation_to: Generation(41),
        receipt_sha256: Some(leaf(99)),
        deferred: Vec::new(),
        records: Some(36),
    }
}

pub(super) fn integrity() -> Integrity {
    let root = leaf(4242);
    let verdict = |name: &str, count, grade| Verdict { name: name.to_owned(), count, grade };
    Integrity {
        verdicts: vec![
            verdict("VERIFIED", ENTRIES, Grade::Sound),
            verdict("ERASED", 36, Grade::Sound),
            verdict("EXPIRED", 672, Grade::Sound),
            verdict("BODY_MISSING_UNJUSTIFIED", 0, Grade::Failed),
        ],
        entries_checked: ENTRIES,
        bodies_checked: 732,
        checkpoint: format!(
            "{ORIGIN}\n{ENTRIES}\nmk0mP2rVVQ0p5nGEZh0kF3C0kRzV8jF3T6yq4bqX9wA=\n\n\
             \u{2014} {ORIGIN} Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5\
             /Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        ),
        size: TreeSize(ENTRIES),
        root,
        checkpoint_at: entry(ENTRIES - 1).time_log,
        seals: 31,
        seals_missing: 0,
        witnesses: 1,
    }
}

/// Entries of the month, one erasure and one disclosure of the vault among them.
pub(super) fn entries() -> Vec<Entry> {
    (0..ENTRIES)
        .map(|n| {
            let mut entry = entry(n);
            let vault = match n {
                500 => Kind::EraseIntent,
                502 => Kind::EraseDone,
                900 => Kind::Disclose,
                _ => return entry,
            };
            entry.head.kind = vault;
            entry.head.tags.clear();
            entry.head.groups.clear();
            entry.head.fields.clear();
            entry.head.clear.clear();
            entry
        })
        .collect()
}

fn renumber(entries: &mut [Entry]) {
    let mut next: BTreeMap<SourceHandle, u64> = BTreeMap::new();
    for entry in entries.iter_mut().filter(|e| e.head.kind == Kind::Event) {
        let seq = next.entry(entry.head.source).or_insert(1);
        entry.head.source_seq = Some(*seq);
        *seq += 1;
    }
}

/// A world in which every rule is kept.
pub(super) fn sound() -> World {
    sound_with(|_| ())
}

/// The same, with the entries bent before they are read.
pub(super) fn sound_with(bend: impl FnOnce(&mut Vec<Entry>)) -> World {
    let mut inputs = Inputs::new(scope());
    let mut entries = entries();
    renumber(&mut entries);
    bend(&mut entries);
    for entry in &entries {
        observe(&mut inputs, entry);
    }
    let named: u64 = inputs.accesses.iter().map(|(_, a)| a.named.count).sum();
    let mut rows = Population::default();
    for n in 0..4u8 {
        rows.push(AccessRow {
            subject_pseudonym: pseudonym(&NONCE, &PersonId([n; 16])),
            code: EventCode::parse("data.read").unwrap(),
            count: named / 4,
            first: EntryIndex(5 * u64::from(n)),
            last: EntryIndex(1_400 + u64::from(n)),
        });
    }
    let mut erasures = Population::default();
    erasures.push(erasure());
    inputs.class_days = Some(class_days());
    inputs.erasures = Some(erasures);
    inputs.access_rows = Some(rows);
    inputs.access_cover = AccessCover { attributed: named, erased: 0 };
    inputs.integrity = Some(integrity());
    World { inputs, facts: facts(), catalogue: parse(CATALOGUE).unwrap() }
}

pub(super) fn population<T>(rows: impl IntoIterator<Item = T>) -> Population<T> {
    let mut population = Population::default();
    rows.into_iter().for_each(|row| population.push(row));
    population
}

pub(super) const CASE: CaseId = CaseId([0xca; 16]);

pub(super) fn report(world: &World) -> Report {
    build(&world.inputs, &world.catalogue, &world.facts).unwrap()
}

pub(super) fn live(due: &str) -> ClassDayStatus {
    ClassDayStatus {
        class_day: ClassDay { class: ClassId(2), day: Day::parse("2026-01-01").unwrap() },
        class_name: "health-records".into(),
        groups: 3,
        due: Some(at(due)),
        state: ClassDayState::Live,
    }
}

pub(super) fn add_day(world: &mut World, status: ClassDayStatus) {
    world.inputs.class_days.as_mut().unwrap().push(status);
}

pub(super) fn bend_erasure(world: &mut World, bend: impl FnOnce(&mut ErasureStatus)) {
    let mut erasure = erasure();
    bend(&mut erasure);
    world.inputs.erasures = Some(population([erasure]));
}

/// A world in which every chapter has something to show.
pub(super) fn troubled() -> World {
    let mut world = sound_with(|entries| {
        entries[3].head.groups[0].policy = GroupPolicy::Tenant;
        entries[3].head.fields[0].name = "data".into();
        entries.iter_mut().skip(1_200).filter(|e| e.head.kind == Kind::Event).for_each(|e| {
            e.head.source_seq = e.head.source_seq.map(|n| n + 2);
        });
        entries[10].head.tags = vec![SubjectTag([9; 16])];
        entries.retain(|e| e.head.source.0[0] != 0x12 || !(400..620).contains(&e.index.0));
        for n in 1..entries.len() {
            let before = entries[n - 1].index.0;
            entries[n].index = EntryIndex(before + 1);
            entries[n].prev = leaf(before);
        }
    });
    add_day(&mut world, live("2026-10-01T00:00:00Z"));
    add_day(
        &mut world,
        ClassDayStatus { state: ClassDayState::Held(CASE), ..live("2020-01-01T00:00:00Z") },
    );
    bend_erasure(&mut world, |e| {
        let due = at("2036-12-31T00:00:00Z");
        let law = "HGB s. 257(4): commercial records, ten years".into();
        e.deferred = vec![Deferred { class: "invoices".into(), law, due: Some(due) }];
        e.requested = EntryIndex(430);
        e.completed = Some(EntryIndex(432));
    });
    let named: u64 = world.inputs.accesses.iter().map(|(_, a)| a.named.count).sum();
    world.inputs.access_cover.attributed = named - 3;
    world.inputs.access_cover.erased = 3;
    world
}
