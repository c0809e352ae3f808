//! Packed segments give back every byte, and refuse everything else.

use super::block::{self, Start};
use super::segment::{self, Row, Rows};
use crate::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use crate::base::event::{EventCode, Outcome, Severity};
use crate::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, TreeSize, UtcNanos};
use crate::crypto::hash::leaf_hash;
use crate::format::entry;
use crate::format::unit::{self, BodySpan, UnitHead};
use crate::format::wire::{Reader, Write};
use proptest::prelude::*;

const TENANT: TenantId = TenantId([9; 16]);

/// What varies in an entry: everything the columns treat on its own.
type Seed = (u64, u64, u8, Option<u64>, u8, u8, Vec<u8>, [u8; 16]);

fn head(seed: &Seed) -> Head {
    let (time, _, source, seq, n_tags, n_fields, clear, random) = seed;
    let tags: Vec<SubjectTag> = (0..*n_tags).map(|t| SubjectTag([t; 16])).collect();
    let some = *n_fields > 0;
    let policy = if tags.is_empty() { GroupPolicy::Tenant } else { GroupPolicy::AnySubject };
    let group = GroupHead {
        policy,
        class: ClassId(u16::from(*source)),
        bucket: Day(20_000 + u32::from(*source)),
        tags: (0..*n_tags).collect(),
    };
    let field = |f: u8| FieldHead {
        name: format!("field.{f:03}").into(),
        group: 0,
        commitment: Hash32([f ^ random[0]; 32]),
    };
    Head {
        kind: if some { Kind::Event } else { Kind::Conflict },
        class: ClassId(u16::from(*source) * 300),
        time: UtcNanos(*time),
        tenant: TENANT,
        record: RecordId(*random),
        event_id: if seq.is_none() { EventIdTag(*random) } else { EventIdTag::ZERO },
        source: SourceHandle([*source; 16]),
        source_seq: *seq,
        code: EventCode::from_value(0x0502).unwrap(),
        outcome: Outcome::from_value(source % 5).unwrap(),
        severity: Severity::new(source % 11).unwrap(),
        tags,
        groups: if some { vec![group] } else { Vec::new() },
        fields: (0..*n_fields).map(field).collect(),
        clear: clear.clone(),
    }
}

/// The bytes of units over these entries, each unit as long as its number says.
fn units(seeds: &[Seed], lens: &[usize]) -> Vec<u8> {
    let (mut out, mut next, mut seeds) = (Vec::new(), Start::ZERO, seeds.iter());
    for len in lens.iter().cycle() {
        let first = next.entry;
        let mut entries = Vec::new();
        for seed in seeds.by_ref().take(*len) {
            let (index, prev) = (next.entry, next.leaf);
            let entry = Entry { head: head(seed), index, time_log: UtcNanos(seed.1), prev };
            let bytes = entry::encode(&entry).unwrap();
            next.leaf = leaf_hash(&bytes);
            next.entry = EntryIndex(index.0 + 1);
            entries.put_lp16(&bytes);
        }
        if first == next.entry {
            return out;
        }
        let class_day = ClassDay { class: ClassId(7), day: Day(20_000) };
        let mut head = UnitHead {
            len: 0,
            number: next.unit,
            epoch: *len as u64,
            prev: next.unit_hash,
            first,
            end: TreeSize(next.entry.0),
            root: Hash32([*len as u8; 32]),
            state_before: (first.0 > 0).then_some(EntryIndex(first.0 / 2)),
            spans: vec![BodySpan { class_day, start: first.0, end: next.entry.0 + 40 }],
        };
        let (bytes, hash) = unit::encode(&mut head, &entries, |_| [*len as u8; 64]);
        (next.unit, next.unit_hash) = (next.unit + 1, hash);
        out.extend(bytes);
    }
    out
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let time =
        prop_oneof![Just(0), any::<u64>(), 1_700_000_000_000_000_000..1_700_000_001_000_000_000u64];
    let seq = proptest::option::of(any::<u64>());
    let clear = proptest::collection::vec(any::<u8>(), 0..40);
    let one = (time, any::<u64>(), 0u8..5, seq, 0u8..4, 0u8..6, clear, any::<[u8; 16]>());
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #[test]
    fn a_block_gives_back_every_byte(
        seeds in seeds(),
        lens in proptest::collection::vec(1usize..20, 1..6),
    ) {
        let units = units(&seeds, &lens);
        let (packed, after) = block::pack(&TENANT, Start::ZERO, &units).unwrap();
        let back = block::unpack(&TENANT, &packed).unwrap();
        prop_assert_eq!(back.start, Start::ZERO);
        prop_assert_eq!(back.units, units);
        prop_assert_eq!(after.entry.0, seeds.len() as u64);
        prop_assert_eq!(block::peek(&packed).unwrap().0, Start::ZERO);
    }

    #[test]
    fn a_damaged_block_is_refused(
        seeds in seeds(),
        at in any::<proptest::sample::Index>(),
        bit in 0u8..8,
        mended in any::<bool>(),
    ) {
        let units = units(&seeds, &[7]);
        let (mut packed, _) = block::pack(&TENANT, Start::ZERO, &units).unwrap();
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        if mended {
            let crc = crc32fast::hash(&packed[8..]);
            packed[4..8].copy_from_slice(&crc.to_be_bytes());
        }
        // Whoever mends the CRC gets whatever comes out judged like any other units; here it must
        // only not panic.
        prop_assert!(block::unpack(&TENANT, &packed).is_err() || mended);
    }

    #[test]
    fn anything_else_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(block::unpack(&TENANT, &bytes).is_err());
        prop_assert!(Rows::decode(&bytes).is_err());
    }

    #[test]
    fn numbers_have_one_form(value in any::<u64>(), difference in any::<i64>()) {
        let mut out = Vec::new();
        out.put_varint(value);
        out.put_zigzag(difference);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.varint("n").unwrap(), value);
        prop_assert_eq!(reader.zigzag("d").unwrap(), difference);
        prop_assert!(reader.done().is_ok());
    }
}

#[test]
fn long_forms_of_numbers_are_refused() {
    for bytes in [
        &[0x80, 0][..],
        &[0xff; 10],
        &[0x80; 3],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
    ] {
        assert!(Reader::new(bytes).varint("n").is_err(), "{bytes:02x?}");
    }
}

#[test]
fn units_that_do_not_follow_are_not_packed() {
    let seed: Seed = (1, 2, 1, Some(4), 1, 2, b"{}".to_vec(), [3; 16]);
    let all = units(&[seed.clone(), seed], &[1]);
    let one = unit::decode_head(&mut Reader::new(&all)).unwrap().len as usize;
    assert!(block::pack(&TENANT, Start::ZERO, &all[one..]).is_err(), "the first is missing");
    assert!(block::pack(&TENANT, Start::ZERO, &all[..all.len() - 1]).is_err(), "cut short");
    assert!(block::pack(&TenantId([8; 16]), Start::ZERO, &all).is_err(), "another tenant");
    let (_, next) = block::pack(&TENANT, Start::ZERO, &all[..one]).unwrap();
    let (packed, _) = block::pack(&TENANT, next, &all[one..]).unwrap();
    assert_eq!(block::unpack(&TENANT, &packed).unwrap().units, &all[one..]);
}

#[test]
fn rows_find_the_block_of_a_byte() {
    let row = |plain, packed, unit, entry| Row { plain, packed, unit, entry: EntryIndex(entry) };
    let rows =
        Rows { rows: vec![row(0, 24, 3, 9), row(100, 60, 4, 12)], plain_len: 150, packed_end: 90 };
    let bytes = rows.encode();
    assert_eq!(Rows::decode(&bytes).unwrap(), rows);
    let end = &bytes[bytes.len() - segment::TRAILER_BYTES..];
    assert_eq!(Rows::trailer(end).unwrap(), (90, 2));
    for (at, expect) in [(0, Some(0..100)), (99, Some(0..100)), (100, Some(100..150)), (150, None)]
    {
        assert_eq!(rows.at(at).map(|place| place.plain), expect, "byte {at}");
    }
    assert_eq!(rows.at(149).map(|place| place.packed), Some(60..90));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(Rows::decode(&bad).is_err(), "byte {at}");
    }
    let (segment, tenant) = segment::decode_head(&segment::head(5, &TENANT)).unwrap();
    assert_eq!((segment, tenant), (5, TENANT));
}
