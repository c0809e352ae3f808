//! Restriction (GDPR Art. 18): whose data may be stored, and used only on a ground that somebody
//! names. Beginning and end are entries; the handle stands in clear, cause and reason are sealed
//! under the person, so that an erasure takes them. `vault::read` keeps the fields closed. It never
//! keeps anything from expiring or from being erased: that is what a hold is for.

use crate::base::id::PersonId;
use crate::base::limits::{RESTRICTED_MAX, VAULT_CLASS};
use crate::base::refusal::Refusal;
use crate::base::subjects::SubjectSet;
use crate::base::unit::{ClassId, EntryIndex, UtcNanos};
use crate::format::control::{self, Cause, Config};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::known::{Condition, about, group, is_reason, json};
use crate::vault::read::Reading;

/// How a person's data is restricted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restriction {
    /// The entry since which.
    pub since: EntryIndex,
    /// Log time of that.
    pub time: UtcNanos,
    /// Why, if that can still be read.
    pub cause: Option<Cause>,
}

impl Vault {
    /// From now on personal fields of this person, under every handle, are opened on a ground only.
    ///
    /// # Errors
    /// `NotFound` `SUBJECT_UNKNOWN`; `Conflict` `SUBJECT_RESTRICTED` when they are so already;
    /// `Invalid` `RESTRICTIONS_TOO_MANY`, and for a reason that is none or too long.
    pub fn restrict(
        &self,
        person: &PersonId,
        cause: Cause,
        reason: &str,
        who: &str,
    ) -> Result<EntryIndex> {
        let handles = self.handles_of(person)?;
        let cause = serde_json::to_vec(&cause).unwrap_or_default();
        let sealed = vec![("restriction.cause", cause), ("restriction.reason", json(reason))];
        self.note(*person, true, (reason, who), sealed, &|| {
            let handles = handles.clone();
            Box::new(move |facts: &Facts| match restricted(facts, &handles).first() {
                Some((_, first)) => {
                    let fix = "it is restricted already: lift that first, if the cause is another";
                    Err(conflict("SUBJECT_RESTRICTED", Some(*first), fix))
                }
                None if facts.restricted.len() >= RESTRICTED_MAX => {
                    let fix = "lift restrictions whose cause has gone";
                    let refusal = Refusal::new("RESTRICTIONS_TOO_MANY", fix);
                    Err(refusal.limit(RESTRICTED_MAX as u64).into())
                }
                None => Ok(()),
            })
        })
    }

    /// Lifts the restriction of a person, under every handle. Returns the entries that say so.
    ///
    /// # Errors
    /// `NotFound` `SUBJECT_UNKNOWN`; `Conflict` `SUBJECT_NOT_RESTRICTED`; `Invalid` for a reason
    /// that is none or too long.
    pub fn lift_restriction(
        &self,
        person: &PersonId,
        reason: &str,
        who: &str,
    ) -> Result<Vec<EntryIndex>> {
        let none = || {
            let fix = "it is not restricted, or not any more: nothing was changed";
            conflict("SUBJECT_NOT_RESTRICTED", None, fix)
        };
        let handles = self.handles_of(person)?;
        let known = restricted(&self.facts(), &handles);
        if known.is_empty() {
            return Err(none());
        }
        let lift = |(handle, _): &(PersonId, EntryIndex)| {
            let handle = *handle;
            let sealed = vec![("restriction.reason", json(reason))];
            self.note(handle, false, (reason, who), sealed, &|| {
                Box::new(move |facts: &Facts| match facts.restricted.contains_key(&handle) {
                    true => Ok(()),
                    false => Err(none()),
                })
            })
        };
        known.iter().map(lift).collect()
    }

    /// How the data of a person with these handles is restricted; of several the oldest counts.
    ///
    /// # Errors
    /// Those of the store.
    pub fn restriction_of(&self, handles: &[PersonId]) -> Result<Option<Restriction>> {
        let oldest = restricted(&self.facts(), handles).into_iter().map(|(_, since)| since).min();
        let Some(since) = oldest else { return Ok(None) };
        let record = self.unnamed(since, Reading::WITHIN)?;
        let cause = record.value("restriction.cause");
        let cause = cause.and_then(|text| serde_json::from_slice(text).ok());
        Ok(Some(Restriction { since, time: record.entry.time_log, cause }))
    }

    fn note(
        &self,
        person: PersonId,
        begins: bool,
        (reason, who): (&str, &str),
        sealed: Vec<(&'static str, Vec<u8>)>,
        condition: Condition<'_>,
    ) -> Result<EntryIndex> {
        is_reason(reason)?;
        let subjects = self.subjects_of(&[person])?;
        let groups = vec![
            group([0].into_iter().collect(), sealed),
            group(SubjectSet::NONE, vec![("restriction.by", json(who))]),
        ];
        let event = about(self.inner.clock.now(), ClassId(VAULT_CLASS), subjects, groups);
        let clear = control::encode(&Config::Restriction { person, begins })?;
        self.act_about(&[person], &event, &clear, condition)
    }
}

/// Those of these handles whose data is restricted, with the entry since which.
fn restricted(facts: &Facts, handles: &[PersonId]) -> Vec<(PersonId, EntryIndex)> {
    let since = |person: &PersonId| Some((*person, *facts.restricted.get(person)?));
    handles.iter().filter_map(since).collect()
}

fn conflict(code: &'static str, first: Option<EntryIndex>, fix: &str) -> Error {
    Error::Conflict { code, first, fix: fix.to_owned() }
}
