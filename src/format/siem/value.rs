//! From a record to the values of a line: sources, masking, types. Both encoders use it, so what
//! is withheld in one format is withheld in the other.
//! It never opens anything: a sealed field has a value only if the vault opened it, and is shown
//! only if the mapping's preset, the grant and the fate of its group all say so.

use crate::base::entry::Head;
use crate::base::record::{Fate, Record};
use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::format::siem::dictionary::Type;
use crate::format::siem::mapping::{MappedField, Mapping, ipv6_twin};
use crate::format::siem::source::{Fact, Source};
use crate::format::siem::{Context, Format, Options, Preset, Substitutions, class_id};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A value of one key, before cleaning and escapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered<'a> {
    /// Key: the mapped one, or its IPv6 twin.
    pub key: &'a str,
    /// Label of the key, if it has one.
    pub label: Option<&'a str>,
    /// Text in the form of the key's type.
    pub text: Cow<'a, str>,
    /// Most characters of the text.
    pub max: usize,
}

/// A raw value with what must be known to fit it to a type.
enum Raw<'a> {
    Text(Cow<'a, str>),
    Time(UtcNanos),
}

/// One record seen through one mapping.
pub struct View<'a> {
    record: &'a Record,
    context: &'a Context<'a>,
    mapping: &'a Mapping,
    options: &'a Options<'a>,
    clear: Option<Json>,
    class_id: Cow<'static, str>,
}

impl<'a> View<'a> {
    /// Prepares a record; its clear part is parsed once and only if the mapping reads it.
    pub fn new(
        record: &'a Record,
        context: &'a Context<'a>,
        mapping: &'a Mapping,
        options: &'a Options<'a>,
    ) -> Result<Self, Refusal> {
        let bytes = &record.entry.head.clear;
        let is_read = mapping
            .fields
            .iter()
            .flat_map(|field| &field.from)
            .any(|source| matches!(source, Source::Clear(_)));
        let clear = if is_read && !bytes.is_empty() {
            let json = serde_json::from_slice(bytes).ok().filter(Json::is_object);
            Some(json.ok_or_else(|| {
                Refusal::new("SIEM_CLEAR_INVALID", "verify the log: clear must be a JSON object")
            })?)
        } else {
            None
        };
        let class_id = class_id(&record.entry.head);
        Ok(View { record, context, mapping, options, clear, class_id })
    }

    /// Class id of the record.
    pub fn class_id(&self) -> &str {
        &self.class_id
    }

    /// The value of one key: the first source that has one that fits; `None` leaves the key out.
    pub fn render(
        &'a self,
        field: &'a MappedField,
        count: &mut Substitutions,
    ) -> Result<Option<Rendered<'a>>, Refusal> {
        for source in &field.from {
            let Some(raw) = self.raw(source, count)? else { continue };
            match self.fit(field, raw) {
                Some(rendered) => return Ok(Some(rendered)),
                None => count.unfit += 1,
            }
        }
        Ok(None)
    }

    fn raw(
        &'a self,
        source: &'a Source,
        count: &mut Substitutions,
    ) -> Result<Option<Raw<'a>>, Refusal> {
        Ok(match source {
            Source::Fact(fact) => self.fact(*fact),
            Source::Clear(name) => self.clear(name).map(Raw::Text),
            Source::Sealed(name) => return self.sealed(name, count),
            Source::Token(name) => self.token(name).map(Raw::Text),
            Source::Constant(text) => Some(Raw::Text(Cow::Borrowed(text))),
        })
    }

    fn fact(&'a self, fact: Fact) -> Option<Raw<'a>> {
        let entry = &self.record.entry;
        let head = &entry.head;
        let owned = |text: String| Some(Raw::Text(Cow::Owned(text)));
        let borrowed = |text: &'a str| Some(Raw::Text(Cow::Borrowed(text)));
        match fact {
            Fact::Index => owned(entry.index.to_string()),
            Fact::Record => owned(head.record.to_string()),
            Fact::Leaf => owned(self.record.leaf.to_string()),
            Fact::Prev => owned(entry.prev.to_string()),
            Fact::Checkpoint => self.context.checkpoint.and_then(borrowed),
            Fact::Kind => borrowed(head.kind.name()),
            Fact::Category => borrowed(head.code.category.name()),
            Fact::Verb => borrowed(head.code.verb.name()),
            Fact::Code => owned(head.code.to_string()),
            Fact::ClassId => borrowed(&self.class_id),
            Fact::Outcome => borrowed(head.outcome.name()),
            Fact::Severity => owned(head.severity.value().to_string()),
            Fact::Class => owned(head.class.to_string()),
            Fact::Tenant => owned(head.tenant.to_string()),
            Fact::Source => self.record.source.as_deref().and_then(borrowed),
            Fact::SourceHandle if head.source.is_zero() => None,
            Fact::SourceHandle => owned(head.source.to_string()),
            Fact::SourceSeq => head.source_seq.and_then(|seq| owned(seq.to_string())),
            Fact::EventId if head.event_id.is_zero() => None,
            Fact::EventId => owned(head.event_id.to_string()),
            Fact::TimeEvent => (head.time.0 > 0).then_some(Raw::Time(head.time)),
            Fact::TimeLog => Some(Raw::Time(entry.time_log)),
            Fact::Host => self.context.host.and_then(borrowed),
            Fact::Tokens => self.tokens().and_then(owned),
            Fact::Status => borrowed(self.status()),
            Fact::Name => borrowed(self.mapping.name(&self.class_id)),
        }
    }

    /// Pseudonyms of all living subjects, in the order of the entry's tags.
    fn tokens(&self) -> Option<String> {
        let tokens: Vec<&str> = self.record.tokens.iter().map(|t| t.token.as_str()).collect();
        (!tokens.is_empty()).then(|| tokens.join(","))
    }

    /// The gravest fate of the record's groups; `sealed` says nothing was wrong.
    fn status(&self) -> &'static str {
        self.record.groups.iter().max().map_or("none", |fate| fate.name())
    }

    fn clear(&'a self, name: &str) -> Option<Cow<'a, str>> {
        let object = self.clear.as_ref()?;
        let found = match object.get(name) {
            Some(found) => found,
            None => name.split('.').try_fold(object, |at, part| at.get(part))?,
        };
        match found {
            Json::Null => None,
            Json::String(text) => Some(Cow::Borrowed(text)),
            other => Some(Cow::Owned(other.to_string())),
        }
    }

    fn sealed(&'a self, name: &str, count: &mut Substitutions) -> Result<Option<Raw<'a>>, Refusal> {
        let Some(field) = self.record.fields.iter().find(|field| &*field.name == name) else {
            return Ok(None);
        };
        let is_granted = self.options.granted.contains(&name);
        if self.mapping.preset == Preset::Tokens || !is_granted {
            count.withheld += u64::from(field.value.is_some());
            return Ok(None);
        }
        let fate = self.record.groups.get(usize::from(field.group)).copied();
        let Some(value) = field.value.as_deref().filter(|_| fate == Some(Fate::Open)) else {
            return Ok(fate.and_then(gone).map(|text| Raw::Text(Cow::Borrowed(text))));
        };
        let Some(text) = plain(value)? else { return Ok(None) };
        if self.mapping.preset == Preset::Named {
            return Ok(Some(Raw::Text(text)));
        }
        // Preset `siem`: of an address its prefix, of anything else nothing.
        let Ok(address) = text.parse() else {
            count.withheld += 1;
            return Ok(None);
        };
        count.prefixed += 1;
        Ok(Some(Raw::Text(Cow::Owned(prefix(address).to_string()))))
    }

    fn token(&'a self, name: &str) -> Option<Cow<'a, str>> {
        let head = &self.record.entry.head;
        let group = group_of(head, name)?;
        let [tag] = head.groups.get(usize::from(group))?.tags.as_slice() else { return None };
        if let Some(token) = self.record.tokens.iter().find(|token| token.tag == *tag) {
            return Some(Cow::Borrowed(&token.token));
        }
        self.record.groups.get(usize::from(group)).copied().and_then(gone).map(Cow::Borrowed)
    }

    fn fit(&'a self, field: &'a MappedField, raw: Raw<'a>) -> Option<Rendered<'a>> {
        let plain = |text: Cow<'a, str>, max| {
            Some(Rendered { key: &field.key, label: field.label.as_deref(), text, max })
        };
        let text = match (raw, field.kind) {
            (Raw::Time(time), Type::Time) => return plain(self.millis(time)?, usize::MAX),
            (Raw::Time(time), _) => Cow::Owned(time.to_string()),
            (Raw::Text(text), _) => text,
        };
        match field.kind {
            Type::Text { max } => plain(text, max),
            Type::Ipv4 | Type::Ipv6 | Type::Ip => self.address(field, text.parse().ok()?),
            kind => plain(self.number(kind, &text)?, usize::MAX),
        }
    }

    fn number(&self, kind: Type, text: &str) -> Option<Cow<'a, str>> {
        let whole = |low: i64, high: i64| {
            let number: i64 = text.parse().ok()?;
            (low..=high).contains(&number).then(|| Cow::Owned(number.to_string()))
        };
        match kind {
            Type::Integer => whole(i32::MIN.into(), i32::MAX.into()),
            Type::Long => whole(i64::MIN, i64::MAX),
            Type::Port => whole(0, 65_535),
            // LEEF knows no 0.
            Type::Severity => whole(0, 10).map(|s| if s == "0" { Cow::Borrowed("1") } else { s }),
            Type::Double => {
                let number: f64 = text.parse().ok()?;
                number.is_finite().then(|| Cow::Owned(number.to_string()))
            }
            Type::Time => self.millis(UtcNanos::parse(text)?),
            Type::Mac => mac(text).map(Cow::Owned),
            Type::Text { .. } | Type::Ipv4 | Type::Ipv6 | Type::Ip => None,
        }
    }

    /// Epoch milliseconds. LEEF reads 10 digits as seconds and 13 as milliseconds, so there an
    /// instant before 2001-09-09 or after 2286 does not fit.
    fn millis(&self, time: UtcNanos) -> Option<Cow<'a, str>> {
        let text = time.millis().to_string();
        (self.mapping.format == Format::Cef || text.len() == 13).then_some(Cow::Owned(text))
    }

    fn address(&'a self, field: &'a MappedField, address: IpAddr) -> Option<Rendered<'a>> {
        let address = address.to_canonical();
        let text = Cow::Owned(address.to_string());
        let own =
            Rendered { key: &field.key, label: field.label.as_deref(), text, max: usize::MAX };
        match (field.kind, address) {
            (Type::Ip, _) | (Type::Ipv4, IpAddr::V4(_)) | (Type::Ipv6, IpAddr::V6(_)) => Some(own),
            (Type::Ipv4, IpAddr::V6(_)) => {
                let (key, label) = ipv6_twin(self.mapping.format, &field.key)?;
                Some(Rendered { key, label: Some(label), ..own })
            }
            _ => None,
        }
    }
}

/// Group of the field `name`, or of the first field `name.*`.
fn group_of(head: &Head, name: &str) -> Option<u8> {
    let below = |field: &str| {
        field.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    head.fields.iter().find(|field| below(&field.name)).map(|field| field.group)
}

/// The stable word for a value that was there and is not any more.
fn gone(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Erased => Some("[erased]"),
        Fate::Expired => Some("[expired]"),
        Fate::Restricted => Some("[restricted]"),
        _ => None,
    }
}

/// A JSON text as plain text: a string without its quotes, null as nothing, the rest verbatim.
fn plain(json: &[u8]) -> Result<Option<Cow<'_, str>>, Refusal> {
    let refuse = || Refusal::new("SIEM_VALUE_INVALID", "verify the record: not a JSON text");
    let text = std::str::from_utf8(json).map_err(|_| refuse())?.trim();
    if text.starts_with('"') {
        return serde_json::from_str(text)
            .map(|s: String| Some(Cow::Owned(s)))
            .map_err(|_| refuse());
    }
    Ok((text != "null" && !text.is_empty()).then_some(Cow::Borrowed(text)))
}

/// The network of an address: /24 of IPv4, /48 of IPv6.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 48))),
    }
}

/// Six octets, written with `:` or `-`, as lower case with colons.
fn mac(text: &str) -> Option<String> {
    let octets: Vec<&str> = text.split([':', '-']).collect();
    let is_octet = |o: &&str| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit());
    (octets.len() == 6 && octets.iter().all(is_octet))
        .then(|| octets.join(":").to_ascii_lowercase())
}
