//! Range file, answer file, claim and table part, twice: with the crate, and from the page with
//! published primitives only.

use crate::golden::by_the_page::{Hash, h, hex, lp16, lp32};
use crate::golden::crate_side::{TENANT, Vectors, log_signer, report_signer};
use chancery::base::id::{Hash32, SubjectTag};
use chancery::base::unit::{ClassId, EntryIndex, Month, TreeSize};
use chancery::crypto::hash::{leaf_hash, sha256};
use chancery::crypto::part::fold;
use chancery::format::complete::answer::{self, Question};
use chancery::format::complete::claim::{Claim, ClaimedTag, Stands};
use chancery::format::complete::part::{Step, Tree, layout};
use chancery::format::complete::scope::{Scope, Window};
use chancery::format::complete::{range, tables};
use chancery::format::note;
use chancery::format::seal::row::{IndexKey, RowKind};
use chancery::format::trust::Trust;
use ed25519_dalek::Signer as _;
use std::convert::Infallible;
use std::ops::Range;

/// Log time of all entries of the vectors.
const NOW: u64 = 20_778 * 86_400_000_000_000 + 1_234_567_890;
/// Rows of the table whose part is shown: kind 8, keys 0 to 999, epoch 1.
const ROWS: u64 = 1_000;

fn shown(tree: Tree, runs: &[Range<u64>], hashes: &[Hash32], leaves: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let done: Result<(), Infallible> = layout(tree, runs, &mut |step| {
        match step {
            Step::Node(place) => {
                let first = (place.index << place.height) as usize;
                out.extend(fold(&hashes[first..first + (1 << place.height)]).unwrap().0);
            }
            Step::Run(run) => {
                run.for_each(|at| out.extend(&leaves[at as usize]));
            }
        }
        Ok(())
    });
    done.unwrap();
    out
}

/// The crate's side. `out` has the checkpoint already.
pub(crate) fn by_the_crate(out: &mut Vectors, entries: &[Vec<u8>]) {
    let note = out["checkpoint"].clone();
    let hashes: Vec<Hash32> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let leaves: Vec<Vec<u8>> = entries.iter().map(|entry| lp16(entry)).collect();
    let trust = Trust::of(&[log_signer().verifier().clone()], &[]).unwrap();
    let indexes = Scope { window: None, first: EntryIndex(1), end: EntryIndex(2) };
    let to = chancery::base::unit::UtcNanos(NOW + 1);
    let window = Window { from: chancery::base::unit::UtcNanos(NOW), to };
    let window = Scope { window: Some(window), first: EntryIndex(0), end: EntryIndex(3) };
    for (name, scope, verdict) in
        [("range", indexes, None), ("range.window", window, Some("RANGE_OPEN_END"))]
    {
        let mut file = range::encode_head(&scope, &note);
        file.extend(shown(range::tree(3), &[scope.with_neighbours(3)], &hashes, &leaves));
        let found = range::verify(&mut &*file, Some(&trust), None);
        assert_eq!(found.err().and_then(|fault| fault.verdict()), verdict);
        out.insert(name.to_owned(), hex(&file));
    }
    let scope = Scope { window: None, first: EntryIndex(0), end: EntryIndex(3) };
    let code = chancery::base::event::EventCode::parse("data.read").unwrap();
    let key = IndexKey::code(code);
    let question = Question { scope, kind: key.kind, keys: vec![key.key], open_from: 0 };
    let mut file = answer::encode_head(&question, "", &note);
    file.extend([0, 0, 0, 1]);
    file.extend([0_u64.to_be_bytes(), 3_u64.to_be_bytes()].concat());
    file.extend(shown(answer::log_tree(3), &[0..3], &hashes, &leaves));
    assert!(answer::verify(&mut &*file, Some(&trust)).unwrap().seals.is_empty());
    out.insert("answer".to_owned(), hex(&file));
    let tag =
        |byte| ClaimedTag { tag: SubjectTag([byte; 16]), class: ClassId(4), month: Month(682) };
    let claim = Claim {
        signer: report_signer().verifier().name().to_owned(),
        size: TreeSize(3),
        root: Hash32([0x55; 32]),
        stands: Stands::Person {
            identifiers: vec!["email:\"n1\"@clinic.example".to_owned()],
            tags: vec![tag(0xa1), tag(0xa2)],
        },
        limits: "none".to_owned(),
    };
    let claim = note::sign(&claim.text().unwrap(), &[&report_signer()]).unwrap();
    out.insert("answer.claim".to_owned(), claim);
    let asked = IndexKey { kind: RowKind::Record, key: u128::to_be_bytes(500) };
    let rows = (0..ROWS).map(|at| {
        let key = u128::from(at).to_be_bytes();
        IndexKey { kind: RowKind::Record, key }.row(EntryIndex(65_536 + at))
    });
    let rows: Vec<[u8; 25]> = rows.collect();
    let leaves: Vec<Vec<u8>> = rows.chunks(163).map(|rows| rows.concat()).collect();
    let hashes: Vec<Hash32> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let key = |row: &[u8; 25]| IndexKey::parse_row(row).map(|(key, _)| key);
    let ends = |at: u64| {
        let rows = rows.chunks(163).nth(at as usize)?;
        Some((key(rows.first()?)?, key(rows.last()?)?))
    };
    let tree = tables::tree(ROWS);
    let runs = tables::runs_for(tree.leaves, &[asked], &ends);
    assert_eq!(runs, [3..4]);
    let part = shown(tree, &runs, &hashes, &leaves);
    out.insert("sha256.answer.table".to_owned(), sha256(&[&part]).to_string());
}

/// RFC 6962 over leaf hashes.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            h(&[&[1], &mth(left), &mth(right)])
        }
    }
}

/// The page's side: section 11 with literal numbers.
pub(crate) fn by_the_page(out: &mut Vectors, entries: &[Vec<u8>]) {
    let note = out["checkpoint"].clone();
    let leaf: Vec<Hash> = entries.iter().map(|entry| h(&[&[0], entry])).collect();
    let head = |word: u8, from: u64, to: u64, a: u64, b: u64| {
        let mut scope = vec![word];
        [from, to, a, b].iter().for_each(|number| scope.extend(number.to_be_bytes()));
        [scope, lp32(note.as_bytes())].concat()
    };
    let all: Vec<u8> = entries.iter().flat_map(|entry| lp16(entry)).collect();
    // [1, 2) with both neighbours is the whole log: no gap.
    let file = [&b"chancery/range/v1\n"[..], &head(0, 0, 0, 1, 2), &all].concat();
    out.insert("range".to_owned(), hex(&file));
    let file = [&b"chancery/range/v1\n"[..], &head(1, NOW, NOW + 1, 0, 3), &all].concat();
    out.insert("range.window".to_owned(), hex(&file));
    let mut file = b"chancery/answer/v1\n".to_vec();
    file.extend(&head(0, 0, 0, 0, 3)[..33]);
    // Row kind 2, one key: category 5, verb 2; epoch 0 is open; no claim; one run [0, 3).
    file.extend([2, 0, 1, 5, 2]);
    file.extend([0; 14]);
    file.extend([0; 8]);
    file.extend([0; 4]);
    file.extend(lp32(note.as_bytes()));
    file.extend([0, 0, 0, 1]);
    file.extend([0_u64.to_be_bytes(), 3_u64.to_be_bytes()].concat());
    file.extend(all);
    out.insert("answer".to_owned(), hex(&file));
    assert_eq!(leaf.len(), 3);
    let name = format!("vault.example/r/{}", "11".repeat(16));
    let text = format!(
        "{name}/answer-claim/v1\ncheckpoint 3 {}\nsubject \"email:\\\"n1\\\"@clinic.example\"\n\
         key {} 4 2026-11\nkey {} 4 2026-11\nlimits none\n",
        "55".repeat(32),
        "a1".repeat(16),
        "a2".repeat(16)
    );
    let key = ed25519_dalek::SigningKey::from_bytes(&[0x52; 32]);
    let public = key.verifying_key().to_bytes();
    let id = &h(&[name.as_bytes(), &[0x0a, 0x01], &public])[..4];
    let blob = [id, &key.sign(text.as_bytes()).to_bytes()].concat();
    let blob = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, blob);
    out.insert("answer.claim".to_owned(), format!("{text}\n\u{2014} {name} {blob}\n"));
    // 1,000 rows are 7 leaves; row 500 lies in leaf 3: gaps [0, 3) and [4, 7).
    let row = |at: u64| {
        let mut row = vec![8];
        row.extend(u128::from(at).to_be_bytes());
        row.extend((65_536 + at).to_be_bytes());
        row
    };
    let leaves: Vec<Vec<u8>> = (0..7_u64)
        .map(|at| (at * 163..(at * 163 + 163).min(ROWS)).flat_map(row).collect())
        .collect();
    let hash: Vec<Hash> = leaves.iter().map(|leaf| h(&[&[0], leaf])).collect();
    let part = [&mth(&hash[..2])[..], &hash[2], &leaves[3], &mth(&hash[4..6]), &hash[6]].concat();
    out.insert("sha256.answer.table".to_owned(), hex(&h(&[&part])));
    assert_eq!(TENANT.0, [0x11; 16]);
}
