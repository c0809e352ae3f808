//! Answer files: what is found against a naive scan, and attacks 30 and 31: rows, neighbours,
//! entries, epochs and seals left out or made up.

use crate::complete::maker::{
    Answer, Asked, EPOCH, Log, OPEN, Random, Row, Sealed, Table, claim, endless_tail, head,
    log_key, mth, range, report_key, row_key, rows_of, runs, signer, trust,
};
use chancery::base::entry::{Head, Kind};
use chancery::base::id::Hash32;
use chancery::base::unit::UtcNanos;
use chancery::format::complete::answer::{AnswerFound, verify};
use chancery::format::complete::range;
use chancery::format::note;
use chancery::format::seal::epoch::EpochTables;
use chancery::format::seal::payload::SealPayload;
use chancery::format::seal::sample::Sample;
use chancery::format::trust::Trust;
use std::sync::LazyLock;

/// Two sealed epochs and a tail. The seal of epoch 0 is entry 65,536, that of epoch 1 131,072.
static WORLD: LazyLock<Sealed> = LazyLock::new(|| {
    let mut random = Random(11);
    let (mut log, mut time) = (Log::default(), 1_000);
    for _ in 0..2 {
        while log.len() % EPOCH != 0 || log.len() < 2 {
            log.push(head(&mut random), time);
            time += random.below(3);
        }
        let seal = sealed(&log, log.len() / EPOCH - 1);
        push_seal(&mut log, &seal, time);
    }
    for _ in 0..300 {
        log.push(head(&mut random), time);
        time += random.below(3);
    }
    Sealed::of(log)
});

/// What the seal of an epoch must say.
fn sealed(log: &Log, epoch: u64) -> SealPayload {
    let entries: Vec<_> = (epoch * EPOCH..(epoch + 1) * EPOCH).map(|at| log.entry(at)).collect();
    let tables = EpochTables::build(epoch, &entries).unwrap();
    let leaves = &log.leaves[(epoch * EPOCH) as usize..((epoch + 1) * EPOCH) as usize];
    tables.payload(&tables.tables(), Hash32(mth(leaves))).unwrap()
}

fn push_seal(log: &mut Log, seal: &SealPayload, time: u64) {
    let bare = head(&mut Random(0));
    let head = Head {
        kind: Kind::Seal,
        clear: seal.encode(),
        tags: Vec::new(),
        groups: Vec::new(),
        fields: Vec::new(),
        source_seq: None,
        ..bare
    };
    log.push(head, time);
}

fn judge(file: &[u8]) -> Result<AnswerFound, &'static str> {
    verify(&mut &*file, Some(&trust())).map_err(|fault| fault.verdict().unwrap_or("unread"))
}

fn verdict(answer: &Answer, log: &Log) -> &'static str {
    judge(&answer.bytes(log)).map(|_| "VERIFIED").unwrap_or_else(|verdict| verdict)
}

/// With a claim where one is needed.
fn ask(world: &Sealed, asked: &Asked, kind: u8, keys: &[[u8; 16]]) -> Answer {
    let mut answer = Answer::honest(world, world.log.len(), asked, (kind, keys));
    if kind == 1 || kind == 3 {
        answer.claim = claim(&world.log, &answer, &report_key());
    }
    answer
}

/// Entries with one of the keys, by reading all of them.
fn naive(log: &Log, asked: &Asked, kind: u8, keys: &[[u8; 16]]) -> Vec<u64> {
    let has = |at: &u64| {
        let rows = rows_of(&log.entry(*at));
        rows.iter().any(|row| keys.iter().any(|key| row[..17] == row_key(kind, key)[..]))
    };
    asked.entries.clone().filter(has).collect()
}

/// A subject tag of a person with few entries, and one nobody has.
fn tag(byte: u8) -> [u8; 16] {
    [byte; 16]
}

#[test]
fn what_is_found_is_what_a_naive_scan_finds() {
    let (world, seed) = (&*WORLD, 77);
    println!("seed {seed}");
    let (mut random, size) = (Random(seed), WORLD.log.len());
    let (mut absent, mut found) = (0, 0);
    for round in 0..90 {
        let kind = round as u8 % 9 + 1;
        let mut keys: Vec<[u8; 16]> = (0..random.below(3) + 1)
            .filter_map(|_| {
                let rows = rows_of(&world.log.entry(random.below(size)));
                let own = rows.iter().rfind(|row| row[0] == kind);
                let mut key: [u8; 16] = own?[1..17].try_into().unwrap();
                key[15] ^= u8::from(random.below(3) == 0);
                Some(key)
            })
            .collect();
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            continue;
        }
        let (a, b) = (random.below(size), random.below(size));
        let asked = match random.below(4) {
            0 => Asked::indexes(0..size),
            1 => {
                let (from, to) = (world.log.time(a.min(b)), world.log.time(a.max(b)) + 1);
                let cut = |time: u64| (0..size).find(|at| world.log.time(*at) >= time);
                let entries = cut(from).unwrap()..cut(to).unwrap_or(size);
                let to = if entries.end == size { OPEN } else { to };
                Asked { window: Some((from, to)), entries }
            }
            _ => Asked::indexes(a.min(b)..a.max(b) + 1),
        };
        let answer = ask(world, &asked, kind, &keys);
        let judged = judge(&answer.bytes(&world.log));
        let judged = judged.unwrap_or_else(|why| panic!("round {round}: {why} for {asked:?}"));
        let indexes: Vec<u64> = judged.found.iter().map(|index| index.0).collect();
        assert_eq!(indexes, naive(&world.log, &asked, kind, &keys), "round {round}");
        let first = judged.listed.first().map(|one| one.entry.clone());
        assert_eq!(first, indexes.first().map(|at| world.log.entry(*at)));
        absent += u32::from(indexes.is_empty());
        found += u32::from(!indexes.is_empty());
    }
    assert!(absent > 5 && found > 30, "{absent} {found}");
}

#[test]
fn absence_is_two_neighbours_in_every_epoch() {
    let world = &*WORLD;
    let everything = Asked::indexes(0..world.log.len());
    let answer = ask(world, &everything, 1, &[tag(151)]);
    assert!(
        answer.tables.iter().all(|table| table.runs.iter().all(|run| run.end - run.start <= 2))
    );
    let found = judge(&answer.bytes(&world.log)).unwrap();
    assert_eq!((found.found.len(), found.seals.len()), (0, 2));
    assert_eq!(found.seals[1], (1, chancery::base::unit::EntryIndex(2 * EPOCH)));
    // Before every row, and after every row.
    for (kind, key) in [(1, tag(0)), (9, tag(255)), (1, tag(255)), (8, tag(0))] {
        assert_eq!(verdict(&ask(world, &everything, kind, &[key]), &world.log), "VERIFIED");
    }
    // A window without entries: two entries side by side show it.
    let gap = (1..world.log.len()).find(|at| world.log.time(*at) > world.log.time(at - 1) + 1);
    let at = gap.unwrap();
    let window = Some((world.log.time(at - 1) + 1, world.log.time(at)));
    let empty = Asked { window, entries: at..at };
    let answer = ask(world, &empty, 2, &[tag(1)]);
    assert_eq!(answer.shown, [at - 1, at]);
    assert_eq!(verdict(&answer, &world.log), "VERIFIED");
}

#[test]
fn attack_30_rows_and_neighbours_left_out_or_made_up() {
    let world = &*WORLD;
    let log = &world.log;
    let everything = Asked::indexes(0..log.len());
    let key = tag(20);
    let honest = ask(world, &everything, 1, &[key]);
    assert_eq!(verdict(&honest, log), "VERIFIED");
    let own = |row: &Row| row[..17] == row_key(1, &key)[..];
    // One posting left out of the table, its entry not shown.
    let mut less = honest.clone();
    let at = less.tables[0].rows.iter().position(own).unwrap();
    let gone = less.tables[0].rows.remove(at);
    let index = u64::from_be_bytes(gone[17..].try_into().unwrap());
    less.shown.retain(|shown| *shown != index);
    assert_eq!(verdict(&less, log), "QUERY_ROOT");
    // The same with a made-up row in its place, so that the number of rows is right.
    let mut faked = less.clone();
    let mut row = faked.tables[0].rows[at - 1];
    row[16] = row[16].wrapping_add(1);
    faked.tables[0].rows.insert(at, row);
    faked.tables[0].rows.sort();
    assert_eq!(verdict(&faked, log), "QUERY_ROOT");
    // A neighbour made up.
    let mut neighbour = honest.clone();
    let leaf = neighbour.tables[0].runs[0].start as usize * 163;
    neighbour.tables[0].rows[leaf][24] ^= 1;
    neighbour.tables[0].rows.sort();
    assert_ne!(neighbour.tables[0].root(), honest.tables[0].root());
    assert_eq!(verdict(&neighbour, log), "QUERY_ROOT");
    // Leaves with rows of the key not shown.
    let many = ask(world, &everything, 6, &[[0; 16]]);
    let run = many.tables[0].runs[0].clone();
    assert!(run.end - run.start > 3);
    for runs in [
        vec![run.start..run.end - 1],
        vec![run.start + 1..run.end],
        vec![run.start..run.start + 1, run.end - 1..run.end],
    ] {
        let mut cut = many.clone();
        cut.tables[0] = Table { runs, rows: cut.tables[0].rows.clone() };
        assert_eq!(verdict(&cut, log), "QUERY_NEIGHBOUR");
    }
}

#[test]
fn attack_30_entries_left_out_swapped_or_pushed_in() {
    let world = &*WORLD;
    let log = &world.log;
    let window = Some((log.time(70_000), OPEN));
    let first = (0..log.len()).find(|at| log.time(*at) >= log.time(70_000)).unwrap();
    let asked = Asked { window, entries: first..log.len() };
    let honest = ask(world, &asked, 1, &[tag(20), tag(24)]);
    assert_eq!(verdict(&honest, log), "VERIFIED");
    let seals: Vec<u64> = world.seals.values().copied().collect();
    let mut missing = 0;
    // All that stand alone, and every 40th of the many in the tail.
    let picked = |(at, place): &(usize, &u64)| **place < 2 * EPOCH + 2 || at % 40 == 0;
    for (at, place) in honest.shown.iter().enumerate().filter(picked) {
        let mut bad = honest.clone();
        bad.shown.remove(at);
        let asked_seal = seals.contains(place) && *place < 2 * EPOCH;
        let expect = match (asked_seal, *place == 2 * EPOCH) {
            // The seal of epoch 1 also lies in the tail, where every entry is named.
            (false, _) => "QUERY_ENTRY_MISSING",
            _ => "SEAL_MISSING",
        };
        assert_eq!(verdict(&bad, log), expect, "entry {place}");
        missing += 1;
    }
    assert!(missing > 12, "{missing}");
    for extra in [5, first + 50, 131_000] {
        let mut bad = honest.clone();
        if !bad.shown.contains(&extra) {
            bad.shown.push(extra);
            bad.shown.sort_unstable();
            assert_eq!(verdict(&bad, log), "MALFORMED", "entry {extra}");
        }
    }
    // One shown entry's bytes are another's.
    let mut swapped = log.clone();
    let (one, other) = (honest.shown[1] as usize, honest.shown[2] as usize);
    swapped.entries.swap(one, other);
    assert_eq!(verdict(&honest, &swapped), "INDEX_OR_PREV_MISMATCH");
    let mut cut = honest.clone();
    cut.asked.entries.start += 1;
    assert_ne!(verdict(&cut, log), "VERIFIED");
}

#[test]
fn attack_30_epochs_left_out_or_moved() {
    let world = &*WORLD;
    let log = &world.log;
    let everything = Asked::indexes(0..log.len());
    let honest = ask(world, &everything, 2, &[[1; 16]]);
    assert_eq!(verdict(&honest, log), "VERIFIED");
    let mut dropped = honest.clone();
    dropped.tables.remove(0);
    assert_eq!(verdict(&dropped, log), "MALFORMED");
    let mut moved = honest.clone();
    moved.tables.swap(0, 1);
    assert_eq!(verdict(&moved, log), "MALFORMED");
    // Fewer epochs are said to be sealed, and the others are shown as far as it pleases.
    let mut fewer = honest.clone();
    fewer.open_from = 1;
    fewer.tables.pop();
    assert_eq!(verdict(&fewer, log), "QUERY_ENTRY_MISSING");
    // More epochs than are over.
    let mut more = honest.clone();
    more.open_from = 3;
    assert_eq!(verdict(&more, log), "PROOF_RANGE");
    more.open_from = 4;
    assert_eq!(verdict(&more, log), "MALFORMED");
    let mut none = honest.clone();
    none.keys = vec![[2; 16], [1; 16]];
    assert_eq!(verdict(&none, log), "MALFORMED");
    none.keys = vec![];
    assert_eq!(verdict(&none, log), "MALFORMED");
}

/// One whole epoch, and what comes behind it.
fn one_epoch(seals: &[SealPayload]) -> Sealed {
    let mut log = Log {
        entries: WORLD.log.entries[..EPOCH as usize].to_vec(),
        leaves: WORLD.log.leaves[..EPOCH as usize].to_vec(),
    };
    let time = log.time(EPOCH - 1);
    seals.iter().for_each(|seal| push_seal(&mut log, seal, time));
    Sealed::of(log)
}

#[test]
fn attack_31_a_seal_that_lies_is_refused_or_found_by_replay() {
    let truth = sealed(&WORLD.log, 0);
    let everything = Asked::indexes(0..EPOCH + 1);
    let zero = Hash32([0; 32]);
    let of = |lie: &dyn Fn(&mut SealPayload)| {
        let mut seal = truth;
        lie(&mut seal);
        one_epoch(&[seal])
    };
    let replay = |world: &Sealed| {
        let file = range(&world.log, world.log.len(), &everything);
        let sample = Sample::all();
        let found = range::verify(&mut &*file, Some(&trust()), Some(&sample));
        found.map(|_| "VERIFIED").unwrap_or_else(|fault| fault.verdict().unwrap_or("unread"))
    };
    let honest = of(&|_| ());
    assert_eq!(
        (verdict(&ask(&honest, &everything, 6, &[[0; 16]]), &honest.log), replay(&honest)),
        ("VERIFIED", "VERIFIED")
    );
    // What an answer sees at once, and what only a replay sees.
    type Lie<'a> = (&'static str, &'a dyn Fn(&mut SealPayload));
    let lies: [Lie<'_>; 9] = [
        ("SEAL_MISMATCH", &|s| s.root = zero),
        ("SEAL_MISMATCH", &|s| s.t_last = UtcNanos(s.t_first.0)),
        ("QUERY_ROOT", &|s| s.index_root = zero),
        ("QUERY_ROOT", &|s| s.index_rows -= 1),
        ("VERIFIED", &|s| s.count_root = zero),
        ("VERIFIED", &|s| s.count_rows += 1),
        ("VERIFIED", &|s| s.source_root = zero),
        ("VERIFIED", &|s| s.class_rows += 1),
        ("VERIFIED", &|s| s.t_first = UtcNanos(s.t_first.0 - 1)),
    ];
    for (number, (expect, lie)) in lies.iter().enumerate() {
        let world = of(lie);
        let answer = ask(&world, &everything, 1, &[tag(20)]);
        assert_eq!(verdict(&answer, &world.log), *expect, "lie {number}");
        assert_eq!(replay(&world), "SEAL_MISMATCH", "lie {number}");
    }
}

#[test]
fn attack_31_a_table_without_a_posting_under_a_seal_that_covers_it() {
    // The vault seals a table from which a posting is missing. The answer is what the seal says;
    // the replay is what the entries say.
    let mut rows = WORLD.rows[&0].clone();
    let key = row_key(1, &tag(20));
    // One at which log time moved on, so that a window can be cut there.
    let named = |row: &Row| u64::from_be_bytes(row[17..].try_into().unwrap());
    let moved = |at: u64| at > 0 && WORLD.log.time(at) > WORLD.log.time(at - 1);
    let at = rows.iter().position(|row| row[..17] == key[..] && moved(named(row))).unwrap();
    let gone = named(&rows.remove(at));
    let mut seal = sealed(&WORLD.log, 0);
    let table = Table::around(rows.clone(), &[key]);
    (seal.index_rows, seal.index_root) = (rows.len() as u64, Hash32(table.root()));
    let mut world = one_epoch(&[seal]);
    world.rows.insert(0, rows);
    let everything = Asked::indexes(0..EPOCH + 1);
    let answer = ask(&world, &everything, 1, &[tag(20)]);
    let found = judge(&answer.bytes(&world.log)).unwrap();
    assert!(found.found.iter().all(|index| index.0 != gone) && !found.found.is_empty());
    assert_eq!(found.seals.len(), 1, "it says that it rests on a seal");
    let file = range(&world.log, world.log.len(), &everything);
    let sample = Sample::new(1, b"").unwrap();
    let fault = range::verify(&mut &*file, Some(&trust()), Some(&sample)).unwrap_err();
    assert_eq!(fault.verdict(), Some("SEAL_MISMATCH"));
    assert!(fault.to_string().contains("index_rows"), "{fault}");
    // When the very entry is at hand, as here at the cut of a window, no replay is needed.
    let asked =
        Asked { window: Some((world.log.time(gone), OPEN)), entries: gone..world.log.len() };
    let answer = ask(&world, &asked, 1, &[tag(20)]);
    assert!(answer.shown.contains(&gone));
    assert_eq!(verdict(&answer, &world.log), "SEAL_MISMATCH");
}

#[test]
fn attack_31_two_seals_or_the_seal_of_another_epoch() {
    let truth = sealed(&WORLD.log, 0);
    let mut other = truth;
    other.index_root = Hash32([9; 32]);
    let world = one_epoch(&[truth, other]);
    let everything = Asked::indexes(0..EPOCH + 2);
    let mut answer = ask(&world, &Asked::indexes(0..EPOCH), 1, &[tag(20)]);
    assert_eq!(verdict(&answer, &world.log), "VERIFIED", "the second seal is not shown");
    answer.shown.push(EPOCH + 1);
    assert_eq!(verdict(&answer, &world.log), "SEAL_DUPLICATE");
    assert_eq!(verdict(&ask(&world, &everything, 1, &[tag(20)]), &world.log), "SEAL_DUPLICATE");
    let file = range(&world.log, world.log.len(), &everything);
    let fault = range::verify(&mut &*file, Some(&trust()), Some(&Sample::all())).unwrap_err();
    assert_eq!(fault.verdict(), Some("SEAL_DUPLICATE"));
    // In a log of two epochs each is answered under the seal of the other.
    let answer = ask(&WORLD, &Asked::indexes(0..EPOCH), 1, &[tag(20)]);
    let mut wrong = answer.clone();
    wrong.shown.retain(|at| *at != EPOCH);
    assert_eq!(verdict(&wrong, &WORLD.log), "SEAL_MISSING");
    wrong.shown.push(2 * EPOCH);
    assert_eq!(verdict(&wrong, &WORLD.log), "MALFORMED", "nobody asked for that seal");
}

#[test]
fn a_replay_without_the_seal_says_so() {
    let file = range(&WORLD.log, WORLD.log.len(), &Asked::indexes(0..EPOCH));
    let found = range::verify(&mut &*file, Some(&trust()), Some(&Sample::all())).unwrap();
    let replayed = found.replayed.unwrap();
    // The neighbour of the range is the seal.
    assert_eq!(replayed.agree, [(0, chancery::base::unit::EntryIndex(EPOCH))]);
    let file = range(&WORLD.log, WORLD.log.len(), &Asked::indexes(0..EPOCH - 1));
    let found = range::verify(&mut &*file, Some(&trust()), Some(&Sample::all())).unwrap();
    let replayed = found.replayed.unwrap();
    assert_eq!((replayed.agree, replayed.unsealed), (vec![], vec![0]));
    let file = range(&WORLD.log, WORLD.log.len(), &Asked::indexes(1..EPOCH + 1));
    let found = range::verify(&mut &*file, Some(&trust()), Some(&Sample::all())).unwrap();
    assert_eq!(found.replayed.unwrap().agree.len(), 1, "the entry before is shown too");
    let file = range(&WORLD.log, WORLD.log.len(), &Asked::indexes(2..EPOCH + 1));
    let found = range::verify(&mut &*file, Some(&trust()), Some(&Sample::all())).unwrap();
    assert_eq!(found.replayed.unwrap(), Default::default());
}

/// The text of a note.
fn text_of(note: &str) -> String {
    note.rsplit_once("\n\n").unwrap().0.to_owned() + "\n"
}

#[test]
fn a_claim_is_signed_about_these_keys_of_this_log() {
    let world = &*WORLD;
    let log = &world.log;
    let asked = Asked::indexes(0..log.len());
    let honest = ask(world, &asked, 1, &[tag(20), tag(22)]);
    let found = judge(&honest.bytes(log)).unwrap();
    assert!(found.claim.is_some());
    assert_eq!(verdict(&ask(world, &asked, 3, &[tag(2)]), log), "VERIFIED");
    let with = |claim: String| {
        let bad = Answer { claim, ..honest.clone() };
        verdict(&bad, log)
    };
    assert_eq!(with(String::new()), "MALFORMED");
    let stranger = signer(report_key().verifier().name(), 0x77);
    assert_eq!(with(claim(log, &honest, &stranger)), "UNTRUSTED_KEY");
    assert_eq!(with(claim(log, &honest, &log_key())), "UNTRUSTED_KEY");
    // Another pinned vault's report key speaks for itself only.
    let other = signer("other.example/r/07070707070707070707070707070707", 0x53);
    let both = [report_key().verifier().clone(), other.verifier().clone()];
    let two = Trust::of(&[log_key().verifier().clone()], &both).unwrap();
    let lent = note::sign(&text_of(&honest.claim), &[&other]).unwrap();
    let lent = Answer { claim: lent, ..honest.clone() };
    let fault = verify(&mut &*lent.bytes(log), Some(&two)).unwrap_err();
    assert_eq!(fault.verdict(), Some("UNTRUSTED_KEY"));
    let own = Answer { claim: claim(log, &honest, &other), ..honest.clone() };
    let fault = verify(&mut &*own.bytes(log), Some(&two)).unwrap_err();
    assert_eq!(fault.verdict(), Some("TENANT_MISMATCH"));
    assert_eq!(with(honest.claim.replacen("anna", "dora", 1)), "BAD_SIGNATURE");
    let fewer = Answer { keys: vec![tag(20)], ..honest.clone() };
    assert_eq!(with(claim(log, &fewer, &report_key())), "QUERY_CLAIM");
    let earlier = Answer { size: 70_000, ..honest.clone() };
    assert_eq!(with(claim(log, &earlier, &report_key())), "QUERY_CLAIM");
    let source = ask(world, &asked, 3, &[tag(2)]);
    assert_eq!(with(source.claim), "MALFORMED");
    let mut code = ask(world, &asked, 2, &[tag(2)]);
    code.claim = honest.claim.clone();
    assert_eq!(verdict(&code, log), "MALFORMED", "keys that everybody can compute need none");
}

#[test]
fn an_answer_that_claims_to_show_more_than_memory_holds_is_refused() {
    let file = endless_tail();
    assert!(file.len() < 600);
    assert_eq!(judge(&file).err(), Some("QUERY_ENTRY_MISSING"));
    let alone = verify(&mut &*file, None).err().and_then(|fault| fault.verdict());
    assert_eq!(alone, Some("QUERY_ENTRY_MISSING"));
}

#[test]
fn no_byte_of_an_answer_can_be_changed_or_cut() {
    let world = &*WORLD;
    let log = &world.log;
    let asked = Asked::indexes(1_000..2 * EPOCH);
    let file = ask(world, &asked, 1, &[tag(20)]).bytes(log);
    assert!(judge(&file).is_ok());
    let mut random = Random(5);
    for _ in 0..4_000 {
        let at = random.below(file.len() as u64) as usize;
        let mut bad = file.clone();
        bad[at] ^= 1 << random.below(8);
        assert!(judge(&bad).is_err(), "byte {at}");
    }
    for _ in 0..300 {
        let at = random.below(file.len() as u64) as usize;
        assert_eq!(judge(&file[..at]).err(), Some("MALFORMED"), "cut at {at}");
    }
    assert_eq!(judge(&[&file[..], b"\n"].concat()).err(), Some("MALFORMED"));
    // Every byte of a small one.
    let small =
        Sealed::of(Log { entries: log.entries[..5].to_vec(), leaves: log.leaves[..5].to_vec() });
    let answer = Answer::honest(&small, 5, &Asked::indexes(1..4), (6, &[[0; 16]]));
    let file = answer.bytes(&small.log);
    assert!(judge(&file).is_ok());
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut bad = file.clone();
            bad[at] ^= 1 << bit;
            // Another question may have the same answer: only what was asked for counts.
            if let Ok(found) = judge(&bad) {
                let before = judge(&file).unwrap();
                assert_ne!(found.question, before.question, "byte {at} bit {bit}");
                assert_eq!(
                    found.found.iter().map(|index| index.0).collect::<Vec<_>>(),
                    naive(
                        &small.log,
                        &Asked::indexes(found.question.scope.first.0..found.question.scope.end.0),
                        found.question.kind.value(),
                        &found.question.keys
                    )
                );
            }
        }
    }
    assert_eq!(runs([1, 2, 4]), [1..3, 4..5]);
}
