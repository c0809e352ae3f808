//! What may be emitted: one JSON object of at most 1 MiB with a text as its `id`, which is put in
//! where it is missing. Checked by the scanner the vault itself uses, so that what it would refuse
//! as JSON is refused here, to the caller, and not days later. It never changes a value.

use crate::base::limits::EVENT_BYTES_MAX;
use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::base::world::{Entropy, random};
use crate::format::json::{Kind, Tape};

/// Characters of an id.
pub const ID_CHARS_MAX: usize = 128;

/// Name of an event: what the vault tells duplicates by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId(pub String);

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event as it is spooled and sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its id.
    pub id: EventId,
    /// One line of JSON.
    pub json: Vec<u8>,
}

/// Checks an event and gives it an id if it has none.
///
/// # Errors
/// The code the vault would refuse it with.
pub fn prepare(
    json: &[u8],
    now: UtcNanos,
    entropy: &dyn Entropy,
    tape: &mut Tape,
) -> Result<Ready, Refusal> {
    let json = json.trim_ascii();
    let root = tape.scan(json)?;
    if root.kind() != Kind::Object {
        return Err(Refusal::new("EVENT_NOT_OBJECT", "send one object per event"));
    }
    // Between tokens only: no text of JSON holds a raw line end.
    let flat = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect()
    };
    let ready = match root.get("id") {
        Some(value) => {
            let id = value.string().filter(|id| (1..=ID_CHARS_MAX).contains(&id.chars().count()));
            let fix = "send a text of 1 to 128 characters, or leave it out";
            let id = id.ok_or(Refusal::new("FIELD_TYPE", fix).field("id"))?;
            Ready { id: EventId(id.into_owned()), json: flat(json) }
        }
        None => {
            let id = uuid_v7(now, entropy);
            let is_empty = root.members().next().is_none();
            let mut with = format!("{{\"id\":\"{id}\"{}", if is_empty { "" } else { "," });
            let rest = flat(json.get(1..).unwrap_or_default());
            let mut json = std::mem::take(&mut with).into_bytes();
            json.extend_from_slice(&rest);
            Ready { id: EventId(id), json }
        }
    };
    if ready.json.len() > EVENT_BYTES_MAX {
        let refusal = Refusal::new("EVENT_TOO_LARGE", "it is over the limit with its id");
        return Err(refusal.limit(EVENT_BYTES_MAX as u64));
    }
    Ok(ready)
}

/// A UUID of version 7 (RFC 9562): milliseconds of the wall clock, then 74 random bits.
pub fn uuid_v7(now: UtcNanos, entropy: &dyn Entropy) -> String {
    let mut bytes: [u8; 16] = random(entropy);
    let millis = (now.0 / 1_000_000).to_be_bytes();
    for (at, byte) in bytes.iter_mut().enumerate() {
        match at {
            0..6 => *byte = millis.get(at + 2).copied().unwrap_or(0),
            6 => *byte = 0x70 | (*byte & 0x0f),
            8 => *byte = 0x80 | (*byte & 0x3f),
            _ => {}
        }
    }
    let mut text = crate::base::id::hex(&bytes);
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

/// The id of an event out of the spool.
pub fn id_of(json: &[u8], tape: &mut Tape) -> Option<EventId> {
    let root = tape.scan(json).ok()?;
    root.get("id")?.string().map(|id| EventId(id.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Entropy for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    /// Milliseconds and version as in RFC 9562, appendix A.6.
    const NOW: UtcNanos = UtcNanos(1_645_557_742_000_999_999);

    #[test]
    fn an_event_gets_an_id_and_keeps_one_and_stays_as_it_is() {
        let id = "017f22e2-79b0-7fff-bfff-ffffffffffff";
        for (json, with_id, expect) in [
            (r#"{"a":1}"#, id, format!(r#"{{"id":"{id}","a":1}}"#)),
            (" {}\n", id, format!(r#"{{"id":"{id}"}}"#)),
            ("{\n \"a\":\r\n1.50 }", id, format!(r#"{{"id":"{id}",  "a":  1.50 }}"#)),
            (r#"{"a":{"id":"x"}}"#, id, format!(r#"{{"id":"{id}","a":{{"id":"x"}}}}"#)),
            (r#"{"a":1,"id":"e-\u0031"}"#, "e-1", r#"{"a":1,"id":"e-\u0031"}"#.to_owned()),
        ] {
            let ready = prepare(json.as_bytes(), NOW, &Ones, &mut Tape::new()).unwrap();
            assert_eq!(ready.id.0, with_id);
            assert_eq!(String::from_utf8(ready.json.clone()).unwrap(), expect);
            assert_eq!(id_of(&ready.json, &mut Tape::new()), Some(ready.id));
        }
    }

    #[test]
    fn what_the_vault_would_refuse_is_refused_here() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(EVENT_BYTES_MAX - 10));
        for (json, code) in [
            ("", "JSON_SYNTAX"),
            ("[]", "EVENT_NOT_OBJECT"),
            (r#"{"a":1,"a":2}"#, "JSON_DUPLICATE_KEY"),
            (r#"{"a":"\ud800"}"#, "JSON_SURROGATE"),
            (r#"{"a":NaN}"#, "JSON_SYNTAX"),
            (r#"{"id":7}"#, "FIELD_TYPE"),
            (r#"{"id":""}"#, "FIELD_TYPE"),
            (r#"{"id":null}"#, "FIELD_TYPE"),
            (&long, "EVENT_TOO_LARGE"),
        ] {
            let refused = prepare(json.as_bytes(), NOW, &Ones, &mut Tape::new()).err();
            assert_eq!(refused.map(|r| r.code), Some(code));
        }
    }
}
