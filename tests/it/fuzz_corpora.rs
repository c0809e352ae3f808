//! The corpora of the fuzz targets, replayed without a sanitizer: what a fuzzer once found stays
//! found. Each input is also cut, flipped and joined with its neighbours, a fixed number of times
//! from a printed seed, so that a machine without cargo-fuzz still looks a little further.
//! `UPDATE=1` writes the seeds anew, from the crate's own encoders.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use crate::complete::maker::endless_tail;
use chancery::base::id::{EventIdTag, Hash32, TenantId};
use chancery::base::secret::Key;
use chancery::base::unit::{EntryIndex, UtcNanos};
use chancery::cli::demo::corpus::corpus;
use chancery::crypto::hash::sha256;
use chancery::crypto::sign::SigningKey;
use chancery::format::body::{Frame, encode_plain, read_frame};
use chancery::format::checkpoint::Checkpoint;
use chancery::format::note::{Note, cosign};
use chancery::format::packed::block::{self, Start};
use chancery::format::packed::plain::Squeezer;
use chancery::format::packed::{bodies, segment};
use chancery::format::run::{RunInfo, encode_row};
use chancery::format::siem::mapping::{CEF_DEFAULT, LEEF_DEFAULT};
use chancery::format::tile::encode_entries;
use chancery::format::timestamp::Query;
use chancery::format::unit::decode_head;
use chancery::format::vkey::{Algorithm, Signer};
use chancery::format::wire::{Reader, Write};
use chancery::format::witness::lines_of;
use chancery::policy::default_files;
use chancery::report::catalogue::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use targets::TARGETS;

/// Bytes of all corpora together: they are read by people and cloned by everybody.
const CORPORA_BYTES_MAX: u64 = 2 << 20;
/// Changes tried on each input.
const CHANGES: usize = 40;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Name and bytes of every input of a target.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = fuzz().join("corpus").join(name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn every_input_that_was_kept_holds_every_promise() {
    let seed: u64 = std::env::var("FUZZ_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("FUZZ_SEED={seed}");
    let (mut bytes, mut changed) = (0, 0);
    for (number, (name, _)) in TARGETS.iter().enumerate() {
        let inputs = inputs(name);
        let mut accepted = 0;
        for (path, input) in &inputs {
            bytes += input.len() as u64;
            println!("{}", path.display());
            accepted += usize::from(targets::run(name, input));
        }
        // A target that accepts nothing sees only the first check of its decoder.
        assert!(accepted > 0, "{name} accepts none of its {} inputs", inputs.len());
        let mut random = prng(seed.wrapping_add(number as u64));
        for (_, input) in inputs.iter().filter(|(_, input)| input.len() < 16_384) {
            for _ in 0..CHANGES {
                let other = &inputs[random() as usize % inputs.len()].1;
                targets::run(name, &change(input, other, &mut random));
                changed += 1;
            }
        }
    }
    println!("{bytes} bytes of corpora, {changed} changed inputs");
    assert!(bytes < CORPORA_BYTES_MAX, "{bytes} bytes of corpora");
}

/// splitmix64.
fn prng(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn change(input: &[u8], other: &[u8], random: &mut dyn FnMut() -> u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let at = |len: usize, n: u64| n as usize % len.max(1);
    for _ in 0..=random() % 3 {
        let place = at(bytes.len(), random());
        match random() % 6 {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), random() as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(place)),
            3 => bytes.extend_from_slice(other.get(at(other.len(), random())..).unwrap_or(&[])),
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (random() % 8);
                }
            }
        }
    }
    bytes
}

#[test]
fn every_target_has_a_binary_and_the_other_way_round() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let stated: BTreeSet<&str> =
        manifest.lines().filter_map(|l| l.strip_prefix("path = \"fuzz_targets/")).collect();
    let stated: BTreeSet<&str> = stated.iter().filter_map(|l| l.strip_suffix(".rs\"")).collect();
    let known: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(known.len(), TARGETS.len(), "a name twice");
    assert_eq!(stated, known);
    for name in known {
        let path = fuzz().join(format!("fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("chancery_fuzz::run(\"{name}\", data)")), "{name}");
    }
}

/// The seeds are what the encoders write today: a decoder that moves on takes its corpus along.
#[test]
fn seeds_are_fresh() {
    let seeds = seeds();
    for (name, _) in TARGETS {
        let own = seeds.get(name).unwrap_or_else(|| panic!("{name} has no seed"));
        for (number, bytes) in own.iter().enumerate() {
            let path = fuzz().join(format!("corpus/{name}/seed-{number}"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
            let kept = std::fs::read(&path).unwrap_or_default();
            assert!(kept == *bytes, "{} is stale: UPDATE=1", path.display());
        }
    }
}

/// Bytes of lower-case hex.
fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn golden(name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// From the golden vectors, which the crate's own encoders write, and from its own files.
fn seeds() -> Seeds {
    let vectors = golden("vectors.json");
    let bytes = |name: &str| unhex(&vectors[name]);
    let text = |name: &str| vectors[name].clone().into_bytes();
    let many = |names: &[&str]| names.iter().map(|name| bytes(name)).collect::<Vec<_>>();
    let entries = many(&["entry.0", "entry.1", "entry.2"]);
    let frames = [bytes("frame.0"), bytes("frame.1"), bytes("frame.2")].concat();
    let leaf = [&[0, 0, 1][..], &[9; 32], &[0, 3], b"abc"].concat();
    let row = [&[1, 0, 1][..], &[0; 8], &[8; 16], &[7; 32]].concat();
    let front = bytes("slot.front");
    let slot = [front.get(..128).unwrap(), &[6; 64]].concat();
    let borrowed: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let bundle = [&[2][..], &encode_entries(&borrowed).unwrap()].concat();
    let hashes = [&[2][..], &bytes("leaf.0"), &bytes("leaf.1"), &bytes("leaf.2")].concat();
    let mut seeds = Seeds::from([
        ("body_frame", vec![frames, bytes("body.file")]),
        ("body_plain", many(&["plain.0", "plain.1", "plain.2"])),
        ("cell", many(&["cell.identifier", "cell.person", "cell.class-day", "cell.tenant"])),
        ("commit_record", vec![bytes("commit_record")]),
        ("entry", entries),
        ("node", vec![leaf, row]),
        ("seal_rows", vec![bytes("table.index")]),
        ("slot", vec![slot]),
        ("tile", vec![hashes, bundle]),
        ("unit", vec![bytes("unit")]),
        ("unit_head", vec![bytes("unit")]),
        ("disclosure", vec![text("disclosure")]),
        ("note", vec![text("checkpoint"), text("roll")]),
        ("proof", vec![text("proof")]),
        ("roll", vec![text("roll")]),
        ("seal", vec![text("control.seal"), text("control.day-seal")]),
        ("trust", vec![text("trust")]),
    ]);
    let acts = vectors.iter().filter(|(name, _)| name.starts_with("control."));
    let acts = acts.filter(|(name, _)| !name.ends_with("seal"));
    seeds.insert("control", acts.map(|(_, text)| text.clone().into_bytes()).collect());
    notes(&vectors, &mut seeds);
    stored(&vectors, &mut seeds);
    beside(&vectors, &mut seeds);
    shown(&vectors, &mut seeds);
    inputs_from_outside(&mut seeds);
    seeds
}

fn notes(vectors: &BTreeMap<String, String>, seeds: &mut Seeds) {
    let checkpoint = &vectors["checkpoint"];
    let (body, _) = checkpoint.split_once("\n\n").unwrap();
    let body = format!("{body}\n");
    let keys = vectors["trust"].lines();
    let keys = keys.filter_map(|line| line.split(' ').find(|word| word.contains('+')));
    let growth = format!("{checkpoint}\0old 3\n\n{checkpoint}");
    let tenant = "11".repeat(16);
    let ledger = format!(
        "vault.example/r/{tenant}/erasure-ledger/v1\ntenant {tenant}\ngeneration 3 {}\nlog 9\n\
         erased {} 7 {}\n",
        "22".repeat(32),
        "33".repeat(16),
        "44".repeat(16)
    );
    let mut manifest = format!(
        "vault.example/t/{tenant}/report/v1\nid {}\nkind gdpr 1 {}\ntenant {tenant}\n\
         period 2026-10-01T00:00:00Z 2026-11-01T00:00:00Z\ncut-off 2026-11-02T00:00:00Z\n\
         checkpoint 3 {}\ngeneration 2\nentries 5\n",
        "55".repeat(16),
        "66".repeat(32),
        "77".repeat(32)
    );
    for status in Status::ALL {
        manifest += &format!("status {status} 1\n");
    }
    manifest += &format!("file {} 12 report.json\n", "88".repeat(32));
    let plain = |text: &str| text.as_bytes().to_vec();
    seeds.insert("checkpoint", vec![plain(checkpoint), plain(&body)]);
    seeds.insert("vkey", keys.map(plain).collect());
    seeds.insert("growth", vec![plain(&growth)]);
    seeds.insert("ledger", vec![plain(&ledger)]);
    seeds.insert("manifest", vec![plain(&manifest)]);
    seeds.insert("tile_path", vec![plain("tile/0/000"), plain("tile/entries/x001/234.p/7")]);
}

/// Packed segments and body files.
fn stored(vectors: &BTreeMap<String, String>, seeds: &mut Seeds) {
    let bytes = |name: &str| unhex(&vectors[name]);
    let after = |way: u8, rest: &[u8]| [&[way], rest].concat();
    let (tenant, unit) = (TenantId([0x11; 16]), bytes("unit"));
    let head = decode_head(&mut Reader::new(&unit)).unwrap();
    let leaf = Hash32(bytes("leaf.0").try_into().unwrap());
    let start = Start { unit: head.number, entry: EntryIndex(1), unit_hash: head.prev, leaf };
    let (block, _) = block::pack(&tenant, start, &unit).unwrap();
    let mut reader = Reader::new(&block[96..]);
    let len = reader.u32("expanded").unwrap() as usize;
    let deflated = reader.lp32("columns").unwrap();
    let mut columns = Vec::with_capacity(len + 1);
    let mut inflate = flate2::Decompress::new(false);
    inflate.decompress_vec(deflated, &mut columns, flate2::FlushDecompress::Finish).unwrap();
    let random = reader.lp32("random").unwrap();
    let mut open = after(1, &block[8..96]);
    open.put_lp16(&columns);
    open.put_lp16(random);
    seeds.insert("packed_block", vec![after(0, &block[8..]), open]);

    let frames = bytes("frame.0");
    let frame = read_frame(&mut Reader::new(&frames)).unwrap();
    let mut packed = bodies::Block::default();
    for n in 0..3 {
        let index = EntryIndex(frame.index.0 + n);
        packed.push(&bodies::Placed { offset: 32 + 500 * n, frame: Frame { index, ..frame } });
    }
    let of_bodies = bodies::Rows {
        rows: vec![(32, 32), (70_000, 40_000)],
        plain_len: 90_000,
        packed_end: 50_000,
    };
    let row = |start: &Start, at: u64| segment::Row::of(start, at, at + 24);
    let later = Start { unit: 9, entry: EntryIndex(99), ..start };
    let first = Start { unit: 0, entry: EntryIndex(0), ..start };
    let of_segment = segment::Rows {
        rows: vec![row(&first, 0), row(&later, 9_000)],
        plain_len: 20_000,
        packed_end: 15_000,
    };
    let rows = [of_bodies.encode(), of_segment.encode()].map(|b| b[..b.len() - 12].to_vec());
    let [of_bodies, of_segment] = rows;
    seeds.insert("packed_rows", vec![of_bodies, of_segment, packed.finish().0[8..].to_vec()]);
}

/// Plaintexts, snapshots, runs, changes of the key tree's file and of its mirror.
fn beside(vectors: &BTreeMap<String, String>, seeds: &mut Seeds) {
    let bytes = |name: &str| unhex(&vectors[name]);
    let after = |way: u8, rest: &[u8]| [&[way], rest].concat();
    let mut plain = Vec::new();
    let event = corpus(4, 1).remove(0);
    let fields = [("actor.email", "\"a@b.example\""), ("data", event.as_str())];
    encode_plain(&mut plain, &[7; 32], fields.iter().map(|(n, v)| (*n, v.as_bytes())));
    let squeezed = Squeezer::new().unwrap().squeeze(&plain).unwrap().to_vec();
    seeds.insert("packed_plain", vec![plain, squeezed, bytes("plain.0")]);

    let snapshot = bytes("snapshot");
    seeds.insert("snapshot", vec![snapshot[..snapshot.len() - 64].to_vec()]);
    let (first, end) = (EntryIndex(0), EntryIndex(10));
    let info = RunInfo { first, end, rows: 2, until: UtcNanos(5), hash: Hash32([4; 32]) };
    let mut of_run = Vec::new();
    info.put(&mut of_run);
    for n in [3u8, 8] {
        of_run.extend(encode_row(&(EventIdTag([n; 16]), EntryIndex(u64::from(n)))));
    }
    seeds.insert("id_run", vec![of_run]);
    let change = |at: u32, way: u8, with: &[u8]| [&at.to_be_bytes()[..], &[way], with].concat();
    let changes = [
        change(0, 2, &[]),
        change(5_000, 0, &[1, 2, 3]),
        change(30_000, 3, &[]),
        change(64, 1, &[0; 64]),
    ];
    seeds.insert("node_map", changes.to_vec());
    let clear = [b"CHREP1\0\0".as_slice(), &[7; 16]].concat();
    let named = [clear.as_slice(), &sha256(&[&clear]).0].concat();
    let mut mirrors: Vec<Vec<u8>> =
        changes.iter().zip([0, 0, 1, 2]).map(|(change, which)| after(which, change)).collect();
    mirrors.push(after(3, &named));
    seeds.insert("mirror", mirrors);
}

/// Proofs that nothing was left out, requests to witnesses and what comes back, time-stamps.
fn shown(vectors: &BTreeMap<String, String>, seeds: &mut Seeds) {
    let bytes = |name: &str| unhex(&vectors[name]);
    let plain = |text: &str| text.as_bytes().to_vec();
    seeds.insert("range", vec![bytes("range"), bytes("range.window")]);
    seeds.insert("answer", vec![bytes("answer"), endless_tail()]);
    let checkpoint = &vectors["checkpoint"];
    let hash = format!("{}=", "A".repeat(43));
    let requests =
        [format!("old 0\n\n{checkpoint}"), format!("old 2\n{hash}\n{hash}\n\n{checkpoint}")];
    seeds.insert("witness_request", requests.iter().map(|text| plain(text)).collect());
    let key = SigningKey::new(&Key::new([0x61; 32]));
    let witness = Signer::new("w.example/1", Algorithm::CosignatureV1, key).unwrap();
    let cosigned = cosign(checkpoint.as_bytes(), &witness, UtcNanos(7_000_000_000)).unwrap();
    let lines = lines_of(&Note::parse(cosigned.as_bytes()).unwrap(), witness.verifier());
    seeds.insert("witness_answer", vec![plain("12\n"), plain(&lines)]);
    let (text, _) = checkpoint.split_once("\n\n").unwrap();
    let checkpoint = Checkpoint::parse(&format!("{text}\n")).unwrap();
    seeds.insert("timestamp", vec![Query::of(&checkpoint, [9; 8]).encode()]);
}

fn inputs_from_outside(seeds: &mut Seeds) {
    let events: Vec<Vec<u8>> = corpus(1, 3).into_iter().map(String::into_bytes).collect();
    let after = |choice: u8, text: &[u8]| [&[choice], text].concat();
    let plain = |text: &str| text.as_bytes().to_vec();
    let trail = br#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","userName":"alice","arn":"arn:aws:iam::1:user/alice"},"eventTime":"2026-11-21T05:47:18Z","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin","sourceIPAddress":"192.0.2.7","responseElements":{"ConsoleLogin":"Failure"},"eventID":"e-1"}"#;
    let windows = br#"{"EventID":4624,"Computer":"dc1","TimeCreated":"2026-11-21T05:47:18Z","TargetUserName":"alice","TargetUserSid":"S-1-5-21-1","IpAddress":"192.0.2.7","LogonType":"3"}"#;
    let mut intake: Vec<Vec<u8>> = events.iter().map(|event| after(0, event)).collect();
    intake.extend([after(1, trail), after(2, windows)]);
    let strange =
        br#"{"a":[1,-0.5e10,"\u00e9\ud83d\ude00\n",true,null,{"":{}}],"b":9007199254740991}"#;
    let mut json = events.clone();
    json.extend([strange.to_vec(), plain("[[[[]]]]"), plain("\"x\""), plain("1e400")]);
    let files = default_files();
    let file = |choice, name: &str| after(choice, files[name].as_bytes());
    seeds.insert("intake", intake);
    seeds.insert("canon", json.clone());
    seeds.insert("json", json);
    seeds.insert(
        "policy",
        vec![file(0, "classes.toml"), file(1, "fields.toml"), file(2, "sources/canonical.toml")],
    );
    let terms = "outcome=failure\nseverity>=3\ntime<2026-11-21T05:47:18Z\nkind=event";
    let more = "source=ehr\nclass=4\nindex>7\ncode=data.read\nverb=read\ncategory=data";
    seeds.insert("filter", vec![plain(terms), plain(more), plain("actor.email=x")]);
    let folds = plain("*/5 0-9 1,15 * * Mon-Fri 2027\nEurope/Berlin");
    let gaps = plain("15 2 1-7 Mar,Oct *\nAustralia/Lord_Howe");
    seeds.insert("schedule", vec![plain("0 30 2 * * *"), folds, gaps]);
    seeds.insert("mapping", vec![plain(CEF_DEFAULT), plain(LEEF_DEFAULT)]);
    let nasty = b"o'brien=admin|x\\y\xffline one\nline two = a|b \\ end\r\n\
                  CEF:0|x|1|y|z|9|act=forged\xff\t^sev=1";
    seeds.insert("siem_cef", vec![nasty.to_vec()]);
    seeds.insert("siem_leef", vec![nasty.to_vec()]);
    let mut random = prng(3);
    let long: Vec<u8> = (0..900).map(|_| random() as u8).collect();
    seeds.insert("lanes", vec![long.clone(), vec![63; 700], vec![7; 130]]);
    seeds.insert("merkle", vec![long, vec![6, 5, 4, 3], vec![0, 0, 0]]);
}
