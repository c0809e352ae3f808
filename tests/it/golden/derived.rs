//! Snapshot and run: computed with the implementation, and from the page with hash and signature
//! only.

use crate::golden::by_the_page::{h, lp32};
use chancery::base::id::{EventIdTag, Hash32, SourceHandle, TenantId};
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex, TreeSize, UtcNanos};
use chancery::format::run::{self, Row, RunInfo};
use chancery::format::snapshot::{self, Counter, Segment, Snapshot};
use chancery::format::vkey::Signer;
use ed25519_dalek::Signer as _;

/// Three hundred tags: SHA-256 of their number, cut; the entry is ten times the number.
const ROWS: u64 = 300;
const UNTIL: u64 = 77;
const FACTS: &[u8] = b"facts";

fn tag(number: u64) -> [u8; 16] {
    h(&[&number.to_be_bytes()])[..16].try_into().unwrap()
}

/// By the implementation: `snapshot`, and the parts of a run that its hash covers.
pub(crate) fn crate_side(signer: &Signer) -> [(&'static str, Vec<u8>); 3] {
    let mut rows: Vec<Row> = (0..ROWS).map(|n| (EventIdTag(tag(n)), EntryIndex(10 * n))).collect();
    rows.sort_unstable();
    let (first, end) = (EntryIndex(0), EntryIndex(10 * ROWS));
    let mut info = RunInfo { first, end, rows: ROWS, until: UtcNanos(UNTIL), hash: Hash32::ZERO };
    let head = info.head(&TenantId([0x11; 16]));
    let mut table = Vec::new();
    for chunk in rows.chunks(run::CHUNK_ROWS) {
        let bytes: Vec<u8> = chunk.iter().flat_map(run::encode_row).collect();
        table.extend(chunk[0].0.0);
        table.extend(h(&[&bytes]));
    }
    let filter = run::filter(rows.iter().map(|row| row.0));
    info.hash = run::hash(&head, &table, &filter);
    let snapshot = Snapshot {
        tenant: TenantId([0x11; 16]),
        unit: 1,
        hash: Hash32([0x66; 32]),
        end: TreeSize(3),
        root: Hash32([0x67; 32]),
        offset: 40,
        prev: Hash32([0x68; 32]),
        state: Some(EntryIndex(0)),
        edge: vec![Hash32([0x69; 32]), Hash32([0x6a; 32])],
        segments: vec![Segment {
            number: 0,
            first_unit: 0,
            first: EntryIndex(0),
            prev: Hash32::ZERO,
            len: 900,
        }],
        ends: vec![(ClassDay { class: ClassId(4), day: Day(20_778) }, 500)],
        counters: vec![Counter {
            source: SourceHandle([0xfe; 16]),
            high: 9,
            gaps: vec![(0, 3), (5, 8)],
        }],
        runs: vec![info],
        facts: FACTS.to_vec(),
    };
    let bytes = snapshot::encode(&snapshot, |message| signer.sign_unit(message));
    let verify = |message: &[u8], signature: &[u8; 64]| {
        signer.verifier().key().verify(message, signature).is_ok()
    };
    assert_eq!(snapshot::decode(&bytes, verify).unwrap(), snapshot);
    [("snapshot", bytes), ("run.table", [head, table].concat()), ("run.filter", filter)]
}

/// By the page.
pub(crate) fn page() -> [(&'static str, Vec<u8>); 3] {
    let n = |n: u64| n.to_be_bytes().to_vec();
    let mut rows: Vec<([u8; 16], u64)> = (0..ROWS).map(|i| (tag(i), 10 * i)).collect();
    rows.sort_unstable();
    let mut table = [b"CHD1".to_vec(), vec![0x11; 16], n(0), n(3_000), n(ROWS), n(UNTIL)].concat();
    for chunk in [&rows[..128], &rows[128..256], &rows[256..]] {
        let bytes: Vec<u8> = chunk.iter().flat_map(|(t, i)| [t.to_vec(), n(*i)].concat()).collect();
        table.extend(chunk[0].0);
        table.extend(h(&[&bytes]));
    }
    let blocks = (12 * ROWS).div_ceil(512);
    let mut filter = vec![0_u8; blocks as usize * 64];
    for (tag, _) in &rows {
        let half = |part: &[u8]| u128::from(u64::from_be_bytes(part.try_into().unwrap()));
        let block = (half(&tag[..8]) * u128::from(blocks)) >> 64;
        for i in 0..7 {
            let bit = (half(&tag[8..]) / 512_u128.pow(i)) % 512;
            filter[(block * 64 + bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    let hash = h(&[b"chancery/v1/run\0", &table, &filter]);
    let u32 = |n: u32| n.to_be_bytes().to_vec();
    let rest = [
        vec![0x11; 16],
        n(1),
        vec![0x66; 32],
        n(3),
        vec![0x67; 32],
        n(40),
        vec![0x68; 32],
        n(1),
        vec![0x69; 32],
        vec![0x6a; 32],
        [u32(1), u32(0), n(0), n(0), vec![0; 32], n(900)].concat(),
        [u32(1), vec![0, 4], u32(20_778), n(500)].concat(),
        [u32(1), vec![0xfe; 16], n(9), u32(2), n(0), n(3), n(5), n(8)].concat(),
        [u32(1), n(0), n(3_000), n(ROWS), n(UNTIL), hash.to_vec()].concat(),
        lp32(FACTS),
    ]
    .concat();
    let bytes = [b"CHS1".to_vec(), n(12 + rest.len() as u64 + 64), rest].concat();
    let message = [b"chancery/v1/snapshot\0".as_slice(), &h(&[&bytes])].concat();
    let key = ed25519_dalek::SigningKey::from_bytes(&[0x51; 32]);
    let signature = key.sign(&message).to_bytes().to_vec();
    [("snapshot", [bytes, signature].concat()), ("run.table", table), ("run.filter", filter)]
}
