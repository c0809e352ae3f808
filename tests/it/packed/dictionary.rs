//! The dictionary of compressed bodies is made again from the names in `schema.txt` and values
//! drawn by a seeded generator, and must be the frozen one to the byte: so no event is in it.
//! `UPDATE=1` writes it, which only a new algorithm number may do once bodies exist.

use chancery::format::body;
use chancery::format::packed::plain::{self, DICTIONARY, Squeezer};
use proptest::prelude::*;
use std::path::Path;

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn hex(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }

    fn word(&mut self) -> String {
        let len = 3 + self.below(8);
        (0..len).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

/// A value of a typical form; nothing in it but names and dice.
fn value(dice: &mut Dice, members: &[&str]) -> String {
    match dice.below(12) {
        0 => format!("\"{}\"", {
            let n = 4 + dice.below(36);
            dice.hex(n)
        }),
        1 => format!(
            "\"{}-{}-{}-{}-{}\"",
            dice.hex(8),
            dice.hex(4),
            dice.hex(4),
            dice.hex(4),
            dice.hex(12)
        ),
        2 => dice.below(100_000).to_string(),
        3 => ["true", "false", "null"][dice.below(3)].to_owned(),
        4 => {
            let parts: Vec<String> = (0..4).map(|_| dice.below(256).to_string()).collect();
            format!("\"{}\"", parts.join("."))
        }
        5 => format!(
            "\"20{:02}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\"",
            dice.below(100),
            1 + dice.below(12),
            1 + dice.below(28),
            dice.below(24),
            dice.below(60),
            dice.below(60),
            dice.below(1000)
        ),
        6 => format!("\"/{}/{}/{}\"", dice.pick(members), dice.below(10_000), dice.pick(members)),
        7 => format!("\"{}.{}\"", dice.pick(members), dice.pick(members)),
        8 => format!("\"{}@{}.example\"", dice.word(), dice.word()),
        9 => format!("\"{}-{:06}\"", dice.word(), dice.below(1_000_000)),
        10 => format!("\"{} {} {}\"", dice.word(), dice.word(), dice.word()),
        _ => format!("\"{}\"", dice.pick(members)),
    }
}

fn object(dice: &mut Dice, members: &[&str], depth: usize) -> String {
    let n = 2 + dice.below(9);
    let mut parts = Vec::new();
    for _ in 0..n {
        let of = match depth < 2 && dice.below(6) == 0 {
            true => object(dice, members, depth + 1),
            false => value(dice, members),
        };
        parts.push(format!("\"{}\":{of}", dice.pick(members)));
    }
    format!("{{{}}}", parts.join(","))
}

/// Plaintexts as `body` lays them out, without seed and padding.
fn samples(schema: &str) -> Vec<Vec<u8>> {
    let named =
        |kind: &str| -> Vec<&str> { schema.lines().filter_map(|l| l.strip_prefix(kind)).collect() };
    let (fields, members) = (named("field "), named("member "));
    let mut dice = Dice(1);
    (0..6_000)
        .map(|_| {
            let n = 1 + dice.below(7);
            let mut names: Vec<&str> = (0..n).map(|_| dice.pick(&fields)).collect();
            if dice.below(3) > 0 {
                names.push("data");
            }
            names.sort_unstable();
            names.dedup();
            let values: Vec<String> = names
                .iter()
                .map(|name| match *name {
                    "data" | "request" | "response" => object(&mut dice, &members, 0),
                    _ => value(&mut dice, &members),
                })
                .collect();
            let pairs = names.iter().zip(&values).map(|(n, v)| (*n, v.as_bytes()));
            plaintext(&pairs.collect::<Vec<_>>()).split_off(32)
        })
        .collect()
}

fn plaintext(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    body::encode_plain(&mut out, &[7; 32], fields.iter().copied());
    out
}

#[test]
fn the_dictionary_is_made_from_schema_text_alone() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/format/packed");
    let schema = std::fs::read_to_string(dir.join("schema.txt")).unwrap();
    let made = zstd::dict::from_samples(&samples(&schema), 16 * 1024).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(dir.join("dictionary.1"), &made).unwrap();
    }
    assert!(made == DICTIONARY, "the frozen dictionary is not the one its schema text gives");
}

proptest! {
    #[test]
    fn plaintexts_come_back(
        fields in proptest::collection::btree_map("[a-z.]{1,20}", "[ -~]{0,300}", 1..8),
    ) {
        let pairs: Vec<(&str, &[u8])> =
            fields.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let plain = plaintext(&pairs);
        let Some(squeezed) = Squeezer::new().unwrap().squeeze(&plain) else { return Ok(()) };
        prop_assert!(squeezed.len() < plain.len());
        let back = plain::expand(&squeezed).unwrap();
        prop_assert_eq!(&*back.seed, &[7; 32]);
        let back: Vec<(&str, &[u8])> =
            back.fields.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        prop_assert_eq!(back, pairs);
    }

    #[test]
    fn anything_else_is_refused_or_read_whole(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        // No panic and no unbounded memory is all that bytes under a right tag can be asked for.
        let _ = plain::expand(&bytes);
    }
}

#[test]
fn a_frame_that_expands_beyond_a_group_is_refused() {
    let zeros = vec![b'0'; 3 << 20];
    let frame = zstd::bulk::compress(&zeros, 3).unwrap();
    let mut bytes = vec![7; 32];
    let put = |bytes: &mut Vec<u8>, mut n: usize| {
        while n >= 128 {
            bytes.push((n & 127) as u8 | 128);
            n >>= 7;
        }
        bytes.push(n as u8);
    };
    put(&mut bytes, zeros.len());
    put(&mut bytes, frame.len() - 4);
    bytes.extend(&frame[4..]);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    assert!(plain::expand(&bytes).is_err());
}
