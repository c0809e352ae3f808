//! Bodies of the collector protocol become drafts. An `event` that is an object is the draft as it
//! is, so the product's own record goes through its mapping; what else stands in the envelope is
//! kept, byte for byte, in a member that no mapping knows and so ends sealed in `data`. Text is
//! wrapped, for the mappings that read wrapped text. It never drops a member and never takes the
//! source out of a body.

use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::format::json::{Kind, Tape, Value};
use crate::policy::classify::Policies;
use crate::policy::terms::Terms;
use crate::server::hec::answer::Told;
use crate::server::problem::Problem;
use serde_json::value::RawValue;

/// The member that holds the rest of the envelope.
pub const ENVELOPE: &str = "hec_envelope";
/// Name of the mapping that takes anything.
const PLAIN: &str = "plain";
/// What a line of text is called in the canonical event.
const LINE: &str = "log.line";
/// Digits of a second's fraction that are read.
const FRACTION_DIGITS: usize = 9;

/// What the mapping of a source reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A product's own records: no text, and times of its own.
    Native,
    /// The canonical event; text becomes one.
    Canonical,
    /// Anything, whole.
    Plain,
}

impl Form {
    /// By the mapping in force for a source.
    pub fn of(policies: &Policies, source: &str, terms: &Terms) -> Form {
        match policies.source_under(source, terms) {
            Some(mapping) if &*mapping.name == PLAIN => Form::Plain,
            Some(mapping) if mapping.fallback => Form::Canonical,
            _ => Form::Native,
        }
    }
}

/// Drafts of the events of a body, in order: objects one behind the other, with or without white
/// space between them, or one array of them.
///
/// # Errors
/// `Told` 5, 6, 12, 13, 15 with the place of the event; nothing is taken then.
pub fn events(body: &[u8], form: Form) -> Result<Vec<Vec<u8>>, Told> {
    let text = text_of(body)?;
    let stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut tape, mut drafts) = (Tape::default(), Vec::new());
    for next in stream {
        let at = drafts.len();
        let raw = next.map_err(|_| Told::invalid(at).reason("JSON_SYNTAX"))?.get();
        match raw.starts_with('[') {
            false => drafts.push(event(&mut tape, raw, form, at)?),
            true => {
                let list: Vec<&RawValue> = serde_json::from_str(raw)
                    .map_err(|_| Told::invalid(at).reason("JSON_SYNTAX"))?;
                for raw in list {
                    let at = drafts.len();
                    drafts.push(event(&mut tape, raw.get(), form, at)?);
                }
            }
        }
    }
    if drafts.is_empty() { Err(Told::no_data()) } else { Ok(drafts) }
}

/// Drafts of the lines of a raw body; `envelope` is what the address says of all of them, as a
/// JSON object or nothing.
///
/// # Errors
/// `Told` 5 and 6.
pub fn lines(body: &[u8], envelope: &str, form: Form) -> Result<Vec<Vec<u8>>, Told> {
    let text = text_of(body)?;
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let (mut tape, mut drafts) = (Tape::default(), Vec::new());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let at = drafts.len();
        let quoted = serde_json::to_string(line).map_err(|_| Told::invalid(at))?;
        let whole = match envelope.is_empty() {
            true => format!("{{\"event\":{quoted}}}"),
            false => format!("{{\"event\":{quoted},{}", envelope.get(1..).unwrap_or_default()),
        };
        drafts.push(event(&mut tape, &whole, form, at)?);
    }
    if drafts.is_empty() { Err(Told::no_data()) } else { Ok(drafts) }
}

fn text_of(body: &[u8]) -> Result<&str, Told> {
    if body.trim_ascii().is_empty() {
        return Err(Told::no_data());
    }
    std::str::from_utf8(body).map_err(|_| Told::unreadable().reason("JSON_UTF8"))
}

/// The parts of an envelope.
struct Parts<'a> {
    event: &'a str,
    kind: Kind,
    /// The other members, verbatim, as an object; empty if there are none.
    rest: String,
    /// RFC 3339, of the envelope's `time`.
    time: Option<Result<String, Told>>,
    at: usize,
    text: Option<std::borrow::Cow<'a, str>>,
}

fn event(tape: &mut Tape, raw: &str, form: Form, at: usize) -> Result<Vec<u8>, Told> {
    let parts = parts(tape, raw, at)?;
    let text = parts.text.as_deref();
    // A product may send its record as a text that is one object.
    let inner = text.filter(|text| form != Form::Plain && text.trim_start().starts_with('{'));
    let draft = match (form, parts.kind, inner) {
        (_, Kind::Object, _) if form != Form::Plain => object(tape, parts.event, &parts, form)?,
        (_, _, Some(inner)) => object(tape, inner, &parts, form)?,
        (Form::Native, ..) => {
            return Err(Told::invalid(at).reason("EVENT_NOT_OBJECT"));
        }
        (Form::Canonical, ..) => {
            let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
            let line = match parts.text {
                Some(_) => parts.event.to_owned(),
                None => quoted(parts.event),
            };
            let time = parts.stamp()?;
            format!("{{\"action\":\"{LINE}\",{time}\"message\":{line}{}}}", parts.kept())
        }
        (Form::Plain, ..) => {
            let time = parts.stamp()?;
            format!("{{{time}\"event\":{}{}}}", parts.event, parts.kept())
        }
    };
    Ok(draft.into_bytes())
}

impl Parts<'_> {
    /// `"time":"...",` or nothing.
    fn stamp(&self) -> Result<String, Told> {
        match &self.time {
            None => Ok(String::new()),
            Some(Ok(time)) => Ok(format!("\"time\":\"{time}\",")),
            Some(Err(told)) => Err(told.clone()),
        }
    }

    /// `,"hec_envelope":{...}` or nothing.
    fn kept(&self) -> String {
        match self.rest.is_empty() {
            true => String::new(),
            false => format!(",\"{ENVELOPE}\":{}", self.rest),
        }
    }
}

/// A record as it is, with what the envelope adds put in front of its members. Under the canonical
/// mapping the envelope's time is the event's where the event says none.
fn object(tape: &mut Tape, record: &str, parts: &Parts<'_>, form: Form) -> Result<String, Told> {
    let root = tape.scan(record.as_bytes()).map_err(|refusal| refused(refusal, parts.at))?;
    if root.kind() != Kind::Object {
        return Err(Told::invalid(parts.at).reason("EVENT_NOT_OBJECT"));
    }
    if root.members().next().is_none() {
        return Err(Told::event_blank(parts.at));
    }
    let timeless = form == Form::Canonical && root.get("time").is_none();
    let time = if timeless { parts.stamp()? } else { String::new() };
    let rest = match parts.rest.is_empty() {
        true => String::new(),
        false => format!("\"{ENVELOPE}\":{},", parts.rest),
    };
    let members = record.trim_start().get(1..).unwrap_or_default();
    Ok(match time.is_empty() && rest.is_empty() {
        true => record.to_owned(),
        false => format!("{{{time}{rest}{members}"),
    })
}

fn refused(refusal: crate::base::refusal::Refusal, at: usize) -> Told {
    Told::from(Problem { position: Some(at), ..Problem::from(refusal) }).placed(at)
}

fn parts<'a>(tape: &mut Tape, raw: &'a str, at: usize) -> Result<Parts<'a>, Told> {
    let root = tape.scan(raw.as_bytes()).map_err(|refusal| refused(refusal, at))?;
    if root.kind() != Kind::Object {
        return Err(Told::invalid(at).reason("EVENT_NOT_OBJECT"));
    }
    let mut event: Option<Value<'_, 'a>> = None;
    let (mut rest, mut time) = (String::new(), None);
    for member in root.members() {
        let (key, value) = (member.key.text(), member.value);
        if key == "event" {
            event = Some(value);
            continue;
        }
        if key == "fields" && value.kind() != Kind::Object {
            return Err(Told::fields_wrong(at));
        }
        if key == "time" && value.kind() != Kind::Null {
            let written = value.string().unwrap_or(value.raw().into());
            let read = instant(written.trim()).map(|time| time.to_string());
            time = Some(read.ok_or_else(|| Told::invalid(at).reason("TIME_INVALID")));
        }
        let key = raw.get(member.key.offset()..value.end()).unwrap_or_default();
        rest.push(if rest.is_empty() { '{' } else { ',' });
        rest.push_str(key);
    }
    if !rest.is_empty() {
        rest.push('}');
    }
    let event = event.filter(|event| event.kind() != Kind::Null);
    let event = event.ok_or_else(|| Told::event_required(at))?;
    let text = event.string();
    if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
        return Err(Told::event_blank(at));
    }
    Ok(Parts { event: event.raw(), kind: event.kind(), rest, time, at, text })
}

/// An instant as the protocol writes it: seconds since 1970, with a fraction or without. Digits
/// beyond a nanosecond are cut; they stay in the envelope.
fn instant(text: &str) -> Option<UtcNanos> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.get(..FRACTION_DIGITS.min(fraction.len()))?;
    let nanos: u64 = format!("{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
    let seconds = seconds.parse::<u64>().ok()?.checked_mul(NANOS_PER_SECOND)?;
    seconds.checked_add(nanos).filter(|nanos| *nanos > 0).map(UtcNanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, form: Form) -> Result<Vec<String>, u16> {
        let drafts = events(body.as_bytes(), form).map_err(|told| told.code)?;
        Ok(drafts.into_iter().map(|draft| String::from_utf8(draft).unwrap()).collect())
    }

    #[test]
    fn a_record_is_the_draft_and_the_envelope_is_kept_beside_it() {
        let record = r#"{"eventType": "user.login",  "n":1.50}"#;
        let alone = format!("{{\"event\":{record}}}");
        assert_eq!(read(&alone, Form::Native).unwrap(), [record]);
        let body = format!("{{\"time\":1.5, \"ho\\u0073t\" :\"h\",\"event\":{record}}}");
        let envelope = r#"{"hec_envelope":{"time":1.5,"ho\u0073t" :"h"},"#;
        let want = format!("{envelope}{}", &record[1..]);
        assert_eq!(read(&body, Form::Native).unwrap(), [want]);
        let canonical = read(&body, Form::Canonical).unwrap().remove(0);
        assert!(canonical.starts_with(r#"{"time":"1970-01-01T00:00:01.5Z","hec_envelope":"#));
        let timed = r#"{"time":1,"event":{"time":"2026-01-01T00:00:00Z","action":"a"}}"#;
        let want = r#"{"hec_envelope":{"time":1},"time":"2026-01-01T00:00:00Z","action":"a"}"#;
        assert_eq!(read(timed, Form::Canonical).unwrap(), [want]);
    }

    #[test]
    fn text_is_wrapped_or_is_a_record_in_itself() {
        let line = r#"{"time":"1732176000.123","event":"a \"b\""}"#;
        let want = "{\"action\":\"log.line\",\"time\":\"2024-11-21T08:00:00.123Z\",\"message\":\
                    \"a \\\"b\\\"\",\"hec_envelope\":{\"time\":\"1732176000.123\"}}";
        assert_eq!(read(line, Form::Canonical).unwrap(), [want]);
        assert_eq!(read(line, Form::Native), Err(6));
        assert_eq!(read(r#"{"event":[1,2]}"#, Form::Plain).unwrap(), [r#"{"event":[1,2]}"#]);
        assert_eq!(
            read(r#"{"event":[1]}"#, Form::Canonical).unwrap(),
            [r#"{"action":"log.line","message":"[1]"}"#]
        );
        let packed = r#"{"event":"{\"a\":1}"}"#;
        assert_eq!(read(packed, Form::Native).unwrap(), [r#"{"a":1}"#]);
        assert_eq!(read(packed, Form::Plain).unwrap(), [packed]);
    }

    #[test]
    fn events_stand_one_behind_the_other_or_in_an_array() {
        for body in [
            r#"{"event":{"a":1}}{"event":{"a":2}}"#,
            "{\"event\":{\"a\":1}}\r\n\n {\"event\":{\"a\":2}}\n",
            r#"[{"event":{"a":1}},{"event":{"a":2}}]"#,
        ] {
            assert_eq!(read(body, Form::Native).unwrap(), [r#"{"a":1}"#, r#"{"a":2}"#], "{body}");
        }
    }

    #[test]
    fn what_is_no_event_has_its_number_and_its_place() {
        let at = |body: &str| events(body.as_bytes(), Form::Canonical).unwrap_err();
        let ok = r#"{"event":"x"}"#;
        for (body, told) in [
            (" \n", Told::no_data()),
            ("[]", Told::no_data()),
            (r#"{"event":"x"}{"host":"h"}"#, Told::event_required(1)),
            (r#"{"event":null}"#, Told::event_required(0)),
            (r#"{"event":" "}"#, Told::event_blank(0)),
            (r#"{"event":{}}"#, Told::event_blank(0)),
            (r#"{"event":"x","fields":[]}"#, Told::fields_wrong(0)),
            (r#"{"event":"x","time":1.7e9}"#, Told::invalid(0).reason("TIME_INVALID")),
            (r#"{"event":"x","time":-1}"#, Told::invalid(0).reason("TIME_INVALID")),
        ] {
            assert_eq!(at(body), told, "{body}");
        }
        assert_eq!(at(&format!("{ok}{ok}{{")), Told::invalid(2).reason("JSON_SYNTAX"));
        assert_eq!(at(&format!("{ok}7")).code, 6);
        let twice = at(r#"{"event":"x","event":"y"}"#);
        assert_eq!(twice.code, 6);
        assert_eq!(events(&[0xff], Form::Plain).unwrap_err().code, 6);
    }

    #[test]
    fn raw_lines_take_what_the_address_says() {
        let read = |body: &str, envelope: &str, form| -> Vec<String> {
            let drafts = lines(body.as_bytes(), envelope, form).unwrap();
            drafts.into_iter().map(|draft| String::from_utf8(draft).unwrap()).collect()
        };
        assert_eq!(
            read("a\r\n\nb \"c\"", "", Form::Plain),
            [r#"{"event":"a"}"#, r#"{"event":"b \"c\""}"#]
        );
        let want = r#"{"event":"a","hec_envelope":{"host":"h"}}"#;
        assert_eq!(read("a", r#"{"host":"h"}"#, Form::Plain), [want]);
        assert_eq!(read("{\"x\":1}\n", "", Form::Native), [r#"{"x":1}"#]);
    }
}
