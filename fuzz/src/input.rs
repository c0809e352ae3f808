//! What people and other systems send: JSON, events, policies, filters, schedules; and what goes
//! out to SIEMs, where one event must stay one line whatever it says.

use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{Draft, EventCode, Outcome, Severity};
use chancery::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use chancery::base::record::{Fate, Record, RecordField, SubjectToken};
use chancery::base::refusal::Refusal;
use chancery::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use chancery::format::canon::{canonical, is_canonical};
use chancery::format::json::Tape;
use chancery::format::siem::mapping::{CEF_DEFAULT, LEEF_DEFAULT, Mapping};
use chancery::format::siem::{Context, Options, Pipe, Substitutions, cef, leef};
use chancery::policy::classify::{Policies, Scratch};
use chancery::policy::default_files;
use chancery::policy::schedule::{Schedule, Zones};
use chancery::query::filter::{Filter, Names};
use serde_json::Value;
use std::sync::OnceLock;

/// A refusal is a page's worth of words at most, of our own alphabet.
fn terse(refusal: &Refusal) {
    let text = refusal.to_string();
    assert!(text.is_ascii() && text.len() < 400, "{text}");
}

/// The scanner against serde_json: the same texts, but for what the scanner alone refuses.
pub fn json(data: &[u8]) -> bool {
    let mut tape = Tape::new();
    let other: Result<Value, _> = serde_json::from_slice(data);
    match tape.scan(data) {
        Ok(value) => {
            let other = other.expect("serde_json reads what the scanner accepts");
            let again: Value = serde_json::from_str(value.raw()).expect("its raw text is JSON");
            assert_eq!(again, other);
            if let Some(text) = value.string() {
                assert_eq!(Some(&*text), other.as_str());
            }
            let members = other.as_object().map_or(0, serde_json::Map::len);
            assert_eq!(value.members().count(), members, "no key twice, none lost");
            for member in value.members() {
                let held = other.get(&*member.key.text()).expect("the same keys");
                let value: Value = serde_json::from_str(member.value.raw()).expect("JSON");
                assert_eq!(value, *held);
            }
            true
        }
        Err(refusal) => {
            terse(&refusal);
            let strict = ["JSON_DUPLICATE_KEY", "JSON_DEPTH", "EVENT_TOO_LARGE", "JSON_NUMBER"];
            assert!(other.is_err() || strict.contains(&refusal.code), "{}", refusal.code);
            false
        }
    }
}

/// RFC 8785: canonical once is canonical for ever, and says the same.
pub fn canon(data: &[u8]) -> bool {
    let Ok(once) = canonical(data) else { return false };
    assert!(is_canonical(&once));
    assert_eq!(canonical(&once).expect("canonical text is JSON"), once);
    assert_eq!(is_canonical(data), once == data);
    true
}

fn policies() -> &'static Policies {
    static POLICIES: OnceLock<Policies> = OnceLock::new();
    POLICIES.get_or_init(|| Policies::parse(&default_files()).expect("the shipped policies"))
}

/// An event through the real policies; the first byte chooses the source.
pub fn intake(data: &[u8]) -> bool {
    const SOURCES: [&str; 3] = ["app", "cloudtrail", "windows-security"];
    let Some((choice, json)) = data.split_first() else { return false };
    let source = SOURCES.get(usize::from(*choice) % SOURCES.len()).copied().unwrap_or("app");
    let draft = Draft { source, json };
    let mut scratch = Scratch::default();
    let first = policies().event(draft, &mut scratch);
    // What one event leaves in the working memory is nothing to the next.
    let second = policies().event(draft, &mut scratch);
    match (first, second) {
        (Ok(event), Ok(same)) => {
            assert!(event == same, "the same event twice is the same");
            let mut bytes = event.clear.len();
            for field in event.groups.iter().flat_map(|group| &group.fields) {
                let mut tape = Tape::new();
                assert!(tape.scan(&field.value).is_ok(), "a sealed value is JSON");
                bytes += field.value.len();
            }
            assert!(event.clear.is_empty() || is_canonical(&event.clear));
            // A value may be sealed for several persons at most once each; nothing grows else.
            assert!(bytes <= 2 * json.len() + 4096, "{bytes} of {}", json.len());
            true
        }
        (Err(refusal), Err(same)) => {
            assert_eq!(refusal, same);
            terse(&refusal);
            false
        }
        _ => panic!("accepted once and refused once"),
    }
}

/// A policy file in place of the shipped one; the first byte chooses which.
pub fn policy(data: &[u8]) -> bool {
    const FILES: [&str; 3] = ["classes.toml", "fields.toml", "sources/canonical.toml"];
    let Some((choice, rest)) = data.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let name = FILES.get(usize::from(*choice) % FILES.len()).copied().unwrap_or("classes.toml");
    let mut files = default_files();
    files.insert(name.to_owned(), text.to_owned());
    match Policies::parse(&files) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
            false
        }
    }
}

/// Terms of a query, one a line. A refusal never repeats what was asked.
pub fn filter(data: &[u8]) -> bool {
    const CANARY: &str = "Quellmalz";
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let names = Names {
        source: &|name| (!name.is_empty()).then_some(SourceHandle([7; 16])),
        is_registered: &|name| name.starts_with("actor."),
    };
    let marked: Vec<String> = text.split('\n').map(|term| format!("{term}{CANARY}")).collect();
    let marked: Vec<&str> = marked.iter().map(String::as_str).collect();
    if let Err(refusal) = Filter::parse(&marked, &names) {
        assert!(!refusal.to_string().contains(CANARY));
    }
    let terms: Vec<&str> = text.split('\n').collect();
    match Filter::parse(&terms, &names) {
        Ok(filter) => {
            let _ = filter.matches(&record(&[]).entry);
            true
        }
        Err(refusal) => {
            terse(&refusal);
            false
        }
    }
}

/// A schedule, its zone on a second line, and when it fires next: later than now, and found in
/// bounded time.
pub fn schedule(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    if text.len() > 256 {
        return false;
    }
    let (cron, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    let Ok(schedule) = Schedule::parse(cron, zone, &Zones::built_in()) else { return false };
    let now = UtcNanos(1_795_000_000_000_000_000);
    assert!(schedule.next(now).is_none_or(|next| next > now));
    true
}

/// A SIEM mapping.
pub fn mapping(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match Mapping::parse(text) {
        Ok(mapping) => {
            let format = mapping.format;
            let mut out = Vec::new();
            let record = record(&["x=y|z\\", "a\nb"]);
            let (context, options) = (Context::default(), Options::default());
            let _ = match format {
                chancery::format::siem::Format::Cef => {
                    cef::encode(&record, &context, &mapping, &options, &mut out)
                }
                chancery::format::siem::Format::Leef => {
                    leef::encode(&record, &context, &mapping, &options, &mut out)
                }
            };
            assert!(!out.iter().any(|b| matches!(b, b'\n' | b'\r' | 0)));
            true
        }
        Err(refusal) => {
            terse(&refusal);
            false
        }
    }
}

const SEALED: [&str; 4] = ["actor.email", "actor.name", "message", "target.name"];

/// A record whose sealed fields hold these texts.
fn record(values: &[&str]) -> Record {
    let named: Vec<(&str, &str)> = SEALED.into_iter().zip(values.iter().copied()).collect();
    let group = GroupHead {
        policy: GroupPolicy::AnySubject,
        class: ClassId(3),
        bucket: Day(20_778),
        tags: vec![0],
    };
    let field = |(name, _): &(&str, &str)| FieldHead {
        name: (*name).into(),
        group: 0,
        commitment: Hash32([0x77; 32]),
    };
    let head = Head {
        kind: Kind::Event,
        class: ClassId(3),
        time: UtcNanos(1_795_000_000_000_000_000),
        tenant: TenantId([0x11; 16]),
        record: RecordId([0x22; 16]),
        event_id: EventIdTag([0x33; 16]),
        source: SourceHandle([0x44; 16]),
        source_seq: Some(7),
        code: EventCode::parse("authorization.grant").expect("a code"),
        outcome: Outcome::Failure,
        severity: Severity::default(),
        tags: vec![SubjectTag([0x55; 16])],
        groups: vec![group],
        fields: named.iter().map(field).collect(),
        clear: br#"{"purpose":"treatment"}"#.to_vec(),
    };
    let time_log = UtcNanos(1_795_000_000_500_000_000);
    let sealed = |(name, value): &(&str, &str)| RecordField {
        name: (*name).into(),
        group: 0,
        value: serde_json::to_vec(value).ok(),
        salt: None,
    };
    Record {
        entry: Entry { head, index: EntryIndex(1042), time_log, prev: Hash32([0x88; 32]) },
        leaf: Hash32([0x99; 32]),
        source: values.last().map(|value| (*value).into()),
        groups: vec![Fate::Open],
        fields: named.iter().map(sealed).collect(),
        tokens: vec![SubjectToken { tag: 0, token: "a0".repeat(16) }],
    }
}

fn texts(data: &[u8]) -> Option<Vec<&str>> {
    data.split(|byte| *byte == 0xff).map(|part| std::str::from_utf8(part).ok()).collect()
}

fn named(text: &str) -> Mapping {
    let text = text.replace("preset = \"tokens\"", "preset = \"named\"");
    Mapping::parse(&text).expect("the shipped mapping")
}

/// Keys of the extension are those of the mapping, whatever a value says.
fn known_keys(mapping: &Mapping, found: &[&str]) {
    for key in found {
        let plain = key.strip_suffix("Label").unwrap_or(key);
        let twin = |own: &str| {
            let twin = chancery::format::siem::dictionary::ipv6_twin(own);
            twin.is_some_and(|(twin, _)| twin == plain)
        };
        let known = mapping.fields.iter().any(|f| f.key == plain || twin(&f.key));
        assert!(known, "a key nobody mapped: {key}");
    }
}

/// CEF: one line, seven pipes of its own, no key but the mapping's.
pub fn siem_cef(data: &[u8]) -> bool {
    let Some(values) = texts(data) else { return false };
    let mapping = named(CEF_DEFAULT);
    let host = values.first().copied();
    let context = Context { version: "0.1.0", host, checkpoint: None };
    let options = Options { granted: &SEALED, pipe: Pipe::Keep };
    let mut out = Vec::new();
    let made = cef::encode(&record(&values), &context, &mapping, &options, &mut out);
    let Ok(_) = made else { return false };
    let line = String::from_utf8(out).expect("a line is UTF-8");
    assert!(!line.contains(['\n', '\r', '\0']));
    let mut rest = line.as_str();
    for _ in 0..7 {
        let cut = unescaped(rest, '|').expect("seven fields in front");
        rest = rest.get(cut + 1..).unwrap_or_default();
    }
    let mut keys = Vec::new();
    while let Some(cut) = unescaped(rest, '=') {
        let (before, after) = rest.split_at(cut);
        keys.push(before.rsplit(' ').next().unwrap_or_default());
        rest = after.get(1..).unwrap_or_default();
    }
    known_keys(&mapping, &keys);
    true
}

/// Place of the first such character that no backslash escapes.
fn unescaped(text: &str, wanted: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == wanted && !escaped {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// LEEF: one line, no key but the mapping's, no delimiter in a value.
pub fn siem_leef(data: &[u8]) -> bool {
    let Some(values) = texts(data) else { return false };
    let mapping = named(LEEF_DEFAULT);
    let context = Context { version: "0.1.0", host: values.first().copied(), checkpoint: None };
    let options = Options { granted: &SEALED, pipe: Pipe::Keep };
    let mut out = Vec::new();
    let made = leef::encode(&record(&values), &context, &mapping, &options, &mut out);
    let Ok(_) = made else { return false };
    let line = String::from_utf8(out).expect("a line is UTF-8");
    assert!(!line.contains(['\n', '\r', '\0']));
    let mut count = Substitutions::default();
    for value in &values {
        let clean = leef::value(value, 1000, mapping.delimiter, &mut count);
        assert!(!clean.contains(mapping.delimiter) && !clean.contains(['\n', '\r']));
    }
    let extension = line.splitn(7, '|').nth(6).unwrap_or_default();
    let keys: Vec<&str> = extension
        .split(mapping.delimiter)
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').expect("key and value").0)
        .collect();
    known_keys(&mapping, &keys);
    true
}
