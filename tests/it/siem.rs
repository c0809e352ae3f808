//! CEF, LEEF, mappings, masking, exports and filters.
//! Attack 44: whatever a value holds, one event stays one line and no key appears that the
//! mapping did not name.

mod conformance;
mod export;
mod mapping;
mod parser;

use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{EventCode, Outcome, Severity};
use chancery::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use chancery::base::record::{Fate, Record, RecordField, SubjectToken};
use chancery::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use chancery::format::siem::mapping::{CEF_DEFAULT, LEEF_DEFAULT, Mapping};
use chancery::format::siem::{Context, Format, Options, Pipe, Substitutions, cef, leef};
use chancery::query::filter::{Filter, Names};
use proptest::prelude::*;
use std::path::Path;

const CONTEXT: Context<'static> =
    Context { version: "0.1.0", host: Some("vault-1"), checkpoint: Some("1043:ab12") };

/// A record of one event whose fields are each sealed in a group of one subject; even positions
/// belong to the actor (tag 0), odd ones to the target (tag 1).
fn record(fields: &[(&str, &str)], fate: Fate) -> Record {
    let group = |tag| GroupHead {
        policy: GroupPolicy::AnySubject,
        class: ClassId(3),
        bucket: Day(20_778),
        tags: vec![tag],
    };
    let mut named: Vec<_> = fields.to_vec();
    named.sort();
    let owner = |name: &str| u8::from(name.starts_with("target."));
    let head = Head {
        kind: Kind::Event,
        class: ClassId(3),
        time: UtcNanos::parse("2026-11-21T08:26:10.123456Z").unwrap(),
        tenant: TenantId([0x11; 16]),
        record: RecordId([0x22; 16]),
        event_id: EventIdTag([0x33; 16]),
        source: SourceHandle([0x44; 16]),
        source_seq: Some(7),
        code: EventCode::parse("authorization.grant").unwrap(),
        outcome: Outcome::Failure,
        severity: Severity::new(6).unwrap(),
        tags: vec![SubjectTag([0x55; 16]), SubjectTag([0x66; 16])],
        groups: vec![group(0), group(1)],
        fields: named
            .iter()
            .map(|(name, _)| FieldHead {
                name: (*name).into(),
                group: owner(name),
                commitment: Hash32([0x77; 32]),
            })
            .collect(),
        clear: br#"{"purpose":"treatment","read_only":true}"#.to_vec(),
    };
    let open = fate == Fate::Open;
    Record {
        entry: Entry {
            head,
            index: EntryIndex(1042),
            time_log: UtcNanos::parse("2026-11-21T08:26:10.5Z").unwrap(),
            prev: Hash32([0x88; 32]),
        },
        leaf: Hash32([0x99; 32]),
        source: Some("gateway".into()),
        groups: vec![fate, fate],
        fields: named
            .iter()
            .map(|(name, value)| RecordField {
                name: (*name).into(),
                group: owner(name),
                value: open.then(|| serde_json::to_vec(value).unwrap()),
                salt: None,
            })
            .collect(),
        tokens: match fate {
            Fate::Erased | Fate::Expired => Vec::new(),
            _ => vec![
                SubjectToken { tag: 0, token: "a0".repeat(16) },
                SubjectToken { tag: 1, token: "b1".repeat(16) },
            ],
        },
    }
}

const NASTY: &[(&str, &str)] = &[
    ("actor.name", "o'brien=admin|x\\y"),
    ("message", "line one\nline two = a|b \\ end\r\nCEF:0|fake|x|1|y|z|9|act=forged ^sev=1\t"),
    ("origin.ip", "2001:db8::5"),
    ("target.name", "jo\u{eb}"),
];

/// An act of the vault: no subjects, no fields, no time of a source.
fn act(kind: Kind, code: &str) -> Record {
    let mut record = record(&[], Fate::Sealed);
    let head = &mut record.entry.head;
    head.kind = kind;
    head.code = EventCode::parse(code).unwrap();
    head.outcome = Outcome::Success;
    head.severity = Severity::new(0).unwrap();
    head.time = UtcNanos(0);
    head.source = SourceHandle::ZERO;
    head.source_seq = None;
    head.event_id = EventIdTag::ZERO;
    head.tags.clear();
    head.groups.clear();
    head.clear.clear();
    record.source = None;
    record.groups.clear();
    record.tokens.clear();
    record
}

fn named(text: &str) -> Mapping {
    Mapping::parse(&text.replace("preset = \"tokens\"", "preset = \"named\"")).unwrap()
}

fn line(record: &Record, mapping: &Mapping, options: &Options<'_>) -> (String, Substitutions) {
    let mut out = b"before\n".to_vec();
    let encode = match mapping.format {
        Format::Cef => cef::encode,
        Format::Leef => leef::encode,
    };
    let count = encode(record, &CONTEXT, mapping, options, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    (text.strip_prefix("before\n").unwrap().to_owned(), count)
}

/// Compares with a golden file; `UPDATE=1` rewrites it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/siem").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn golden_lines() {
    let all: &[&str] = &["actor.name", "message", "origin.ip", "target.name"];
    for (name, text) in [("cef", CEF_DEFAULT), ("leef", LEEF_DEFAULT)] {
        let tokens = Mapping::parse(text).unwrap();
        let siem =
            Mapping::parse(&text.replace("preset = \"tokens\"", "preset = \"siem\"")).unwrap();
        let granted = Options { granted: all, pipe: Pipe::Keep };
        let replaced = Options { granted: all, pipe: Pipe::Replace };
        let open = record(NASTY, Fate::Open);
        let cases = [
            ("tokens, sealed", line(&record(NASTY, Fate::Sealed), &tokens, &Options::default())),
            ("tokens, open and granted", line(&open, &tokens, &granted)),
            ("siem, granted", line(&open, &siem, &granted)),
            ("named, nothing granted", line(&open, &named(text), &Options::default())),
            ("named, granted", line(&open, &named(text), &granted)),
            ("named, granted, pipes replaced", line(&open, &named(text), &replaced)),
            ("named, erased", line(&record(NASTY, Fate::Erased), &named(text), &granted)),
            ("named, expired", line(&record(NASTY, Fate::Expired), &named(text), &granted)),
            ("tokens, altered", line(&record(NASTY, Fate::AuthFailed), &tokens, &granted)),
            ("erase-done", line(&act(Kind::EraseDone, "vault.erase"), &tokens, &granted)),
            ("prune-done", line(&act(Kind::PruneDone, "vault.retain"), &tokens, &granted)),
            ("seal", line(&act(Kind::Seal, "vault.verify"), &tokens, &granted)),
        ];
        let mut text = String::new();
        for (case, (line, count)) in cases {
            text.push_str(&format!("# {case}\n{line}\n{count:?}\n\n"));
        }
        golden(&format!("{name}.txt"), &text);
    }
}

#[test]
fn every_act_of_the_vault_has_its_own_class_and_name() {
    let mapping = Mapping::parse(CEF_DEFAULT).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for &kind in Kind::ALL.iter().filter(|&&kind| kind != Kind::Event) {
        let (text, _) = line(&act(kind, "vault.other"), &mapping, &Options::default());
        let parsed = parser::cef(&text).unwrap();
        assert!(parsed.header[3].starts_with("vault."), "{kind}");
        assert_ne!(parsed.header[4], "Audit event", "{kind}");
        assert!(seen.insert(parsed.header[3].clone()), "{kind}");
    }
    assert_eq!(seen.len(), 15);
    assert!(seen.contains("vault.erase") && seen.contains("vault.prune"));
}

#[test]
fn masking_shows_no_more_than_preset_and_grant_allow() {
    let secret = "Jane Secret";
    let fields = [("actor.name", secret), ("origin.ip", "192.0.2.77"), ("message", "to Jane")];
    let open = record(&fields, Fate::Open);
    for text in [CEF_DEFAULT, LEEF_DEFAULT] {
        let every: &[&str] = &["actor.name", "origin.ip", "message"];
        let check = |preset: &str, granted: &[&str], shown: &[&str], hidden: &[&str]| {
            let text = text.replace("preset = \"tokens\"", &format!("preset = \"{preset}\""));
            let mapping = Mapping::parse(&text).unwrap();
            let options = Options { granted, pipe: Pipe::Keep };
            let (line, count) = line(&open, &mapping, &options);
            for word in shown {
                assert!(line.contains(word), "{preset}: {word} in {line}");
            }
            for word in hidden {
                assert!(!line.contains(word), "{preset}: {word} in {line}");
            }
            count
        };
        let all = [secret, "192.0.2.77", "to Jane"];
        let token = "a0".repeat(16);
        assert_eq!(check("tokens", every, &[&token], &all).withheld, 3);
        assert_eq!(check("named", &[], &[&token], &all).withheld, 3);
        check("named", &["actor.nam", "actor", "*"], &[&token], &all);
        check("named", &["origin.ip"], &[&token, "192.0.2.77"], &[secret, "to Jane"]);
        check("named", every, &all, &[]);
        let count = check("siem", every, &["=192.0.2.0", &token], &all);
        assert_eq!((count.prefixed, count.withheld), (1, 2));
        check("siem", &[], &[&token], &["192.0.2"]);
    }
}

#[test]
fn a_value_is_shown_only_if_its_group_is_open() {
    let mapping = named(CEF_DEFAULT);
    let options = Options { granted: &["actor.name"], pipe: Pipe::Keep };
    let mut record = record(&[("actor.name", "Jane")], Fate::Open);
    for fate in [Fate::Erased, Fate::Expired, Fate::AuthFailed, Fate::CommitmentMismatch] {
        // The value lies there by somebody's mistake: the fate decides.
        record.groups = vec![fate, Fate::Open];
        let (line, _) = line(&record, &mapping, &options);
        assert!(!line.contains("Jane"), "{line}");
        assert!(line.contains(&format!("cs6={} cs6Label=Body Status", fate.name())), "{line}");
    }
}

#[test]
fn values_that_do_not_fit_their_type_are_left_out_and_counted() {
    let two = "from = [\"sealed:origin.ip\", \"sealed:actor.ip\"]";
    let mapping = named(&CEF_DEFAULT.replace("from = [\"sealed:origin.ip\"]", two));
    let options = Options { granted: &["origin.ip", "actor.ip"], pipe: Pipe::Keep };
    let fields = [("origin.ip", "not an address"), ("actor.ip", "::ffff:192.0.2.9")];
    let (text, count) = line(&record(&fields, Fate::Open), &mapping, &options);
    assert!(text.contains(" src=192.0.2.9 "), "{text}");
    assert_eq!(count.unfit, 1);

    // LEEF reads milliseconds by their 13 digits: an older instant gives way to log time.
    let mut old = record(&[], Fate::Sealed);
    old.entry.head.time = UtcNanos::parse("1999-12-31T23:59:59Z").unwrap();
    let (text, count) = line(&old, &Mapping::parse(LEEF_DEFAULT).unwrap(), &Options::default());
    assert!(text.contains("|devTime=1795249570500^"), "{text}");
    assert_eq!(count.unfit, 1);
    assert!(line(&old, &named(CEF_DEFAULT), &options).0.contains("|rt=946684799000 "));
}

#[test]
fn json_values_of_every_type_are_rendered_verbatim() {
    let mapping = named(CEF_DEFAULT);
    let options = Options { granted: &["message"], pipe: Pipe::Keep };
    let check = |json: &str, expect: Option<&str>| {
        let mut record = record(&[("message", "")], Fate::Open);
        record.fields[0].value = Some(json.as_bytes().to_vec());
        let parsed = parser::cef(&line(&record, &mapping, &options).0).unwrap();
        assert_eq!(parsed.values.get("msg").map(String::as_str), expect, "{json}");
    };
    // Beyond 2^53, and with an exponent: no detour through a float.
    check("9007199254740993", Some("9007199254740993"));
    check("1e400", Some("1e400"));
    check("true", Some("true"));
    check("{\"a\": [1,\n2]}", Some("{\"a\": [1,\n2]}"));
    check("\"\\u00eb\\ud83d\\udd12\\n\"", Some("\u{eb}\u{1f512}\n"));
    check("null", None);
    check("\"\"", None);
    check("\" \\t \"", None);
}

#[test]
fn tokens_belong_to_the_person_a_field_is_sealed_for() {
    let mapping = Mapping::parse(CEF_DEFAULT).unwrap();
    let mut record = record(NASTY, Fate::Sealed);
    let suser = |record: &Record| {
        let (text, _) = line(record, &mapping, &Options::default());
        parser::cef(&text).unwrap().values.get("suser").cloned()
    };
    assert_eq!(suser(&record), Some("a0".repeat(16)));
    // The other order of tags: the token follows the group, not the position.
    record.entry.head.groups.swap(0, 1);
    assert_eq!(suser(&record), Some("b1".repeat(16)));
    // Sealed for two: no token may stand for one of them.
    record.entry.head.groups[0].tags = vec![0, 1];
    assert_eq!(suser(&record), None);
    // A prefix is a word of the name, not its letters.
    record.entry.head.groups[0].tags = vec![0];
    record.entry.head.fields[0].name = "actors.name".into();
    assert_eq!(suser(&record), None);
}

#[test]
fn refusals_leave_the_output_alone() {
    let mapping = Mapping::parse(CEF_DEFAULT).unwrap();
    let check = |record: &Record, mapping: &Mapping, granted: &[&str], code: &str| {
        let mut out = b"kept".to_vec();
        let options = Options { granted, pipe: Pipe::Keep };
        let refusal = cef::encode(record, &CONTEXT, mapping, &options, &mut out).unwrap_err();
        assert_eq!((refusal.code, out.as_slice()), (code, b"kept".as_slice()));
    };
    let mut broken = record(&[("actor.name", "Jane")], Fate::Open);
    check(&broken, &Mapping::parse(LEEF_DEFAULT).unwrap(), &[], "SIEM_FORMAT_MISMATCH");
    broken.fields[0].value = Some(b"\"Jane".to_vec());
    check(&broken, &named(CEF_DEFAULT), &["actor.name"], "SIEM_VALUE_INVALID");
    broken.entry.head.clear = b"[]".to_vec();
    check(&broken, &mapping, &[], "SIEM_CLEAR_INVALID");
}

/// What a reader must get back, stated anew: controls and outer spaces gone, cut to `max`.
fn intended(text: &str, max: usize, keep_breaks: bool, swaps: &[(char, char)]) -> String {
    let text = if keep_breaks { text.to_owned() } else { text.replace("\r\n", "\n") };
    let mapped: Vec<char> = text
        .chars()
        .map(|c| match c {
            '\r' | '\n' if keep_breaks => c,
            c if swaps.iter().any(|s| s.0 == c) => swaps.iter().find(|s| s.0 == c).unwrap().1,
            c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => ' ',
            c => c,
        })
        .collect();
    let loose = |c: char| c.is_whitespace() && c != '\r' && c != '\n';
    let text: String = mapped.into_iter().collect();
    let cut: String = text.trim_start_matches(loose).chars().take(max).collect();
    cut.trim_end_matches(loose).to_owned()
}

fn hostile() -> impl Strategy<Value = String> {
    let special: Vec<char> =
        "\\|=^\t\r\n \0\u{b}\u{1b}\u{7f}\u{85}\u{2028}\u{2029}nrCEF:0".chars().collect();
    let one = prop_oneof![proptest::sample::select(special), any::<char>()];
    proptest::collection::vec(one, 0..80).prop_map(String::from_iter)
}

const HOSTILE_MAPPING: &str = r#"
format = "FORMAT"
version = "VERSION"
preset = "named"
vendor = "Chancery"
product = "Audit Vault"
default_name = "Audit event"
[[field]]
key = "KEY_TIME"
from = ["fact:time.log"]
[[field]]
key = "KEY_NAME"
from = ["sealed:actor.name"]
[[field]]
key = "KEY_HOST"
from = ["fact:host"]
max = 9
[[field]]
key = "KEY_TEXT"
from = ["clear:note"]
[[field]]
key = "cat"
from = ["fact:category"]
[[field]]
key = "ChanceryIndex"
from = ["fact:index"]
[[field]]
key = "ChanceryMessage"
from = ["sealed:message"]
[[field]]
key = "ChanceryLeaf"
from = ["fact:leaf"]
"#;

fn hostile_mapping(format: &str, version: &str, keys: [&str; 4]) -> Mapping {
    let [time, name, host, text] = keys;
    let toml = HOSTILE_MAPPING
        .replace("FORMAT", format)
        .replace("VERSION", version)
        .replace("KEY_TIME", time)
        .replace("KEY_NAME", name)
        .replace("KEY_HOST", host)
        .replace("KEY_TEXT", text);
    Mapping::parse(&toml).unwrap()
}

fn hostile_record(values: &[String; 3]) -> Record {
    let fields = [("actor.name", values[0].as_str()), ("message", values[1].as_str())];
    let mut record = record(&fields, Fate::Open);
    record.entry.head.clear =
        serde_json::to_vec(&serde_json::json!({ "note": values[2] })).unwrap();
    record
}

/// Every key with what it must read as; empty values are not there at all.
fn expected(pairs: [(&str, String); 4]) -> Vec<(String, String)> {
    pairs.into_iter().filter(|p| !p.1.is_empty()).map(|(k, v)| (k.to_owned(), v)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn attack_44_no_value_leaves_its_place_in_cef(
        values in [hostile(), hostile(), hostile()],
        outside in [hostile(), hostile()],
        replace in any::<bool>(),
    ) {
        let mapping = hostile_mapping("cef", "0", ["rt", "suser", "dvchost", "reason"]);
        let record = hostile_record(&values);
        let context = Context { version: &outside[0], host: Some(&outside[1]), checkpoint: None };
        let pipe = if replace { Pipe::Replace } else { Pipe::Keep };
        let options = Options { granted: &["actor.name", "message"], pipe };
        let mut out = Vec::new();
        cef::encode(&record, &context, &mapping, &options, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.lines().count(), 1);
        prop_assert!(!text.ends_with([' ', '\t']));
        let parsed = parser::cef(&text).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&parsed.header[2], &intended(&outside[0], 31, false, &[]));
        let swaps: &[(char, char)] = if replace { &[('|', '/')] } else { &[] };
        let reads = |text: &str, max| intended(text, max, true, swaps);
        let pairs = expected([
            ("suser", reads(&values[0], 1023)),
            ("dvchost", reads(&outside[1], 9)),
            ("reason", reads(&values[2], 1023)),
            ("ChanceryMessage", reads(&values[1], 4000)),
        ]);
        prop_assert_eq!(parsed.keys.len(), pairs.len() + 4);
        for (key, value) in pairs {
            prop_assert_eq!(parsed.values.get(&key), Some(&value), "{}", key);
        }
    }

    #[test]
    fn attack_44_no_value_leaves_its_place_in_leef(
        values in [hostile(), hostile(), hostile()],
        outside in [hostile(), hostile()],
        is_first_version in any::<bool>(),
    ) {
        let version = if is_first_version { "1.0" } else { "2.0" };
        let keys = ["devTime", "usrName", "vSrcName", "policy"];
        let mapping = hostile_mapping("leef", version, keys);
        let record = hostile_record(&values);
        let context = Context { version: &outside[0], host: Some(&outside[1]), checkpoint: None };
        let options = Options { granted: &["actor.name", "message"], pipe: Pipe::Keep };
        let mut out = Vec::new();
        leef::encode(&record, &context, &mapping, &options, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.lines().count(), 1);
        let parsed = parser::leef(&text, None).map_err(TestCaseError::fail)?;
        let swaps = [('|', '/'), (if is_first_version { '\t' } else { '^' }, ' ')];
        let reads = |text: &str, max| intended(text, max, false, &swaps);
        prop_assert_eq!(&parsed.header[2], &reads(&outside[0], 255));
        let pairs = expected([
            ("usrName", reads(&values[0], 255)),
            ("vSrcName", reads(&outside[1], 9)),
            ("policy", reads(&values[2], 4000)),
            ("ChanceryMessage", reads(&values[1], 4000)),
        ]);
        prop_assert_eq!(parsed.keys.len(), pairs.len() + 4);
        for (key, value) in pairs {
            prop_assert_eq!(parsed.values.get(&key), Some(&value), "{}", key);
        }
    }
}

#[test]
fn long_values_are_cut_on_a_character_and_counted() {
    let mapping = named(CEF_DEFAULT);
    let options = Options { granted: &["message"], pipe: Pipe::Keep };
    let long = "\u{1f512}=".repeat(600);
    let (text, count) = line(&record(&[("message", &long)], Fate::Open), &mapping, &options);
    let parsed = parser::cef(&text).unwrap();
    // 1023 characters of the value itself, not of its escapes or bytes.
    assert_eq!(parsed.values["msg"], long.chars().take(1023).collect::<String>());
    assert_eq!((count.truncated, count.total()), (1, 1));
}

#[test]
fn filters_agree_with_a_plain_reading() {
    let entry = record(&[], Fate::Sealed).entry;
    let handle = SourceHandle([0x44; 16]);
    let names =
        Names { source: &|name| (name == "gateway").then_some(handle), is_registered: &|_| false };
    let check = |terms: &[&str], expect: bool| {
        let filter = Filter::parse(terms, &names).unwrap();
        assert_eq!(filter.matches(&entry), expect, "{terms:?}");
    };
    check(&[], true);
    for (yes, no) in [
        ("kind=event", "kind=seal"),
        ("category=authorization", "category=data"),
        ("verb=grant", "verb=revoke"),
        ("code=authorization.grant", "code=authorization.revoke"),
        ("outcome=failure", "outcome=success"),
        ("class=3", "class=4"),
        ("source=gateway", "source=00000000000000000000000000000000"),
        ("record=22222222222222222222222222222222", "record=23222222222222222222222222222222"),
        ("severity>=6", "severity>6"),
        ("severity<=6", "severity<6"),
        ("index=1042..1043", "index=1041..1042"),
        ("index<=1042", "index<1042"),
        ("time=2026-11-21", "time=2026-11-20"),
        ("time>=2026-11-21T08:26:10.5Z", "time>2026-11-21T08:26:10.5Z"),
        ("event_time<=2026-11-21T08:26:10.123456Z", "event_time<2026-11-21T08:26:10.123456Z"),
    ] {
        check(&[yes], true);
        check(&[no], false);
        check(&[yes, "index>=1042"], true);
        // A conjunction: the second term decides, or the two can never hold together.
        let both = Filter::parse(&[yes, "index>=1043"], &names);
        assert!(!both.is_ok_and(|filter| filter.matches(&entry)), "{yes}");
    }
    let mut timeless = entry.clone();
    timeless.head.time = UtcNanos(0);
    let filter = Filter::parse(&["event_time<=2027-01-01"], &names).unwrap();
    assert!(filter.matches(&entry) && !filter.matches(&timeless));
}
