//! The scanner against a table, against `serde_json` on generated texts, and on any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;

fn check(text: impl AsRef<[u8]>, expect: &str) {
    let mut tape = Tape::new();
    let found = match tape.scan(text.as_ref()) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => {
            format!("{}@{}", refusal.code, refusal.offset.map_or(-1, |at| at as i64))
        }
    };
    assert_eq!(found, expect, "{:?}", String::from_utf8_lossy(text.as_ref()));
}

#[test]
fn accepted() {
    for text in [
        "{}",
        "[]",
        " 1 ",
        "\"\"",
        "null",
        "[1,-0,0.5,1e3,-2.5E-7,0e999]",
        "\"\\ud83d\\ude00\"",
        "{\"a\":{\"a\":[{\"a\":1}]},\"b\":true}",
        "[18446744073709551616]",
        "[1e-400]",
        "\"\u{7f}\"",
        "{\"\":0,\" \":1}",
        "\r\n\t[ 1 , 2 ]\n",
        "{\"a\":1,\"A\":2}",
        "[1e308]",
    ] {
        check(text, "ok");
    }
    check(format!("{}1{}", "[".repeat(64), "]".repeat(64)), "ok");
}

#[test]
fn refused() {
    let table = [
        ("", "JSON_SYNTAX@0"),
        ("{\"a\":1}x", "JSON_SYNTAX@7"),
        ("{\"a\":1,}", "JSON_SYNTAX@7"),
        ("[1,]", "JSON_SYNTAX@3"),
        ("[1,2}", "JSON_SYNTAX@4"),
        ("{\"a\" 1}", "JSON_SYNTAX@5"),
        ("{a:1}", "JSON_SYNTAX@1"),
        ("'a'", "JSON_SYNTAX@0"),
        ("NaN", "JSON_SYNTAX@0"),
        ("[Infinity]", "JSON_SYNTAX@1"),
        ("-Infinity", "JSON_SYNTAX@1"),
        ("01", "JSON_SYNTAX@1"),
        ("+1", "JSON_SYNTAX@0"),
        ("1.", "JSON_SYNTAX@2"),
        (".5", "JSON_SYNTAX@0"),
        ("1e", "JSON_SYNTAX@2"),
        ("tru", "JSON_SYNTAX@0"),
        ("\"a\nb\"", "JSON_SYNTAX@2"),
        ("\"abc", "JSON_SYNTAX@4"),
        ("\"\\x\"", "JSON_SYNTAX@1"),
        ("\"\\u12g4\"", "JSON_SYNTAX@1"),
        ("\u{feff}{}", "JSON_SYNTAX@0"),
        ("[1] // c", "JSON_SYNTAX@4"),
        ("1e400", "JSON_NUMBER@0"),
        ("[-1e400]", "JSON_NUMBER@1"),
        ("\"\\ud800\"", "JSON_SURROGATE@1"),
        ("\"ab\\udc00\"", "JSON_SURROGATE@3"),
        ("\"\\ud800\\ud800\"", "JSON_SURROGATE@1"),
        ("{\"\\ud800\":1}", "JSON_SURROGATE@2"),
        ("{\"a\":1,\"a\":2}", "JSON_DUPLICATE_KEY@7"),
        ("{\"a\":1,\"\\u0061\":2}", "JSON_DUPLICATE_KEY@7"),
        ("[{\"x\":{\"k/\":[],\"k\\/\":0}}]", "JSON_DUPLICATE_KEY@15"),
        ("{\"\\ud83d\\ude00\":1,\"\u{1f600}\":2}", "JSON_DUPLICATE_KEY@18"),
    ];
    for (text, expect) in table {
        check(text, expect);
    }
    check(b"\"\xff\"", "JSON_UTF8@1");
    check(b"\"\xed\xa0\x80\"", "JSON_UTF8@1");
    check("[".repeat(65), "JSON_DEPTH@64");
    check(format!("\"{}\"", "a".repeat(EVENT_BYTES_MAX - 1)), "EVENT_TOO_LARGE@-1");
    check(format!("\"{}\"", "a".repeat(EVENT_BYTES_MAX - 2)), "ok");
    check("9".repeat(400), "JSON_NUMBER@0");
}

#[test]
fn duplicates_in_objects_of_every_size() {
    for size in [2usize, 3, 16, 33, 63, 64, 65, 66, 200, 5000] {
        let keys: Vec<String> = (0..size).map(|n| format!("\"k{n}\":{n}")).collect();
        check(format!("{{{}}}", keys.join(",")), "ok");
        for twin in [0, size / 2, size - 1] {
            let text = format!("[{{{},\"\\u006b{twin}\":[]}}]", keys.join(","));
            let mut tape = Tape::new();
            assert_eq!(tape.scan(text.as_bytes()).unwrap_err().code, "JSON_DUPLICATE_KEY");
        }
    }
}

#[test]
fn a_mebibyte_of_colliding_keys_is_bounded() {
    // Same length, same first and last eight bytes: every digest is equal.
    let keys: Vec<String> = (0..30_000).map(|n| format!("\"aaaaaaaa{n:07}bbbbbbbb\":0")).collect();
    let text = format!("{{{}}}", keys.join(","));
    let started = std::time::Instant::now();
    check(&text, "ok");
    assert!(started.elapsed().as_secs() < 5, "quadratic: {:?}", started.elapsed());
}

#[test]
fn values_are_spans() {
    let mut tape = Tape::new();
    let text = br#" {"a" : [ 1 , {"b":"x\n"} ] ,"c":-7, "d":9007199254740993, "e":1.0, "f":true}"#;
    let root = tape.scan(text).unwrap();
    let a = root.get("a").unwrap();
    assert_eq!(a.raw(), r#"[ 1 , {"b":"x\n"} ]"#);
    let inner = a.elements().nth(1).unwrap();
    assert_eq!(inner.get("b").unwrap().string().unwrap(), "x\n");
    assert_eq!(inner.get("b").unwrap().raw(), "\"x\\n\"");
    assert_eq!(root.get("c").unwrap().i64(), Ok(-7));
    assert_eq!(root.get("c").unwrap().u64().unwrap_err().code, "JSON_INTEGER_RANGE");
    assert_eq!(root.get("d").unwrap().u64().unwrap_err().code, "JSON_INTEGER_RANGE");
    assert_eq!(root.get("e").unwrap().u64().unwrap_err().code, "FIELD_TYPE");
    assert_eq!(root.get("f").unwrap().boolean(), Some(true));
    assert!(root.get("g").is_none());
    let raw: Vec<&str> = root.members().map(|member| member.raw()).collect();
    assert_eq!(raw[1], "\"c\":-7");
    assert_eq!(root.members().next().unwrap().key.digest(), key_digest("a"));
}

/// `serde_json` with one rule more: no key twice.
#[derive(Debug)]
struct Strict(serde_json::Value);

struct StrictVisitor;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(serde_json::Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Strict(values.into()))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut values = serde_json::Map::new();
        let mut seen = HashSet::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("duplicate"));
            }
            values.insert(key, value);
        }
        Ok(Strict(values.into()))
    }
}

fn to_serde(value: Value<'_, '_>) -> serde_json::Value {
    match value.kind() {
        Kind::Object => value
            .members()
            .map(|member| (member.key.text().into_owned(), to_serde(member.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Kind::Array => value.elements().map(to_serde).collect::<Vec<_>>().into(),
        Kind::String | Kind::EscapedString => value.string().unwrap().into_owned().into(),
        _ => serde_json::from_str(value.raw()).unwrap(),
    }
}

/// Both readers must agree on acceptance, and on every value they accept.
fn agree(text: &[u8]) {
    let mut tape = Tape::new();
    let ours = tape.scan(text);
    let theirs = serde_json::from_slice::<Strict>(text);
    match (ours, theirs) {
        (Ok(ours), Ok(Strict(theirs))) => assert_eq!(to_serde(ours), theirs),
        (Err(_), Err(_)) => {}
        (Err(refusal), Ok(_)) if refusal.code == "JSON_DEPTH" => {}
        (ours, theirs) => panic!(
            "{:?}: ours {:?}, serde_json {:?}",
            String::from_utf8_lossy(text),
            ours.map(|_| "ok"),
            theirs.map(|_| "ok")
        ),
    }
}

/// JSON texts with spaces, escapes, surrogates and, often, a key twice.
fn json_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(r#""a""#.to_owned()),
        Just(r#""\u0061""#.to_owned()),
        Just(r#""\ud83d\ude00""#.to_owned()),
        Just(r#""\ud83d""#.to_owned()),
        "\"[a-c]{0,3}\"",
        "\"[ -!#-\\[\\]-~\u{e9}\u{6f22}]{0,20}\"",
        Just(r#""\"\\\/\b\f\n\r\t""#.to_owned()),
    ];
    let leaf = prop_oneof![
        word.clone(),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        Just("1e400".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let member = (word.clone(), "[ \n\t\r]{0,2}", inner.clone())
            .prop_map(|(key, space, value)| format!("{space}{key}{space}:{space}{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|v| format!("[{}]", v.join(" ,"))),
            prop::collection::vec(member, 0..6).prop_map(|v| format!("{{{}}}", v.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_serde_json(text in json_text()) {
        agree(text.as_bytes());
    }

    #[test]
    fn agrees_on_damaged_texts(text in json_text(), at in any::<prop::sample::Index>(), b: u8) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = b;
        agree(&bytes);
        bytes.remove(at);
        agree(&bytes);
        bytes.truncate(at);
        agree(&bytes);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        agree(&bytes);
    }

    #[test]
    fn any_json_letters_are_answered(text in "[\\[\\]{}:,\"\\\\u0-9a-f.eE+ -]{0,60}") {
        agree(text.as_bytes());
    }
}
