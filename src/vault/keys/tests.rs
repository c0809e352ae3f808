//! The bound of the key cache: its arithmetic is that of the structures, and it holds however many
//! persons come.

use super::*;
use crate::format::cell::ClassKey;

fn person(number: u64) -> (PersonId, PersonCell) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let key = ClassKey { class: ClassId(1), created: Day(20_000), key: Key::new([1; 32]) };
    let cell = PersonCell {
        id: PersonId(id),
        retired: false,
        created: Day(20_000),
        token: Key::new([2; 32]),
        keys: vec![key],
        links: Vec::new(),
        peers: Vec::new(),
    };
    (PersonId(id), cell)
}

fn named(number: u64) -> Identifier {
    Identifier { kind: "user_id".into(), value: format!("u-{number:06}").into() }
}

#[test]
fn rows_take_what_the_arithmetic_says() {
    assert!(size_of::<PersonKeys>() <= 128);
    assert!(size_of::<(PersonId, u32)>() <= 20);
    assert!(size_of::<SubjectKeys>() <= 216);
    assert!(size_of::<(SubjectTag, (PersonId, ClassId))>() <= 40);
    // The number of persons that the limit's comment promises.
    let one = IDENTIFIER_BYTES + 12 + PERSON_BYTES + CLASS_KEY_BYTES;
    assert!(limits::KEY_CACHE_BYTES_MAX / one > 310_000, "{one}");
}

#[test]
fn the_cache_never_holds_more_than_its_limit_and_one_batch() {
    const LIMIT: usize = 200_000;
    const BATCH: u64 = 50;
    let one = IDENTIFIER_BYTES + 8 + PERSON_BYTES + CLASS_KEY_BYTES;
    let most = LIMIT + BATCH as usize * one;
    let mut cache = Cache::default();
    for batch in 0..100 {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let persons: Vec<_> = numbers.clone().map(person).collect();
        let identifiers = numbers.clone().map(|n| (named(n), person(n).0)).collect();
        cache.take(LIMIT, identifiers, &persons, Vec::new());
        assert!(cache.bytes <= most, "{} bytes", cache.bytes);
        let (persons, names) = cache.people.len();
        assert!(persons * one <= most && names * one <= most);
        // What was just taken in is there: a batch finds its own keys.
        let there = |n| cache.people.named(&named(n)) == Some(person(n).0);
        assert!(numbers.clone().all(there));
    }
    // Each eviction is counted, so that keys computed before it are not kept after it.
    assert!(cache.evictions > 10, "{}", cache.evictions);
}

/// A batch that began before midnight may find the key that another made after it.
#[test]
fn tags_begin_where_a_batch_from_before_midnight_can_have_put_them() {
    let check = |created: &str, until: &str, expect: &[&str]| {
        let (_, mut cell) = person(1);
        cell.keys[0].created = Day::parse(created).unwrap();
        let until = Day::parse(until).unwrap().month();
        let months = Keyring::monthly_tags_of(&cell, &[ClassId(1)], until).into_iter();
        let months: Vec<Month> = months.map(|(_, month, _)| month).collect();
        let days = expect.iter().map(|day| Day::parse(day).unwrap());
        assert_eq!(months, days.map(Day::month).collect::<Vec<_>>(), "{created}");
    };
    check("2026-02-01", "2026-02-03", &["2026-01-31", "2026-02-01"]);
    check("2026-02-02", "2026-03-03", &["2026-01-31", "2026-02-01", "2026-03-01"]);
    check("2026-02-03", "2026-02-03", &["2026-02-01"]);
    check("2026-01-01", "2026-01-01", &["2025-12-31", "2026-01-01"]);
    check("1970-01-01", "1970-01-01", &["1970-01-01"]);
}
