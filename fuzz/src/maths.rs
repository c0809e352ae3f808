//! Maths against another implementation: SHA-256 in lanes against `sha2`, Merkle proofs against
//! the definition of the tree in RFC 6962.

use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, TreeSize};
use chancery::crypto::hash::{State, node_hash, sha256};
use chancery::crypto::lanes::{Backend, Lanes};
use chancery::crypto::merkle::{self, Compact};
use sha2::{Digest, Sha256};

/// Messages cut out of the bytes at lengths that the bytes themselves say.
fn messages(mut data: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((len, rest)) = data.split_first() {
        // Mostly short ones, sometimes many blocks; the same bytes may be cut alike.
        let len = (usize::from(*len) * if len % 7 == 0 { 9 } else { 1 }).min(rest.len());
        let (message, tail) = rest.split_at(len);
        found.push(message);
        data = tail;
    }
    found
}

/// Every backend of this CPU equals `sha2`, for any lengths side by side and any split.
pub fn lanes(data: &[u8]) -> bool {
    let messages = messages(data);
    let expect: Vec<Hash32> =
        messages.iter().map(|message| Hash32(Sha256::digest(message).into())).collect();
    let heads: Vec<&[u8]> = messages
        .iter()
        .map(|message| message.get(..message.len() / 64 * 64).unwrap_or_default())
        .collect();
    for backend in Backend::available() {
        let lanes = Lanes::with(backend).expect("it is available");
        let mut out = vec![Hash32::ZERO; messages.len()];
        lanes.digest_many(&messages, &mut out);
        assert_eq!(out, expect, "{}", lanes.name());
        let mut states = vec![State::IV; messages.len()];
        lanes.absorb_all(&heads, |at, state| {
            states.get_mut(at).into_iter().for_each(|slot| *slot = *state);
        });
        for (at, (message, head)) in messages.iter().zip(&heads).enumerate() {
            let tail = message.get(head.len()..).unwrap_or_default();
            let state = states.get(at).expect("one each");
            let hash = chancery::crypto::hash::finish(state, head.len() as u64, tail);
            assert_eq!(Some(&hash), expect.get(at), "{}", lanes.name());
        }
        let ends = messages.iter().filter_map(|message| message.first_chunk::<{ 64 + 51 }>());
        let ends: Vec<_> = ends.collect();
        let states = ends.iter().map(|end| {
            let (head, tail) = end.split_at(64);
            let mut state = State::IV;
            chancery::crypto::hash::compress(&mut state, head);
            (state, *tail.first_chunk::<51>().expect("51 bytes are left"))
        });
        let mut out = vec![Hash32::ZERO; ends.len()];
        lanes.finish_short(64, states, &mut out);
        let expect = ends.iter().map(|end| Hash32(Sha256::digest(end).into()));
        assert!(out.into_iter().eq(expect), "{}", lanes.name());
    }
    !messages.is_empty()
}

/// RFC 6962, 2.1: the root of the leaves by its definition.
fn root(leaves: &[Hash32]) -> Hash32 {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            node_hash(&root(left), &root(right))
        }
    }
}

/// The path of RFC 6962, 2.1.1, by its definition.
fn path(index: usize, leaves: &[Hash32]) -> Vec<Hash32> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(half);
    let (mut inside, outside) = match index < half {
        true => (path(index, left), root(right)),
        false => (path(index - half, right), root(left)),
    };
    inside.push(outside);
    inside
}

/// Size, place, what is changed; then leaves. The right proof verifies, no other does.
pub fn merkle(data: &[u8]) -> bool {
    let [size, place, change, rest @ ..] = data else { return false };
    let size = usize::from(*size) + 1;
    let index = usize::from(*place) % size;
    let leaf = |at: usize| sha256(&[rest, &(at as u64).to_be_bytes()]);
    let leaves: Vec<Hash32> = (0..size).map(leaf).collect();
    let mut tree = Compact::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    let top = root(&leaves);
    assert_eq!(tree.root(), top);
    let mut proof = path(index, &leaves);
    let verify = |leaf: &Hash32, index: usize, size: usize, proof: &[Hash32]| {
        let (index, size) = (EntryIndex(index as u64), TreeSize(size as u64));
        merkle::verify_inclusion(leaf, index, size, proof, &top).is_ok()
    };
    let own = leaves.get(index).copied().unwrap_or_default();
    assert!(verify(&own, index, size, &proof));
    // Another place, another leaf, a hash more, less or changed: none is a proof of it.
    assert!(size == 1 || !verify(&own, (index + 1) % size, size, &proof));
    assert!(!verify(&sha256(&[b"other"]), index, size, &proof));
    proof.push(own);
    assert!(!verify(&own, index, size, &proof));
    proof.pop();
    if let Some(hash) = proof.get_mut(usize::from(*change) % size.max(1)) {
        hash.0[usize::from(*change) % 32] ^= 1;
        assert!(!verify(&own, index, size, &proof));
    }
    // Arbitrary hashes as a proof of consistency: no panic, and never between different roots.
    let hashes: Vec<Hash32> =
        rest.chunks_exact(32).map(|c| Hash32(c.try_into().unwrap())).collect();
    let old = TreeSize(u64::from(*change));
    let _ = merkle::verify_consistency(old, &own, TreeSize(size as u64), &top, &hashes);
    true
}
