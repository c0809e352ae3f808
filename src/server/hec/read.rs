//! Bodies of the collector protocol become drafts. An `event` that is an object is the draft as it
//! is, so the product's own record goes through its mapping; what else stands in the envelope is
//! kept, byte for byte, in a member that no mapping knows and so ends sealed in `data`. Text is
//! wrapped, for the mappings that read wrapped text. It never drops a member and never takes the
//! source out of a body.

use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::format::json::{Kind, Tape, Value};
use crate::policy::classify::Policies;
use crate::policy::terms::Terms;
use crate::server::elements::{Stopped, elements};
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

/// Takes drafts, one by one and in order.
pub type Sink<'s> = dyn FnMut(Vec<u8>) -> Result<(), Told> + 's;

/// Hands the drafts of a body on in parts of at most `most`, in order. It is read whole first, so
/// that of a body with one bad event nothing is taken, and again where it has more than one part:
/// no more than `most` drafts are held at once.
///
/// # Errors
/// Those of `read` and `put`.
pub fn in_parts(
    most: usize,
    read: impl Fn(&mut Sink<'_>) -> Result<(), Told>,
    mut put: impl FnMut(&[Vec<u8>]) -> Result<(), Told>,
) -> Result<(), Told> {
    let (mut part, mut count) = (Vec::new(), 0);
    read(&mut |draft| {
        count += 1;
        if count <= most {
            part.push(draft);
        }
        Ok(())
    })?;
    put(&part)?;
    if count <= most {
        return Ok(());
    }
    let mut skipped = 0;
    part.clear();
    read(&mut |draft| {
        if skipped < most {
            skipped += 1;
            return Ok(());
        }
        part.push(draft);
        if part.len() == most {
            put(&part)?;
            part.clear();
        }
        Ok(())
    })?;
    if part.is_empty() { Ok(()) } else { put(&part) }
}

/// Drafts of the events of a body, in order: objects one behind the other, with or without white
/// space between them, or one array of them.
///
/// # Errors
/// `Told` 5, 6, 12, 13, 15 with the place of the event.
pub fn events(body: &[u8], form: Form, sink: &mut Sink<'_>) -> Result<(), Told> {
    let text = text_of(body)?;
    let stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut tape, mut at) = (Tape::default(), 0);
    for next in stream {
        let raw = next.map_err(|_| Told::invalid(at).reason("JSON_SYNTAX"))?.get();
        let mut one = |raw: &str| {
            sink(event(&mut tape, raw, form, at)?)?;
            at += 1;
            Ok(())
        };
        match raw.starts_with('[') {
            false => one(raw)?,
            true => elements(raw.as_bytes(), one).map_err(|stopped| match stopped {
                Stopped::Refused(told) => told,
                Stopped::Syntax(_) => Told::invalid(at).reason("JSON_SYNTAX"),
            })?,
        }
    }
    if at == 0 { Err(Told::no_data()) } else { Ok(()) }
}

/// Drafts of the lines of a raw body; `envelope` is what the address says of all of them, as a
/// JSON object or nothing. Each line gets a copy of it: of all copies `most` bytes are taken.
///
/// # Errors
/// `Told` 5 and 6.
pub fn lines(
    body: &[u8],
    (envelope, most): (&str, usize),
    form: Form,
    sink: &mut Sink<'_>,
) -> Result<(), Told> {
    let text = text_of(body)?;
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let (mut tape, mut at) = (Tape::default(), 0);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if envelope.len().saturating_mul(at + 1) > most {
            return Err(Told::too_large("ENVELOPE_TOO_LARGE"));
        }
        let quoted = serde_json::to_string(line).map_err(|_| Told::invalid(at))?;
        let whole = match envelope.is_empty() {
            true => format!("{{\"event\":{quoted}}}"),
            false => format!("{{\"event\":{quoted},{}", envelope.get(1..).unwrap_or_default()),
        };
        sink(event(&mut tape, &whole, form, at)?)?;
        at += 1;
    }
    if at == 0 { Err(Told::no_data()) } else { Ok(()) }
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
        // Text that only looks like an object is a line, as other text is.
        (Form::Canonical, _, Some(inner)) => match object(tape, inner, &parts, form) {
            Ok(draft) => draft,
            Err(_) => line(&parts)?,
        },
        (_, _, Some(inner)) => object(tape, inner, &parts, form)?,
        (Form::Native, ..) => {
            return Err(Told::invalid(at).reason("EVENT_NOT_OBJECT"));
        }
        (Form::Canonical, ..) => line(&parts)?,
        (Form::Plain, ..) => {
            let time = parts.stamp()?;
            format!("{{{time}\"event\":{}{}}}", parts.event, parts.kept())
        }
    };
    Ok(draft.into_bytes())
}

/// A canonical event around what is no object.
fn line(parts: &Parts<'_>) -> Result<String, Told> {
    let line = match parts.text {
        Some(_) => parts.event.to_owned(),
        None => serde_json::to_string(parts.event).unwrap_or_default(),
    };
    let time = parts.stamp()?;
    Ok(format!("{{\"action\":\"{LINE}\",{time}\"message\":{line}{}}}", parts.kept()))
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

    fn drafts(read: impl FnOnce(&mut Sink<'_>) -> Result<(), Told>) -> Result<Vec<String>, Told> {
        let mut drafts = Vec::new();
        read(&mut |draft| {
            drafts.push(String::from_utf8(draft).unwrap());
            Ok(())
        })?;
        Ok(drafts)
    }

    fn read(body: &str, form: Form) -> Result<Vec<String>, u16> {
        drafts(|sink| events(body.as_bytes(), form, sink)).map_err(|told| told.code)
    }

    #[test]
    fn a_body_goes_on_in_parts_and_not_at_all_with_one_bad_event() {
        let parts = |body: &str| {
            let mut parts: Vec<Vec<String>> = Vec::new();
            let read = |sink: &mut Sink<'_>| events(body.as_bytes(), Form::Native, sink);
            let done = in_parts(2, read, |part| {
                parts.push(part.iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect());
                Ok(())
            });
            (parts, done.map_err(|told| told.code))
        };
        let body = |count: usize| -> String {
            (0..count).map(|n| format!("{{\"event\":{{\"a\":{n}}}}}")).collect()
        };
        for (count, lens) in [(1, vec![1]), (2, vec![2]), (4, vec![2, 2]), (5, vec![2, 2, 1])] {
            let (parts, done) = parts(&body(count));
            assert_eq!(done, Ok(()));
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), lens, "at most two at once");
            let want: Vec<String> = (0..count).map(|n| format!("{{\"a\":{n}}}")).collect();
            assert_eq!(parts.concat(), want, "each once, in order");
        }
        assert_eq!(parts(&(body(5) + "{\"event\":7}")), (Vec::new(), Err(6)));
        assert_eq!(parts(&format!("[{}", "1,".repeat(9))), (Vec::new(), Err(6)));
    }

    #[test]
    fn text_that_only_looks_like_an_object_is_a_line() {
        let raw = |body: &str, form| drafts(|sink| lines(body.as_bytes(), ("", 0), form, sink));
        assert_eq!(
            raw("{x} y\n{}\n{\"a\":1,\"a\":2}\n{\"b\":3}", Form::Canonical).unwrap(),
            [
                r#"{"action":"log.line","message":"{x} y"}"#,
                r#"{"action":"log.line","message":"{}"}"#,
                r#"{"action":"log.line","message":"{\"a\":1,\"a\":2}"}"#,
                r#"{"b":3}"#
            ]
        );
        // A product's mapping could not read it, and an object that is none of text is blank.
        assert_eq!(raw("{x} y", Form::Native).unwrap_err().code, 6);
        assert_eq!(read(r#"{"event":{}}"#, Form::Canonical), Err(13));
    }

    #[test]
    fn what_an_address_says_of_all_lines_is_copied_up_to_a_limit() {
        let envelope = format!("{{\"host\":\"{}\"}}", "h".repeat(89));
        let read = |count: usize| {
            let (body, mut made) = ("a\n".repeat(count), 0);
            let told = lines(body.as_bytes(), (&envelope, 1_000), Form::Plain, &mut |_| {
                made += 1;
                Ok(())
            });
            (made, told)
        };
        assert_eq!(envelope.len(), 100);
        assert_eq!(read(10), (10, Ok(())));
        assert_eq!(read(10_000), (10, Err(Told::too_large("ENVELOPE_TOO_LARGE"))), "stops there");
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
        let events = |body: &[u8], form| drafts(|sink| events(body, form, sink));
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
            drafts(|sink| lines(body.as_bytes(), (envelope, 999), form, sink)).unwrap()
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
