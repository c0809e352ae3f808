//! Disclosure: chosen fields of one record for somebody outside, provable offline. Whoever opens
//! sealed fields for a person is written into the log first; no value leaves before that entry
//! is durable. It never discloses a field it cannot prove, and never says why a person asked in
//! clear: purpose and recipient are sealed fields of the entry.

use crate::base::entry::{Entry, Kind};
use crate::base::event::Verb;
use crate::base::limits::{CLEAR_BYTES_MAX, VAULT_CLASS};
use crate::base::record::{Fate, Record};
use crate::base::refusal::Refusal;
use crate::base::unit::{ClassId, EntryIndex};
use crate::format::bundle::{self, FORMAT};
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{self, Ground};
use crate::format::json::Tape;
use crate::format::trust::{Trust, Trusted};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::hold::Order;
use crate::vault::prove::{Proved, verify_proof};
use crate::vault::read::Reading;
use std::ops::Range;

/// A disclosure, and where the log says it was made.
#[derive(Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// Entry that records it.
    pub recorded: EntryIndex,
    /// The bundle, RFC 8785 JSON. It holds personal data.
    pub text: String,
}

impl std::fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disclosure(recorded at {})", self.recorded)
    }
}

/// What a verified disclosure says.
#[derive(Clone, PartialEq, Eq)]
pub struct Disclosed {
    /// The record's entry.
    pub entry: Entry,
    /// Its disclosed fields: name and JSON text.
    pub fields: Vec<(String, String)>,
    /// The log it stands in.
    pub checkpoint: Checkpoint,
    /// Who vouches for that; nobody when no trust file was given.
    pub trusted: Option<Trusted>,
}

impl std::fmt::Debug for Disclosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disclosed(entry {}, {} fields)", self.entry.index, self.fields.len())
    }
}

/// What is opened, for whom and why.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    /// `read`, `report`, `export`, `disclosure` or `answer`.
    pub act: &'a str,
    /// Entries looked at.
    pub range: Range<EntryIndex>,
    /// Records opened.
    pub records: u64,
    /// Fields opened; none means every field.
    pub fields: &'a [&'a str],
    /// Why.
    pub purpose: &'a str,
    /// For whom.
    pub who: &'a str,
    /// Who hands it out, where that is not whom it is for.
    pub by: Option<&'a str>,
    /// Who stands behind it, where one person's word is not enough.
    pub order: Option<&'a Order>,
    /// What allows to open fields of restricted persons too; without it they stay closed.
    pub ground: Option<Ground>,
}

/// What is said of a disclosure.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Why.
    pub purpose: &'a str,
    /// For whom.
    pub who: &'a str,
    /// Who hands it out.
    pub by: &'a str,
}

impl Vault {
    /// Discloses fields of one record for a purpose, to somebody, by somebody. All fields or none.
    ///
    /// # Errors
    /// `Invalid` `FIELD_UNKNOWN` for a field the record has not; `Denied` `FIELD_ERASED`,
    /// `FIELD_EXPIRED`, `FIELD_RESTRICTED`, or `FIELD_PRIVATE` for the body of a document;
    /// `Evidence` when its body or key is not what it must be; those of append.
    pub fn disclose(
        &self,
        index: EntryIndex,
        fields: &[&str],
        purpose: &str,
        who: &str,
        by: &str,
    ) -> Result<Disclosure> {
        self.disclose_on(index, fields, Told { purpose, who, by }, None)
    }

    /// As `disclose`, on a ground that opens fields of restricted persons too.
    ///
    /// # Errors
    /// As `disclose`.
    pub fn disclose_on(
        &self,
        index: EntryIndex,
        fields: &[&str],
        told: Told<'_>,
        ground: Option<Ground>,
    ) -> Result<Disclosure> {
        let Told { purpose, who, by } = told;
        self.writable()?;
        // What cannot be handed out is refused before the log says that it was.
        let before = if ground.is_some() { Reading::WITHIN } else { Reading::OPEN };
        let record = self.record(index, before)?;
        let mut names: Vec<&str> = fields.to_vec();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Err(Refusal::new("FIELD_UNKNOWN", "name the fields to disclose").into());
        }
        let open = |record: &Record| -> Result<Vec<bundle::Disclosed>> {
            names.iter().map(|name| open_field(record, name)).collect()
        };
        open(&record)?;
        let range = index..EntryIndex(index.0 + 1);
        let recorded = self.record_look(&Look {
            act: "disclosure",
            range,
            records: 1,
            fields: &names,
            purpose,
            who,
            by: Some(by),
            order: None,
            ground,
        })?;
        // Read again: an erasure may have passed while the entry was written.
        let fields = open(&self.record(index, self.reading_of(recorded)?)?)?;
        let proof = self.prove(index)?;
        let bundle = bundle::Disclosure { fields, format: FORMAT.to_owned(), proof };
        let text = String::from_utf8(control::encode(&bundle)?)
            .map_err(|_| Error::evidence("MALFORMED", "a disclosure that is not UTF-8"))?;
        Ok(Disclosure { recorded, text })
    }

    /// Records that sealed fields of `records` records in `range` are opened for `who`: one entry
    /// a request, before any value is handed out. `act` is `read`, `report`, `export` or
    /// `disclosure`; no `fields` means every field.
    ///
    /// # Errors
    /// `Denied` without purpose or recipient, and when nothing may be appended: then nothing may
    /// be opened either.
    pub fn record_reading(
        &self,
        act: &str,
        range: Range<EntryIndex>,
        records: u64,
        fields: &[&str],
        purpose: &str,
        who: &str,
    ) -> Result<EntryIndex> {
        let (by, order, ground) = (None, None, None);
        self.record_look(&Look { act, range, records, fields, purpose, who, by, order, ground })
    }

    /// As `record_reading`, with who ordered it where that takes an order.
    ///
    /// # Errors
    /// As `record_reading`; `Denied` for an order that two people must stand behind.
    pub fn record_look(&self, look: &Look<'_>) -> Result<EntryIndex> {
        let Look { range, purpose, who, .. } = look;
        self.writable()?;
        let mode = look.order.map(Order::mode).transpose()?;
        let unnamed = look.by.is_some_and(|by| by.trim().is_empty());
        if purpose.trim().is_empty() || who.trim().is_empty() || unnamed {
            let fix = "say who hands it out, for whom and why: --by, --recipient and --reason";
            return Err(Error::denied("DISCLOSURE_UNEXPLAINED", fix));
        }
        let mut names: Vec<String> = look.fields.iter().map(|f| (*f).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        // What does not fit the clear part is recorded as what it may amount to: every field.
        if names.iter().map(|name| name.len() + 3).sum::<usize>() > CLEAR_BYTES_MAX / 2 {
            names.clear();
        }
        let clear = control::encode(&control::Disclose {
            act: look.act.to_owned(),
            records: look.records,
            first: range.start,
            last: EntryIndex(range.end.0.saturating_sub(1).max(range.start.0)),
            fields: names,
            mode,
            ground: look.ground,
        })?;
        let mut sealed = vec![
            ("disclosure.purpose", (*purpose).to_owned()),
            ("disclosure.recipient", (*who).to_owned()),
        ];
        sealed.extend(look.by.map(|by| ("disclosure.by", by.to_owned())));
        sealed.extend(look.order.into_iter().flat_map(Order::fields));
        let prepared = self.prepare_act(Verb::Disclose, ClassId(VAULT_CLASS), sealed)?;
        Ok(self.commit_act(Kind::Disclose, clear, prepared, None)?.first)
    }
}

/// One field of a record with its salt, or why it cannot be disclosed.
fn open_field(record: &Record, name: &str) -> Result<bundle::Disclosed> {
    let unknown = || {
        let fix = "the record has no sealed field of this name";
        Error::invalid(Refusal::new("FIELD_UNKNOWN", fix).field(name))
    };
    let field = record.fields.iter().find(|f| &*f.name == name).ok_or_else(unknown)?;
    if record.is_private(name) {
        let fix = "the body of a document in the registry may hold what lets somebody in: it \
                   is neither shown nor disclosed";
        return Err(Error::denied("FIELD_PRIVATE", fix));
    }
    let fate = record.groups.get(usize::from(field.group)).copied().unwrap_or(Fate::BodyMissing);
    let (Some(value), Some(salt)) = (&field.value, field.salt) else {
        return Err(closed(fate));
    };
    let value = String::from_utf8(value.clone())
        .map_err(|_| Error::evidence("MALFORMED", "a sealed value that is not UTF-8"))?;
    Ok(bundle::Disclosed {
        group: field.group,
        name: name.to_owned(),
        salt: crate::base::id::Hash32(salt),
        value,
    })
}

/// Why a field cannot be opened.
pub(crate) fn closed(fate: Fate) -> Error {
    match fate {
        Fate::Erased => Error::denied("FIELD_ERASED", "its subject was erased; nobody can open it"),
        Fate::Restricted => {
            let fix = "the use of its subject's data is restricted: name what allows it all the \
                       same, or wait until the restriction is lifted";
            Error::denied("FIELD_RESTRICTED", fix)
        }
        Fate::Expired => Error::denied("FIELD_EXPIRED", "its class-day expired; it is gone"),
        _ => Error::evidence(fate.name(), "the field cannot be opened and the log says not why"),
    }
}

/// Checks a disclosure against pinned trust, with nothing else. Without trust signatures and
/// quorum are left out.
///
/// # Errors
/// `Evidence`: `DISCLOSURE_FIELD_MISMATCH` for a field the entry does not commit to, `MALFORMED`,
/// and those of `verify_proof`.
pub fn verify_disclosure<'t>(text: &str, trust: impl Into<Option<&'t Trust>>) -> Result<Disclosed> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let bundle: bundle::Disclosure = control::decode(text.as_bytes())?;
    if bundle.format != FORMAT || bundle.fields.is_empty() {
        return Err(Error::evidence("MALFORMED", "not a disclosure of this version"));
    }
    let mut tape = Tape::new();
    if bundle.fields.iter().any(|field| tape.scan(field.value.as_bytes()).is_err()) {
        return Err(Error::evidence("MALFORMED", "a disclosed value that is not one JSON text"));
    }
    let Proved { entry, checkpoint, trusted } = verify_proof(&bundle.proof, trust)?;
    let mut fields: Vec<(String, String)> = Vec::with_capacity(bundle.fields.len());
    for field in bundle.fields {
        let again = fields.last().is_some_and(|(last, _)| *last >= field.name);
        if again || !bundle::field_matches(&entry, &field) {
            let detail = format!("entry {} does not commit to a disclosed field", entry.index);
            return Err(Error::evidence("DISCLOSURE_FIELD_MISMATCH", detail));
        }
        fields.push((field.name, field.value));
    }
    Ok(Disclosed { entry, fields, checkpoint, trusted })
}
