//! Every backend the CPU has against `sha2`, by length, by batch and by entry point.

use chancery::base::id::Hash32;
use chancery::crypto::hash::{State, compress, finish, node_hash};
use chancery::crypto::lanes::{Backend, Lanes};
use proptest::prelude::*;
use sha2::Digest as _;

fn every() -> Vec<Lanes> {
    let found: Vec<Lanes> =
        Backend::available().into_iter().map(|backend| Lanes::with(backend).unwrap()).collect();
    assert_eq!(found.last().unwrap().backend(), Backend::Portable);
    assert_eq!(found.first(), Some(&Lanes::detect()), "detect takes the first");
    found
}

fn expect(message: &[u8]) -> Hash32 {
    Hash32(sha2::Sha256::digest(message).into())
}

fn message(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// Digest, absorb and finish of one batch on one backend.
fn check(lanes: &Lanes, messages: &[Vec<u8>]) {
    let refs: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let digests: Vec<Hash32> = refs.iter().map(|message| expect(message)).collect();
    let mut out = vec![Hash32::ZERO; refs.len()];
    lanes.digest_many(&refs, &mut out);
    assert_eq!(out, digests, "{} digests", lanes.name());

    // The head of each in whole blocks, then the rest behind a common prefix.
    let whole: Vec<&[u8]> = refs.iter().map(|m| &m[..m.len() / 64 * 64]).collect();
    let mut states = vec![None; refs.len()];
    lanes.absorb_all(&whole, |number, state| assert_eq!(states[number].replace(*state), None));
    let states: Vec<State> = states.into_iter().map(Option::unwrap).collect();
    for ((state, head), message) in states.iter().zip(&whole).zip(&refs) {
        let mut alone = State::IV;
        compress(&mut alone, head);
        assert!(*state == alone, "{} absorbs {}", lanes.name(), head.len());
        let hash = finish(state, head.len() as u64, &message[head.len()..]);
        assert_eq!(hash, expect(message));
    }
}

#[test]
fn every_length_to_300_equals_sha2() {
    for lanes in every() {
        let messages: Vec<Vec<u8>> = (0..=300).map(|len| message(len, 7)).collect();
        check(&lanes, &messages);
        for (len, message) in messages.iter().enumerate() {
            // All lanes at the same length, and one message alone.
            check(&lanes, &vec![message.clone(); 17]);
            check(&lanes, &messages[len..=len]);
        }
    }
}

#[test]
fn every_count_to_70_equals_sha2() {
    for lanes in every() {
        for count in 0..=70usize {
            let lens = (0..count).map(|i| (i * i * 37) % 700);
            let messages: Vec<Vec<u8>> =
                lens.enumerate().map(|(i, len)| message(len, i as u8)).collect();
            check(&lanes, &messages);
        }
    }
}

/// Many lengths at once, some of them long: those of one length together, the rest lane by lane.
#[test]
fn many_messages_of_mixed_lengths_equal_sha2() {
    for lanes in every() {
        for spread in [1, 130, 700, 3_000] {
            let lens = (0..600_usize).map(|i| (i * i * 37) % spread);
            let messages: Vec<Vec<u8>> =
                lens.enumerate().map(|(i, len)| message(len, i as u8)).collect();
            check(&lanes, &messages);
        }
    }
}

/// Ends of `L` bytes behind 128 others, each with a state of its own, as many as `out` takes.
fn check_short<const L: usize>(lanes: &Lanes) {
    for count in 0..=50_usize {
        let ends: Vec<(State, [u8; L])> = (0..count)
            .map(|i| {
                let mut state = State::IV;
                compress(&mut state, &message(128, i as u8));
                (state, message(L, 3 * i as u8).try_into().unwrap())
            })
            .collect();
        let mut out = vec![Hash32::ZERO; count + 2];
        lanes.finish_short(128, ends.iter().copied(), &mut out);
        let whole = (0..count).map(|i| [message(128, i as u8), message(L, 3 * i as u8)].concat());
        let expected = whole.map(|whole| expect(&whole)).chain([Hash32::ZERO; 2]);
        assert!(out.into_iter().eq(expected), "{} ends {count} x {L}", lanes.name());
        // More ends than places: the rest is left.
        let mut few = vec![Hash32::ZERO; count / 2];
        lanes.finish_short(128, ends.iter().copied(), &mut few);
        assert!(few.iter().zip(&ends).all(|(hash, (s, end))| *hash == finish(s, 128, end)));
    }
}

#[test]
fn short_ends_of_one_length_equal_sha2() {
    for lanes in every() {
        check_short::<0>(&lanes);
        check_short::<1>(&lanes);
        check_short::<32>(&lanes);
        check_short::<36>(&lanes);
        check_short::<51>(&lanes);
        check_short::<54>(&lanes);
        check_short::<55>(&lanes);
    }
}

#[test]
fn nodes_equal_one_by_one() {
    let children: Vec<Hash32> = (0..160u8).map(|i| expect(&[i])).collect();
    for lanes in every() {
        for count in 0..=80 {
            let mut out = vec![Hash32::ZERO; count];
            lanes.nodes(&children[..count * 2], &mut out);
            for (i, hash) in out.iter().enumerate() {
                let both = (&children[i * 2], &children[i * 2 + 1]);
                assert_eq!(*hash, node_hash(both.0, both.1), "{} node {i}", lanes.name());
            }
        }
    }
}

#[test]
fn one_long_message_among_short_ones() {
    for lanes in every() {
        let mut messages: Vec<Vec<u8>> = (0..40).map(|i| message(i, 1)).collect();
        messages.insert(3, message(100_000, 2));
        messages.push(message(65_536, 3));
        check(&lanes, &messages);
    }
}

#[test]
fn a_backend_the_cpu_lacks_is_not_given() {
    let available = Backend::available();
    for backend in [Backend::Avx512, Backend::Avx2, Backend::ShaNi, Backend::Portable] {
        let lanes = Lanes::with(backend);
        assert_eq!(lanes.is_some(), available.contains(&backend));
        assert!(lanes.is_none_or(|lanes| lanes.backend() == backend));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_batches_equal_sha2(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..640), 0..70),
    ) {
        for lanes in every() {
            check(&lanes, &messages);
        }
    }
}
