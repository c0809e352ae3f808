//! A mapping: which fact of a record goes to which key of a line, read from `policies/formats/`.
//! A customer changes it without a build; what it may say is closed, and a mapping with one wrong
//! line is refused as a whole. It never widens what a grant covers.
//!
//! ```toml
//! format = "cef"            # cef | leef
//! version = "0"             # cef: 0 | 1      leef: 1.0 | 2.0
//! preset = "tokens"         # tokens (if absent) | siem | named
//! vendor = "Chancery"       # header constants: no \ | = and no control characters
//! product = "Audit Vault"
//! default_name = "Audit event"
//! delimiter = "^"           # leef 2.0 only
//! [names]                   # by class id, or "*.verb"
//! "vault.erase" = "Person erased"
//! [[field]]                 # in the order of the line
//! key = "suser"
//! from = ["sealed:actor.name", "token:actor"]   # the first that has a value that fits
//! label = "..."             # exactly for the keys that need one
//! max = 200                 # only to shorten
//! ```

use crate::base::entry::Kind;
use crate::base::event::{EventCode, Verb};
use crate::base::id::Hash32;
use crate::base::refusal::Refusal;
use crate::format::siem::dictionary::{self, TEXT_CHARS_MAX, Type, Word};
use crate::format::siem::source::{self, Source};
use crate::format::siem::{Format, Preset, act_id};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The mapping for CEF that ships with the vault.
pub const CEF_DEFAULT: &str = include_str!("../../../policies/formats/cef.toml");
/// The mapping for LEEF that ships with the vault.
pub const LEEF_DEFAULT: &str = include_str!("../../../policies/formats/leef.toml");

/// Fields of one mapping: a line has fewer keys than any dictionary.
const FIELDS_MAX: usize = 256;
/// LEEF attributes that are always there: a widespread parser misreads lines with fewer.
const LEEF_ATTRIBUTES_MIN: usize = 4;
/// Characters a LEEF 2.0 delimiter may be: readers agree on them, and no id or number holds one.
const LEEF_DELIMITERS: &str = "^#~;!";

/// One key of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappedField {
    /// Key as written.
    pub key: String,
    /// Sources in order of preference.
    pub from: Vec<Source>,
    /// Text of the `Label` key, for CEF keys that need one.
    pub label: Option<String>,
    /// Type of the value.
    pub kind: Type,
}

/// A checked mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Which encoder it is for.
    pub format: Format,
    /// Version of the format as the header writes it: `0`, `1`, `1.0`, `2.0`.
    pub version: &'static str,
    /// How much of a person it may show.
    pub preset: Preset,
    /// Header: vendor.
    pub vendor: String,
    /// Header: product.
    pub product: String,
    /// Delimiter of LEEF attributes.
    pub delimiter: char,
    /// Keys in the order of the line.
    pub fields: Vec<MappedField>,
    /// SHA-256 of the mapping's text: its version in manifests and grants.
    pub hash: Hash32,
    names: BTreeMap<String, String>,
    default_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMapping {
    format: String,
    version: String,
    preset: Option<String>,
    vendor: String,
    product: String,
    default_name: String,
    delimiter: Option<String>,
    #[serde(default)]
    names: BTreeMap<String, String>,
    field: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    key: String,
    from: Vec<String>,
    label: Option<String>,
    max: Option<usize>,
}

impl Mapping {
    /// Parses and checks a mapping. Every mistake is refused with the key it is about.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let raw: RawMapping = toml::from_str(text).map_err(|error| {
            let refusal = Refusal::new("SIEM_MAPPING_SYNTAX", "see docs/siem.md for its members");
            match error.span() {
                Some(span) => refusal.at(span.start),
                None => refusal,
            }
        })?;
        let format = Format::from_name(&raw.format).ok_or_else(|| {
            Refusal::new("SIEM_FORMAT_UNKNOWN", "use cef or leef").field("format")
        })?;
        let preset = match raw.preset.as_deref() {
            None => Preset::Tokens,
            Some(name) => Preset::from_name(name).ok_or_else(|| {
                Refusal::new("SIEM_PRESET_UNKNOWN", "use tokens, siem or named").field("preset")
            })?,
        };
        let version = version(format, &raw.version)?;
        let delimiter = delimiter(version, raw.delimiter.as_deref())?;
        for (name, value) in [
            ("vendor", &raw.vendor),
            ("product", &raw.product),
            ("default_name", &raw.default_name),
        ] {
            header_text(name, value)?;
        }
        for (id, name) in &raw.names {
            known_class(id)?;
            header_text("names", name)?;
        }
        let mut taken = Taken::default();
        let fields = raw
            .field
            .iter()
            .map(|field| checked(field, format, version, &raw.vendor, &mut taken))
            .collect::<Result<Vec<_>, Refusal>>()?;
        enough(format, &fields)?;
        Ok(Mapping {
            format,
            version,
            preset,
            vendor: raw.vendor,
            product: raw.product,
            delimiter,
            fields,
            hash: Hash32(Sha256::digest(text.as_bytes()).into()),
            names: raw.names,
            default_name: raw.default_name,
        })
    }

    /// Name of an event in words, by class id: exact, then `*.verb`, then the default.
    pub fn name(&self, class_id: &str) -> &str {
        let verb = class_id.split_once('.').map_or("", |(_, verb)| verb);
        self.names
            .get(class_id)
            .or_else(|| self.names.get(&format!("*.{verb}")))
            .unwrap_or(&self.default_name)
    }

    /// Registry names of the sealed fields it can show, for the grant to be checked against.
    pub fn sealed_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().flat_map(|field| &field.from).filter_map(|source| match source {
            Source::Sealed(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// What earlier fields took: every key, implied keys too, and every label.
#[derive(Default)]
struct Taken {
    keys: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Taken {
    fn key(&mut self, key: &str) -> Result<(), Refusal> {
        if self.keys.insert(key.to_owned()) {
            return Ok(());
        }
        Err(Refusal::new("SIEM_KEY_DUPLICATE", "use each key once").field(key))
    }

    fn label(&mut self, key: &str, label: &str) -> Result<(), Refusal> {
        if self.labels.insert(label.to_owned()) {
            return Ok(());
        }
        Err(Refusal::new("SIEM_LABEL_DUPLICATE", "receivers rename keys to labels").field(key))
    }
}

fn version(format: Format, text: &str) -> Result<&'static str, Refusal> {
    match (format, text) {
        (Format::Cef, "0") => Ok("0"),
        (Format::Cef, "1") => Ok("1"),
        (Format::Leef, "1.0") => Ok("1.0"),
        (Format::Leef, "2.0") => Ok("2.0"),
        _ => Err(Refusal::new("SIEM_VERSION_UNKNOWN", "cef has 0 and 1, leef 1.0 and 2.0")
            .field("version")),
    }
}

fn delimiter(version: &str, text: Option<&str>) -> Result<char, Refusal> {
    let fix = "leave it out, or use one of ^ # ~ ; ! with leef 2.0";
    let refusal = || Refusal::new("SIEM_DELIMITER_UNSAFE", fix).field("delimiter");
    match (version, text) {
        ("1.0", None) => Ok('\t'),
        (_, None) => Ok('^'),
        ("2.0", Some(text)) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) if LEEF_DELIMITERS.contains(c) => Ok(c),
                _ => Err(refusal()),
            }
        }
        _ => Err(refusal()),
    }
}

/// Header constants stay inside what every parser reads alike.
fn header_text(field: &str, value: &str) -> Result<(), Refusal> {
    let unsafe_char = |c: char| matches!(c, '\\' | '|' | '=' | '^') || c.is_control();
    if value.trim().is_empty() || value.trim() != value || value.contains(unsafe_char) {
        let fix = "use text without \\ | = ^, control characters and outer spaces";
        return Err(Refusal::new("SIEM_HEADER_UNSAFE", fix).field(field));
    }
    Ok(())
}

fn known_class(id: &str) -> Result<(), Refusal> {
    let is_act = Kind::ALL.iter().any(|&kind| act_id(kind) == Some(id));
    let is_verb = id.strip_prefix("*.").is_some_and(|verb| Verb::from_name(verb).is_some());
    if is_act || is_verb || EventCode::parse(id).is_some() {
        return Ok(());
    }
    Err(Refusal::new("SIEM_CLASS_UNKNOWN", "use category.verb, *.verb or vault.act").field(id))
}

fn checked(
    raw: &RawField,
    format: Format,
    version: &str,
    vendor: &str,
    taken: &mut Taken,
) -> Result<MappedField, Refusal> {
    let key = raw.key.as_str();
    if taken.keys.len() >= FIELDS_MAX {
        return Err(Refusal::new("SIEM_FIELDS_TOO_MANY", "drop some").limit(FIELDS_MAX as u64));
    }
    let kind = shortened(kind_of(key, format, version, vendor)?, raw)?;
    taken.key(key)?;
    if let Some((twin, label)) = ipv6_twin(format, key) {
        taken.key(twin)?;
        taken.label(twin, label)?;
    }
    checked_label(raw, format, taken)?;
    if raw.from.is_empty() {
        return Err(Refusal::new("SIEM_SOURCE_MISSING", "name at least one source").field(key));
    }
    let from =
        raw.from.iter().map(|text| source::parse(key, text)).collect::<Result<Vec<_>, _>>()?;
    for source in &from {
        if let (Source::Fact(fact), Type::Text { max }) = (source, kind)
            && fact.chars().is_some_and(|chars| chars > max)
        {
            let fix = "use a key with room for it: a cut hash proves nothing";
            return Err(Refusal::new("SIEM_FACT_TOO_LONG", fix).field(key).limit(max as u64));
        }
    }
    Ok(MappedField { key: key.to_owned(), from, label: raw.label.clone(), kind })
}

fn kind_of(key: &str, format: Format, version: &str, vendor: &str) -> Result<Type, Refusal> {
    let word = match format {
        Format::Cef => dictionary::cef(key, version == "1"),
        Format::Leef => dictionary::leef(key),
    };
    let refuse = |code, fix| Err(Refusal::new(code, fix).field(key));
    match word {
        Word::Known(kind) => return Ok(kind),
        Word::Forbidden => {
            return refuse("SIEM_KEY_FORBIDDEN", "only the receiving side may set this key");
        }
        Word::TooNew => return refuse("SIEM_KEY_TOO_NEW", "state version = \"1\""),
        Word::Label => return refuse("SIEM_LABEL_ONLY", "state label on the key it belongs to"),
        Word::Unknown => {}
    }
    let is_word = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric());
    let prefix: String = vendor.chars().filter(char::is_ascii_alphanumeric).collect();
    // The standard asks for VendorProductKey; demanding it also catches misspelt keys.
    let is_ours = format == Format::Leef || (!prefix.is_empty() && key.starts_with(&prefix));
    if is_word && is_ours {
        return Ok(Type::Text { max: TEXT_CHARS_MAX });
    }
    refuse("SIEM_KEY_UNKNOWN", "use a dictionary key, or letters and digits after the vendor")
}

fn shortened(kind: Type, raw: &RawField) -> Result<Type, Refusal> {
    match (kind, raw.max) {
        (kind, None) => Ok(kind),
        (Type::Text { max }, Some(wanted)) if (1..=max).contains(&wanted) => {
            Ok(Type::Text { max: wanted })
        }
        (Type::Text { max }, Some(_)) => {
            let fix = "max may only shorten what the dictionary allows";
            Err(Refusal::new("SIEM_MAX_TOO_LONG", fix).field(&raw.key).limit(max as u64))
        }
        _ => Err(Refusal::new("SIEM_MAX_NOT_TEXT", "only text has a length").field(&raw.key)),
    }
}

fn checked_label(raw: &RawField, format: Format, taken: &mut Taken) -> Result<(), Refusal> {
    let key = raw.key.as_str();
    let room = match format {
        Format::Cef => dictionary::cef_label_max(key),
        Format::Leef => None,
    };
    let (room, label) = match (room, raw.label.as_deref()) {
        (None, None) => return Ok(()),
        (Some(room), Some(label)) => (room, label),
        (Some(_), None) => {
            return Err(Refusal::new("SIEM_LABEL_MISSING", "this key needs a label").field(key));
        }
        (None, Some(_)) => {
            return Err(Refusal::new("SIEM_LABEL_UNUSED", "this key takes no label").field(key));
        }
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '_';
    if label.is_empty()
        || label.len() > room
        || label.trim() != label
        || !label.chars().all(is_plain)
    {
        let fix = "use letters, digits, spaces and _ : receivers make it a field name";
        return Err(Refusal::new("SIEM_LABEL_UNSAFE", fix).field(key).limit(room as u64));
    }
    taken.key(&format!("{key}Label"))?;
    taken.label(key, label)
}

/// The twin of an IPv4 key, where the format has twins.
pub(crate) fn ipv6_twin(format: Format, key: &str) -> Option<(&'static str, &'static str)> {
    match format {
        Format::Cef => dictionary::ipv6_twin(key),
        Format::Leef => None,
    }
}

/// LEEF needs four attributes on every line, whatever the record lacks.
fn enough(format: Format, fields: &[MappedField]) -> Result<(), Refusal> {
    let always = |field: &&MappedField| {
        field.from.iter().any(|source| match source {
            Source::Fact(fact) => fact.is_total(),
            Source::Constant(_) => true,
            _ => false,
        })
    };
    if format == Format::Leef && fields.iter().filter(always).count() < LEEF_ATTRIBUTES_MIN {
        let fix = "map four facts that every record has: parsers misread shorter lines";
        return Err(Refusal::new("SIEM_LEEF_TOO_FEW", fix).limit(LEEF_ATTRIBUTES_MIN as u64));
    }
    Ok(())
}
