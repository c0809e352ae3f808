//! Canonical JSON: the rules on top of RFC 8785, and that it is a fixed point.

use crate::support::shared;
use chancery::format::canon::{canonical, is_canonical, to_canonical};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn check(input: &str, expect: &str) {
    let bytes = canonical(input.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expect, "{input}");
    assert!(is_canonical(expect.as_bytes()), "{expect}");
}

fn refuses(input: &str, code: &str) {
    assert_eq!(canonical(input.as_bytes()).map_err(|r| r.code), Err(code), "{input}");
}

#[test]
fn goldens() {
    check("{}", "{}");
    check(" [ 1 , 2.0 , -0 , -0.0, 1e2 ] ", "[1,2,0,0,100]");
    check(r#"{"b":1,"a":{"d":[],"c":null}}"#, r#"{"a":{"c":null,"d":[]},"b":1}"#);
    check("9007199254740991", "9007199254740991");
    check("-9007199254740991", "-9007199254740991");
    check("1e21", "1e+21");
    check("0.000001", "0.000001");
    check("0.0000001", "1e-7");
    check("0.1000000000000000055", "0.1");
    check(r#""\u0041\u000a\/\u00e9\ud83d\ude00""#, "\"A\\n/\u{e9}\u{1f600}\"");
    check(r#""\u0000\u001F\u007f""#, "\"\\u0000\\u001f\u{7f}\"");
    // Keys sort by UTF-16 units: U+1F600 (d83d) before U+FB33.
    check("{\"\u{fb33}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{fb33}\":1}");
}

/// Attack 40, as far as it concerns clear JSON.
#[test]
fn what_readers_could_read_differently_is_refused() {
    refuses(r#"{"a":1,"a":1}"#, "JSON_DUPLICATE_KEY");
    refuses(r#"[{"x":{"a":1,"\u0061":2}}]"#, "JSON_DUPLICATE_KEY");
    refuses("9007199254740992", "JSON_INTEGER_RANGE");
    refuses("[-9007199254740993]", "JSON_INTEGER_RANGE");
    refuses("18446744073709551616", "JSON_INTEGER_RANGE");
    refuses("1000000000000000000000000", "JSON_INTEGER_RANGE");
    refuses("9007199254740993.0", "JSON_INTEGER_RANGE");
    refuses("{\"a\":1e20}", "JSON_INTEGER_RANGE");
    refuses("1e400", "JSON_NUMBER");
    refuses(r#""\ud800""#, "JSON_SURROGATE");
    refuses("NaN", "JSON_SYNTAX");
    refuses("1 2", "JSON_SYNTAX");
    refuses("", "JSON_SYNTAX");
    refuses(&"[".repeat(10_000), "JSON_DEPTH");
}

#[test]
fn values_of_ours() {
    let map = BTreeMap::from([("b", 2u64), ("a", (1 << 53) - 1)]);
    assert_eq!(to_canonical(&map).unwrap(), br#"{"a":9007199254740991,"b":2}"#);
    for number in [1u64 << 53, (1 << 53) + 1, u64::MAX] {
        assert_eq!(to_canonical(&[number]).map_err(|r| r.code), Err("JSON_INTEGER_RANGE"));
    }
    assert_eq!(to_canonical(&[-(1i64 << 53)]).map_err(|r| r.code), Err("JSON_INTEGER_RANGE"));
    assert_eq!(to_canonical(&[1e20]).map_err(|r| r.code), Err("JSON_INTEGER_RANGE"));
    assert_eq!(to_canonical(&[f64::NAN, f64::INFINITY]).unwrap(), b"[null,null]");
    assert_eq!(to_canonical(&[0.5, 1e21]).unwrap(), b"[0.5,1e+21]");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        (-9_007_199_254_740_991i64..=9_007_199_254_740_991).prop_map(serde_json::Value::from),
        (-1e15..1e15).prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Canonical text is a fixed point, both entrances agree, and the value survives.
    #[test]
    fn canonical_is_a_fixed_point(value in any_json()) {
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        let once = canonical(&pretty).unwrap();
        prop_assert!(is_canonical(&once));
        prop_assert_eq!(&to_canonical(&value).unwrap(), &once);
        let back: serde_json::Value = serde_json::from_slice(&once).unwrap();
        prop_assert_eq!(to_canonical(&back).unwrap(), once);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(once) = canonical(&bytes) {
            prop_assert!(is_canonical(&once));
        }
    }

    #[test]
    fn any_text_like_json_is_answered(text in r#"[\[\]{}:,"\\u0-9eE.+a-f -]{0,40}"#) {
        if let Ok(once) = canonical(text.as_bytes()) {
            prop_assert!(is_canonical(&once));
        }
    }
}

/// The six input/output pairs of the RFC's author, and their hex form.
#[test]
#[ignore = "needs ../shared"]
fn jcs_pairs() {
    let folder = shared().join("vectors/jcs/testdata");
    let mut count = 0;
    for entry in std::fs::read_dir(folder.join("input")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let input = std::fs::read(folder.join("input").join(&name)).unwrap();
        let output = std::fs::read(folder.join("output").join(&name)).unwrap();
        let hex_name = name.replace(".json", ".txt");
        let hex = std::fs::read_to_string(folder.join("outhex").join(hex_name)).unwrap();
        let hex: Vec<u8> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert_eq!(canonical(&input).unwrap(), output, "{name}");
        assert_eq!(hex, output, "{name}");
        assert!(is_canonical(&output), "{name}");
        count += 1;
    }
    assert_eq!(count, 6);
}
