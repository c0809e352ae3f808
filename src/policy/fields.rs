//! The field registry, `policies/fields.toml`: what may be stored in clear, under whose key the
//! rest is sealed, what is refused, and how identifiers of persons are normalised.
//! It never lets a free string be clear: a clear field is an enum, a boolean or a bounded integer.

use crate::base::limits::{FIELD_NAME_BYTES_MAX, IDENTIFIER_BYTES_MAX};
use crate::base::refusal::Refusal;
use crate::base::word::Word;
use crate::format::json::{INTEGER_MAX, Value, key_digest};
use crate::policy::error::{Page, PolicyError};
use serde::Deserialize;
use std::borrow::Cow;
use toml::Spanned;

/// Whose keys seal a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// The acting persons; everyone named if none acts.
    Actor,
    /// The persons acted upon; everyone named if there is none.
    Target,
    /// Every person the event names; the tenant if it names none.
    All,
}

/// The closed vocabulary of a clear field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Clear {
    /// One of these words.
    Enum(Vec<Box<str>>),
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0 to `max`.
    Integer {
        /// Largest value.
        max: u64,
    },
}

/// What becomes of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Stored in clear, for ever.
    Clear(Clear),
    /// Sealed under the keys of persons.
    Sealed(Whom),
    /// Sealed under the tenant's key: an erasure of a person does not reach it.
    Tenant,
    /// The event is refused.
    Refuse,
}

/// Number of a field; ascending numbers are ascending names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FieldId(pub u16);

/// One registered field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldRule {
    /// Name, e.g. `actor.email`.
    pub name: Word,
    /// What becomes of it.
    pub disposition: Disposition,
    /// Why; required for `tenant` and `refuse`.
    pub reason: String,
}

/// One step of normalisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Cuts white space at both ends.
    Trim,
    /// Unicode lower case.
    Lowercase,
    /// Unicode upper case.
    Uppercase,
    /// Keeps digits and a leading `+`; a leading `00` becomes `+`.
    Phone,
}

/// A kind of identifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentifierKind {
    /// Name, e.g. `email`.
    pub name: Word,
    steps: Vec<Step>,
}

impl IdentifierKind {
    /// The normalised value; none if nothing is left of it.
    pub fn normalise(&self, value: &str) -> Result<Option<Box<str>>, Refusal> {
        let mut text = Cow::Borrowed(value);
        for step in &self.steps {
            text = match (step, text) {
                (Step::Trim, Cow::Borrowed(text)) => Cow::Borrowed(text.trim()),
                (Step::Trim, Cow::Owned(text)) => Cow::Owned(text.trim().to_owned()),
                (Step::Lowercase, text) if is_lower(&text) => text,
                // One letter at a time: no rule looks at a letter's neighbours, as for a final
                // sigma, so a part is normalised as within the whole.
                (Step::Lowercase, text) => text.chars().flat_map(char::to_lowercase).collect(),
                (Step::Uppercase, text) => text.to_uppercase().into(),
                (Step::Phone, text) => phone(&text).into(),
            };
        }
        if text.len() > IDENTIFIER_BYTES_MAX {
            return Err(Refusal::new("IDENTIFIER_TOO_LONG", "send a shorter identifier")
                .field(&self.name)
                .limit(IDENTIFIER_BYTES_MAX as u64));
        }
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

/// Whether lower case is certain to change nothing.
fn is_lower(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
}

fn phone(text: &str) -> String {
    let text = text.trim();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match (text.starts_with('+'), digits.strip_prefix("00")) {
        (false, Some(rest)) if !rest.is_empty() => format!("+{rest}"),
        (true, _) if !digits.is_empty() => format!("+{digits}"),
        _ => digits,
    }
}

/// The registry.
#[derive(Clone, Debug)]
pub struct Registry {
    fields: Vec<FieldRule>,
    kinds: Vec<IdentifierKind>,
    refused: Vec<RefusedKey>,
    /// 4,096 bits, one set per digest of a refused key: most keys are cleared by one look.
    refused_bits: Box<[u64; 64]>,
}

#[derive(Clone, Debug)]
struct RefusedKey {
    digest: u32,
    key: Box<str>,
    field: FieldId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    kind: Vec<Spanned<RawKind>>,
    field: Vec<Spanned<RawField>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKind {
    name: String,
    normalise: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: String,
    disposition: RawDisposition,
    subjects: Option<Whom>,
    #[serde(rename = "type")]
    kind: Option<String>,
    values: Option<Vec<String>>,
    max: Option<u64>,
    reason: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDisposition {
    Clear,
    Sealed,
    Tenant,
    Refuse,
}

impl Registry {
    /// Reads `fields.toml`.
    pub(crate) fn parse(page: Page<'_>) -> Result<Self, PolicyError> {
        let raw: RawRegistry = page.read()?;
        let mut kinds: Vec<IdentifierKind> = Vec::new();
        for kind in raw.kind {
            let (span, kind) = (kind.span(), kind.into_inner());
            if !is_name(&kind.name) || kinds.iter().any(|other| *other.name == *kind.name) {
                let reason = format!("`{}` is not a new name of a-z, 0-9 and _", kind.name);
                return Err(page.error(&span, "POLICY_NAME", reason));
            }
            let Some(name) = Word::of(&kind.name) else {
                return Err(page.error(&span, "POLICY_NAME", "too many names".to_owned()));
            };
            kinds.push(IdentifierKind { name, steps: kind.normalise });
        }
        let mut fields = Vec::new();
        let mut keys = Vec::new();
        for field in raw.field {
            let (span, field) = (field.span(), field.into_inner());
            let rule = checked(&field)
                .map_err(|(code, why)| page.error(&span, code, format!("{}: {why}", field.name)))?;
            if fields.iter().any(|other: &FieldRule| other.name == rule.name) {
                return Err(page.error(&span, "POLICY_DUPLICATE", "the field is listed twice"));
            }
            keys.extend(field.keys.iter().map(|key| (key.clone(), rule.name)));
            fields.push(rule);
        }
        fields.sort_by_key(|field| field.name);
        let mut registry =
            Registry { fields, kinds, refused: Vec::new(), refused_bits: Box::new([0; 64]) };
        for name in ["data"] {
            match registry.field_named(name).map(|id| &registry.field(id).disposition) {
                Some(Disposition::Sealed(Whom::All)) => {}
                _ => {
                    let reason = format!("`{name}` must be sealed with subjects = \"all\"");
                    return Err(page.missing("POLICY_REQUIRED", reason));
                }
            }
        }
        keys.into_iter().for_each(|(key, field)| registry.refuse_key(&key, &field));
        Ok(registry)
    }

    /// Refuses a key as written, in lower case, in upper case and with an upper-case initial.
    fn refuse_key(&mut self, key: &str, field: &str) {
        let Some(id) = self.field_named(field) else { return };
        let mut initial = key.to_lowercase();
        if let Some(first) = initial.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        for key in [key.to_owned(), key.to_lowercase(), key.to_uppercase(), initial] {
            let digest = key_digest(&key);
            if let Some(word) = self.refused_bits.get_mut((digest >> 26) as usize) {
                *word |= 1 << (digest >> 20 & 63);
            }
            self.refused.push(RefusedKey { digest, key: key.into(), field: id });
        }
    }

    /// The field with this name.
    pub fn field_named(&self, name: &str) -> Option<FieldId> {
        let at = self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
        u16::try_from(at).ok().map(FieldId)
    }

    /// The rule of a field of this registry.
    pub fn field(&self, id: FieldId) -> &FieldRule {
        static NONE: std::sync::LazyLock<FieldRule> = std::sync::LazyLock::new(|| FieldRule {
            name: "".into(),
            disposition: Disposition::Refuse,
            reason: String::new(),
        });
        self.fields.get(usize::from(id.0)).unwrap_or_else(|| &NONE)
    }

    /// Every field, ascending by name.
    pub fn fields(&self) -> &[FieldRule] {
        &self.fields
    }

    /// The identifier kind with this name.
    pub fn kind(&self, name: &str) -> Option<&IdentifierKind> {
        self.kinds.iter().find(|kind| *kind.name == *name)
    }

    /// Every identifier kind.
    pub fn kinds(&self) -> &[IdentifierKind] {
        &self.kinds
    }

    /// Refuses a text that holds, at any depth, a key of a refused field with a value.
    pub fn refuse_keys(&self, root: Value<'_, '_>) -> Result<(), Refusal> {
        for key in root.keys_of_text() {
            let digest = key.digest();
            let word = self.refused_bits.get((digest >> 26) as usize).copied().unwrap_or(0);
            if word >> (digest >> 20 & 63) & 1 == 0 {
                continue;
            }
            let hit = self.refused.iter().find(|r| r.digest == digest && key.is(&r.key));
            if let Some(refused) = hit
                && !matches!(key.value().raw(), "null" | "\"\"" | "false" | "true")
            {
                let name = &self.field(refused.field).name;
                return Err(Refusal::new("FIELD_REFUSED", "do not send it: it may not be stored")
                    .field(name)
                    .at(key.offset()));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    letters && !name.is_empty() && name.len() <= FIELD_NAME_BYTES_MAX
}

/// The rule of a raw field, or a code and a reason.
fn checked(field: &RawField) -> Result<FieldRule, (&'static str, &'static str)> {
    if field.name.len() > FIELD_NAME_BYTES_MAX || !field.name.split('.').all(is_name) {
        return Err(("POLICY_NAME", "a name is parts of a-z, 0-9 and _ joined by dots"));
    }
    let reason = field.reason.clone().unwrap_or_default();
    let is_clear = matches!(field.disposition, RawDisposition::Clear);
    if !is_clear && (field.kind.is_some() || field.values.is_some() || field.max.is_some()) {
        return Err(("POLICY_FIELD", "type, values and max belong to clear fields"));
    }
    if !matches!(field.disposition, RawDisposition::Sealed) && field.subjects.is_some() {
        return Err(("POLICY_FIELD", "subjects belong to sealed fields"));
    }
    if !matches!(field.disposition, RawDisposition::Refuse) && !field.keys.is_empty() {
        return Err(("POLICY_FIELD", "keys belong to refused fields"));
    }
    let disposition = match field.disposition {
        RawDisposition::Clear => Disposition::Clear(clear(field)?),
        RawDisposition::Sealed => match field.subjects {
            Some(whom) => Disposition::Sealed(whom),
            None => {
                return Err(("POLICY_FIELD", "say subjects = \"actor\", \"target\" or \"all\""));
            }
        },
        RawDisposition::Tenant if reason.is_empty() => {
            return Err(("TENANT_WITHOUT_REASON", "say why no erasure of a person may reach it"));
        }
        RawDisposition::Tenant => Disposition::Tenant,
        RawDisposition::Refuse if reason.is_empty() => {
            return Err(("POLICY_FIELD", "say why it is refused"));
        }
        RawDisposition::Refuse => Disposition::Refuse,
    };
    let name = Word::of(&field.name).ok_or(("POLICY_NAME", "too many names"))?;
    Ok(FieldRule { name, disposition, reason })
}

fn clear(field: &RawField) -> Result<Clear, (&'static str, &'static str)> {
    match (field.kind.as_deref(), &field.values, field.max) {
        (Some("enum"), Some(values), None) if !values.is_empty() => {
            // No quote, comma or brace: the clear object can be cut at commas.
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            if values.iter().any(|word| word.is_empty() || !word.bytes().all(plain)) {
                return Err(("CLEAR_WORD", "a word is letters, digits, `_`, `-` and `.`"));
            }
            Ok(Clear::Enum(values.iter().map(|word| word.as_str().into()).collect()))
        }
        (Some("boolean"), None, None) => Ok(Clear::Boolean),
        (Some("integer"), None, Some(max)) if max <= INTEGER_MAX => Ok(Clear::Integer { max }),
        _ => Err((
            "CLEAR_FREE_TEXT",
            "a clear field is type = \"enum\" with values, \"boolean\", or \"integer\" with max",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_brought_to_one_form() {
        let check = |steps: &[Step], value: &str, expect: Option<&str>| {
            let kind = IdentifierKind { name: "k".into(), steps: steps.to_vec() };
            assert_eq!(kind.normalise(value), Ok(expect.map(Box::from)), "{value}");
        };
        let email = [Step::Trim, Step::Lowercase];
        check(&email, "  \u{c4}nn@Example.ORG\t", Some("\u{e4}nn@example.org"));
        check(&email, " \u{a0} ", None);
        check(&email, "", None);
        check(&[Step::Phone], " +49 (30) 12-34 ", Some("+49301234"));
        check(&[Step::Phone], "0049/30.1234", Some("+49301234"));
        check(&[Step::Phone], "030 1234", Some("0301234"));
        check(&[Step::Phone], "ext", None);
        check(&[Step::Trim, Step::Uppercase], "s-1-5-21-7 ", Some("S-1-5-21-7"));
        let kind = IdentifierKind { name: "k".into(), steps: vec![Step::Lowercase] };
        assert!(kind.normalise(&"x".repeat(256)).is_ok());
        // Longer after normalisation counts: this letter grows from two bytes to three.
        let grown = kind.normalise(&"\u{130}".repeat(128)).map_err(|refusal| refusal.code);
        assert_eq!(grown, Err("IDENTIFIER_TOO_LONG"));
    }
}
