//! Range files: every range of small logs, every window, every omission.

use crate::complete::maker::{Asked, Log, OPEN, Random, head, log_key, range, range_with, trust};
use chancery::base::id::TenantId;
use chancery::format::complete::range::{RangeFound, verify};
use chancery::format::trust::Trust;
use std::ops::Range;

/// A log whose times stand still now and then.
fn log(seed: u64, size: u64) -> Log {
    let mut random = Random(seed);
    let (mut log, mut time) = (Log::default(), 1_000);
    for _ in 0..size {
        log.push(head(&mut random), time);
        time += random.below(3);
    }
    log
}

fn judge(file: &[u8]) -> Result<RangeFound, &'static str> {
    verify(&mut &*file, Some(&trust()), None).map_err(|fault| fault.verdict().unwrap_or("unread"))
}

fn verdict(file: &[u8]) -> &'static str {
    judge(file).map(|_| "VERIFIED").unwrap_or_else(|verdict| verdict)
}

#[test]
fn every_range_of_small_logs_verifies_and_nothing_else_of_it_does() {
    for size in 1..=9 {
        let log = log(size, size);
        for start in 0..size {
            for end in start + 1..=size {
                let asked = Asked::indexes(start..end);
                let found = judge(&range(&log, size, &asked)).unwrap();
                assert_eq!(found.entries(), end - start);
                assert_eq!(found.kinds.values().sum::<u64>(), end - start);
                let time = |at: u64| Some(log.entry(at).time_log);
                assert_eq!(found.cuts.first, time(start));
                assert_eq!(found.cuts.last, time(end - 1));
                assert_eq!(found.cuts.before, start.checked_sub(1).and_then(time));
                // Any other run under the same question.
                for first in 0..size {
                    for last in first + 1..=size {
                        let run = first..last;
                        if run != (start.saturating_sub(1)..(end + 1).min(size)) {
                            let file = range_with(&log, size, &asked, run);
                            assert_ne!(verdict(&file), "VERIFIED", "{start}..{end} of {size}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn no_byte_can_be_changed_cut_or_added() {
    let log = log(3, 7);
    let file = range(&log, 7, &Asked::indexes(2..5));
    assert_eq!(verdict(&file), "VERIFIED");
    for at in 0..file.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bad = file.clone();
            bad[at] ^= bit;
            assert_ne!(verdict(&bad), "VERIFIED", "byte {at} ^ {bit:02x}");
        }
        assert_eq!(verdict(&file[..at]), "MALFORMED", "cut at {at}");
    }
    assert_eq!(verdict(&[&file[..], &[0]].concat()), "MALFORMED");
    assert_eq!(verdict(&[]), "MALFORMED");
}

/// The entries of a window, by reading all of them.
fn naive(log: &Log, from: u64, to: u64) -> Range<u64> {
    let first = |cut: u64| (0..log.len()).find(|at| log.time(*at) >= cut).unwrap_or(log.len());
    let end = if to == OPEN { log.len() } else { first(to) };
    first(from)..end
}

#[test]
fn windows_are_cut_where_time_changes_and_nowhere_else() {
    let (mut verified, mut open, mut refused) = (0, 0, 0);
    for seed in 1..=6 {
        let log = log(100 + seed, 8);
        let (low, high) = (log.time(0), log.time(7));
        let mut cuts: Vec<u64> = (low - 1..=high + 2).collect();
        cuts.extend([0, OPEN]);
        for from in cuts.clone() {
            for to in cuts.iter().copied().filter(|to| from < *to) {
                let truth = naive(&log, from, to);
                for start in 0..=8 {
                    for end in start..=8 {
                        let asked = Asked { window: Some((from, to)), entries: start..end };
                        let found = verdict(&range(&log, 8, &asked));
                        let expect = match ((start..end) == truth, end == 8 && to != OPEN) {
                            (true, false) => "VERIFIED",
                            (true, true) => "RANGE_OPEN_END",
                            (false, _) => "RANGE_BOUNDARY",
                        };
                        assert_eq!(found, expect, "seed {seed}: [{from}, {to}) as {start}..{end}");
                        verified += u32::from(expect == "VERIFIED");
                        open += u32::from(expect == "RANGE_OPEN_END");
                        refused += u32::from(expect == "RANGE_BOUNDARY");
                    }
                }
            }
        }
    }
    assert!(verified > 100 && open > 20 && refused > 5_000, "{verified} {open} {refused}");
}

#[test]
fn attack_32_a_window_cut_inside_equal_times_or_without_its_boundary() {
    let mut random = Random(32);
    let mut log = Log::default();
    for time in [10, 20, 20, 20, 30, 40] {
        log.push(head(&mut random), time);
    }
    let window = |entries: Range<u64>| Asked { window: Some((20, 40)), entries };
    assert_eq!(verdict(&range(&log, 6, &window(1..5))), "VERIFIED");
    for cut in [2..5, 3..5, 1..4, 0..5, 1..6, 4..5] {
        assert_eq!(verdict(&range(&log, 6, &window(cut.clone()))), "RANGE_BOUNDARY", "{cut:?}");
    }
    // The boundary entry left out: the bytes no longer fit the place.
    let file = range_with(&log, 6, &window(1..5), 1..6);
    assert_ne!(verdict(&file), "VERIFIED");
    // The log ends early, so that the entries after it seem not to be there.
    assert_eq!(verdict(&range(&log, 4, &window(1..4))), "RANGE_OPEN_END");
}

#[test]
fn an_entry_left_out_swapped_or_from_elsewhere_has_a_name() {
    let honest = log(5, 9);
    let asked = Asked::indexes(2..7);
    // Left out: the entries after it move up.
    let mut short = honest.clone();
    short.entries.remove(4);
    short.leaves.remove(4);
    short.leaves.push([0; 32]);
    let name = |log: &Log| verdict(&with_note(&honest, log, &asked));
    assert_eq!(name(&short), "INDEX_OR_PREV_MISMATCH");
    let mut swapped = honest.clone();
    swapped.entries.swap(3, 4);
    assert_eq!(name(&swapped), "INDEX_OR_PREV_MISMATCH");
    // Written anew, chain and all: only the signed root is against it.
    let mut forged = Log::default();
    for at in 0..9 {
        let mut entry = honest.entry(at);
        entry.head.outcome = chancery::base::event::Outcome::Error;
        forged.push(entry.head, entry.time_log.0);
    }
    assert_eq!(name(&forged), "PROOF_ROOT");
    let mut foreign = Log::default();
    let mut late = Log::default();
    for at in 0..9 {
        let mut entry = honest.entry(at);
        late.push(entry.head.clone(), 100 - at);
        entry.head.tenant = TenantId([8; 16]);
        foreign.push(entry.head, entry.time_log.0);
    }
    assert_eq!(name(&foreign), "TENANT_MISMATCH");
    assert_eq!(name(&late), "TIME_REGRESSION");
    let beyond = Asked::indexes(2..10);
    assert_eq!(verdict(&range_with(&honest, 9, &beyond, 1..9)), "PROOF_RANGE");
}

/// A file over `shown`, under the checkpoint of `signed`.
fn with_note(signed: &Log, shown: &Log, asked: &Asked) -> Vec<u8> {
    let size = signed.len();
    let (own, note) = (shown.checkpoint(size), signed.checkpoint(size));
    assert_eq!(own.len(), note.len());
    let mut file = range(shown, size, asked);
    let at = 18 + 33 + 4;
    assert_eq!(&file[at..at + own.len()], own.as_bytes());
    file[at..at + own.len()].copy_from_slice(note.as_bytes());
    file
}

#[test]
fn who_is_not_pinned_is_not_believed_and_without_trust_nothing_is_signed() {
    let log = log(8, 6);
    let file = range(&log, 6, &Asked::indexes(1..3));
    let other = crate::complete::maker::signer(log_key().verifier().name(), 0x99);
    let other = Trust::of(&[other.verifier().clone()], &[]).unwrap();
    let fault = verify(&mut &*file, Some(&other), None).unwrap_err();
    assert_eq!(fault.verdict(), Some("UNTRUSTED_KEY"));
    let alone = verify(&mut &*file, None, None).unwrap();
    assert_eq!(alone.signed.trusted, None);
    // A forged root is consistent with itself only as long as the entries lead to it.
    let mut bad = file;
    let at = bad.len() - 1;
    bad[at] ^= 1;
    assert_eq!(verify(&mut &*bad, None, None).unwrap_err().verdict(), Some("PROOF_ROOT"));
}
