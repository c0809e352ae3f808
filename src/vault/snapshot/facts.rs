//! Facts as bytes, for a snapshot. Whoever adds a fact is told by the compiler to add it here;
//! the layout has a version of its own, and a snapshot of another version is passed over.

use crate::base::id::{CaseId, DocumentId, Hash32, JobId, PersonId, SourceHandle};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, Generation, TreeSize, UtcNanos};
use crate::format::control::{self, DocumentKind};
use crate::format::wire::{Malformed, Reader, Result, Write, len_of};
use crate::vault::facts::{DocumentFact, Erasure, Facts, Prune};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashSet};

/// Raised whenever the layout below changes.
pub(crate) const VERSION: u8 = 5;

/// Encodes.
///
/// # Errors
/// `Malformed` if a payload cannot be written: our bug.
pub(crate) fn encode(facts: &Facts) -> Result<Vec<u8>> {
    let Facts {
        genesis,
        holds,
        released,
        erasures,
        finals,
        prunes,
        fenced,
        fenced_days,
        expired,
        groups,
        root: (generation, root),
        growing,
        policies,
        sources,
        documents,
        // They follow from the documents.
        living: _,
        aging: _,
        restricted,
        corrections,
        key_rolls,
        epochs_sealed,
        unsealed,
        day_sealed,
        day_start,
        time_jump,
        opening,
        last_time,
        size,
    } = facts;
    let mut out = vec![VERSION];
    put_json(&mut out, genesis)?;
    put_all(&mut out, holds.iter(), put_case)?;
    put_all(&mut out, released.iter(), |out, (case, at)| put_at(out, &case.0, *at))?;
    put_all(&mut out, erasures.values(), |out, Erasure { intent, asked, plan, done }| {
        put_act(out, *intent, *asked, plan, done.as_ref())
    })?;
    put_all(&mut out, finals.values(), |out, (at, time, end)| {
        out.put_u64(at.0);
        out.put_u64(time.0);
        put_json(out, end)
    })?;
    put_all(&mut out, prunes.values(), |out, Prune { intent, asked, plan, done }| {
        put_act(out, *intent, *asked, plan, done.as_ref())
    })?;
    put_persons(&mut out, fenced)?;
    put_all(&mut out, fenced_days.iter(), |out, day| put_day(out, day, None))?;
    put_all(&mut out, expired.iter(), |out, (day, at)| put_day(out, day, Some(at.0)))?;
    put_all(&mut out, groups.iter(), |out, (day, count)| put_day(out, day, Some(*count)))?;
    out.put_u64(generation.0);
    out.raw(&root.0);
    put_json(&mut out, growing)?;
    put_json(&mut out, policies)?;
    put_all(&mut out, sources.iter(), |out, (source, at)| put_at(out, &source.0, *at))?;
    put_all(&mut out, documents.iter(), put_document)?;
    put_all(&mut out, restricted.iter(), |out, (who, at)| put_at(out, &who.0, *at))?;
    put_all(&mut out, corrections.iter(), put_correction)?;
    put_all(&mut out, key_rolls.iter(), |out, (at, roll)| put_named(out, *at, roll))?;
    out.put_u64(*epochs_sealed);
    put_all(&mut out, unsealed.iter(), |out, epoch| put_bytes(out, &epoch.to_be_bytes()))?;
    put_json(&mut out, day_sealed)?;
    out.put_u64(day_start.0);
    put_json(&mut out, time_jump)?;
    out.put_u8(u8::from(*opening));
    out.put_u64(last_time.0);
    out.put_u64(size.0);
    Ok(out)
}

/// Decodes what `encode` wrote.
///
/// # Errors
/// `Malformed` for another version, or when the bytes are not exactly one encoding.
pub(crate) fn decode(bytes: &[u8]) -> Result<Facts> {
    let mut reader = Reader::new(bytes);
    let r = &mut reader;
    if r.u8("facts version")? != VERSION {
        return Err(r.malformed("facts of another version"));
    }
    let mut facts = Facts {
        genesis: json(r)?,
        holds: all(r, |r| {
            let case = CaseId(r.array("case")?);
            Ok((case, all(r, |r| Ok((index(r)?, json(r)?)))?))
        })?,
        released: all(r, |r| Ok((CaseId(r.array("case")?), index(r)?)))?,
        erasures: all(r, |r| {
            let (intent, asked, plan, done) = act::<control::EraseIntent, _>(r)?;
            let job: JobId = plan.job;
            Ok((job, Erasure { intent, asked, plan, done }))
        })?,
        finals: all(r, |r| {
            let (at, time) = (index(r)?, UtcNanos(r.u64("time")?));
            let end: control::EraseFinal = json(r)?;
            Ok((end.job, (at, time, end)))
        })?,
        prunes: all(r, |r| {
            let (intent, asked, plan, done) = act::<control::PruneIntent, _>(r)?;
            let job: JobId = plan.job;
            Ok((job, Prune { intent, asked, plan, done }))
        })?,
        fenced: all(r, |r| Ok(PersonId(r.array("person")?)))?,
        fenced_days: all(r, day)?,
        expired: all(r, |r| Ok((day(r)?, index(r)?)))?,
        groups: all(r, |r| Ok((day(r)?, r.u64("groups")?)))?,
        root: (Generation(r.u64("generation")?), Hash32(r.array("root")?)),
        growing: json(r)?,
        policies: json(r)?,
        sources: all(r, |r| Ok((SourceHandle(r.array("source")?), index(r)?)))?,
        documents: all(r, document)?,
        living: 0,
        aging: BTreeMap::new(),
        restricted: all(r, |r| Ok((PersonId(r.array("person")?), index(r)?)))?,
        corrections: all(r, |r| Ok((index(r)?, index(r)?)))?,
        key_rolls: all(r, |r| Ok((index(r)?, json(r)?)))?,
        epochs_sealed: r.u64("epochs")?,
        unsealed: all(r, |r| r.u64("epoch"))?,
        day_sealed: json(r)?,
        day_start: index(r)?,
        time_jump: json(r)?,
        opening: r.u8("opening")? == 1,
        last_time: UtcNanos(r.u64("time")?),
        size: TreeSize(r.u64("size")?),
    };
    reader.done()?;
    let aging = facts.documents.iter().filter(|((kind, _), _)| *kind == DocumentKind::Idempotency);
    facts.aging = aging.map(|((_, id), fact)| (fact.index, *id)).collect();
    let living = |((kind, _), fact): &(&(DocumentKind, DocumentId), &DocumentFact)| {
        *kind != DocumentKind::Idempotency && !fact.gone
    };
    facts.living = facts.documents.iter().filter(living).count();
    match encode(&facts)? == bytes {
        true => Ok(facts),
        false => Err(Malformed { offset: 0, what: "facts are not in their one form" }),
    }
}

fn put_all<T>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T) -> Result<()>,
) -> Result<()> {
    out.put_u32(len_of(items.len()));
    for item in items {
        put(out, item)?;
    }
    Ok(())
}

fn all<'a, T, C: FromIterator<T>>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<C> {
    let count = reader.u32("count")?;
    (0..count).map(|_| read(reader)).collect()
}

fn put_json<T: Serialize>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    out.put_lp32(&control::write(value)?);
    Ok(())
}

fn json<T: Serialize + DeserializeOwned>(reader: &mut Reader<'_>) -> Result<T> {
    control::decode(reader.lp32("payload")?)
}

fn put_act<P: Serialize, D: Serialize>(
    out: &mut Vec<u8>,
    intent: EntryIndex,
    asked: UtcNanos,
    plan: &P,
    done: Option<&(EntryIndex, UtcNanos, D)>,
) -> Result<()> {
    out.put_u64(intent.0);
    out.put_u64(asked.0);
    put_json(out, plan)?;
    out.put_u8(u8::from(done.is_some()));
    let Some((at, time, done)) = done else { return Ok(()) };
    out.put_u64(at.0);
    out.put_u64(time.0);
    put_json(out, done)
}

fn put_named<T: Serialize>(out: &mut Vec<u8>, at: EntryIndex, value: &T) -> Result<()> {
    out.put_u64(at.0);
    put_json(out, value)
}

type Named = ((DocumentKind, DocumentId), DocumentFact);

fn put_document(
    out: &mut Vec<u8>,
    ((kind, id), fact): (&(DocumentKind, DocumentId), &DocumentFact),
) -> Result<()> {
    let DocumentFact { version, index, time, gone } = fact;
    out.put_u8(kind.value());
    out.raw(&id.0);
    out.put_u64(*version);
    out.put_u64(index.0);
    out.put_u64(time.0);
    out.put_u8(u8::from(*gone));
    Ok(())
}

fn document(reader: &mut Reader<'_>) -> Result<Named> {
    let kind = DocumentKind::from_value(reader.u8("document kind")?);
    let kind = kind.ok_or_else(|| reader.malformed("unknown kind of document"))?;
    let id = DocumentId(reader.array("document")?);
    let (version, index) = (reader.u64("version")?, index(reader)?);
    let (time, gone) = (UtcNanos(reader.u64("time")?), reader.u8("gone")? == 1);
    Ok(((kind, id), DocumentFact { version, index, time, gone }))
}

fn put_case(
    out: &mut Vec<u8>,
    (case, scopes): (&CaseId, &Vec<(EntryIndex, control::Scope)>),
) -> Result<()> {
    out.raw(&case.0);
    put_all(out, scopes.iter(), |out, (at, scope)| put_named(out, *at, scope))
}

fn put_correction(out: &mut Vec<u8>, (event, by): &(EntryIndex, EntryIndex)) -> Result<()> {
    put_at(out, &event.0.to_be_bytes(), *by)
}

fn put_persons(out: &mut Vec<u8>, persons: &HashSet<PersonId>) -> Result<()> {
    let mut persons: Vec<&PersonId> = persons.iter().collect();
    persons.sort_unstable();
    put_all(out, persons.into_iter(), |out, person| put_bytes(out, &person.0))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    out.raw(bytes);
    Ok(())
}

fn put_at(out: &mut Vec<u8>, handle: &[u8], at: EntryIndex) -> Result<()> {
    out.raw(handle);
    out.put_u64(at.0);
    Ok(())
}

type Act<P, D> = (EntryIndex, UtcNanos, P, Option<(EntryIndex, UtcNanos, D)>);

fn act<P, D>(reader: &mut Reader<'_>) -> Result<Act<P, D>>
where
    P: Serialize + DeserializeOwned,
    D: Serialize + DeserializeOwned,
{
    let (intent, asked) = (index(reader)?, UtcNanos(reader.u64("time")?));
    let plan = json(reader)?;
    let done = match reader.u8("done")? {
        0 => None,
        _ => Some((index(reader)?, UtcNanos(reader.u64("time")?), json(reader)?)),
    };
    Ok((intent, asked, plan, done))
}

fn put_day(out: &mut Vec<u8>, day: &ClassDay, value: Option<u64>) -> Result<()> {
    out.put_u16(day.class.0);
    out.put_u32(day.day.0);
    value.into_iter().for_each(|value| out.put_u64(value));
    Ok(())
}

fn day(reader: &mut Reader<'_>) -> Result<ClassDay> {
    Ok(ClassDay { class: ClassId(reader.u16("class")?), day: Day(reader.u32("day")?) })
}

fn index(reader: &mut Reader<'_>) -> Result<EntryIndex> {
    Ok(EntryIndex(reader.u64("index")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(kinds: &[(DocumentKind, u8, u64)]) -> Facts {
        let mut facts = Facts::default();
        for (at, (kind, id, time)) in (0..).zip(kinds) {
            let (id, gone) = (DocumentId([*id; 16]), at % 2 == 1);
            let document = control::Config::Document { kind: *kind, id, version: at + 1, gone };
            let clear = control::encode(&document).unwrap();
            let (kind, index, time) =
                (crate::base::entry::Kind::Config, EntryIndex(at), UtcNanos(*time));
            facts.observe_plain(std::iter::empty(), index, time);
            facts.observe_control(kind, &clear, index, time).unwrap();
        }
        facts
    }

    #[test]
    fn documents_come_back_and_age_as_before() {
        let (human, request) = (DocumentKind::Human, DocumentKind::Idempotency);
        let day = crate::base::limits::IDEMPOTENCY_NANOS;
        let acts = [(human, 1, 5), (request, 2, 6), (request, 3, 7), (request, 2, 8)];
        let facts = observed(&acts);
        let bytes = encode(&facts).unwrap();
        assert_eq!(decode(&bytes).unwrap(), facts);
        assert_eq!(facts.aging.keys().map(|at| at.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(facts.living, 1);
        // Each request goes with the first entry 24 hours after its newest version, the rest
        // stays; and what came out of a snapshot forgets at the same entry.
        for (later, left) in [(6 + day, 3), (7 + day - 1, 3), (7 + day, 2), (8 + day, 1)] {
            let (mut one, mut other) = (facts.clone(), decode(&bytes).unwrap());
            for facts in [&mut one, &mut other] {
                facts.observe_plain(std::iter::empty(), EntryIndex(4), UtcNanos(later));
                assert_eq!((facts.documents.len(), facts.aging.len()), (left, left - 1));
            }
            assert_eq!(one, other);
        }
    }

    #[test]
    fn restrictions_and_corrections_come_back_as_they_stood() {
        let mut facts = Facts::default();
        let person = |byte: u8| PersonId([byte; 16]);
        let restriction =
            |byte, begins| control::Config::Restriction { person: person(byte), begins };
        let correction = |of: u64| control::Config::Correction { corrects: EntryIndex(of) };
        let acts = [
            restriction(1, true),
            restriction(2, true),
            correction(9),
            restriction(1, true),
            correction(7),
            restriction(2, false),
            correction(9),
        ];
        for (at, act) in (0..).zip(&acts) {
            let (clear, index) = (control::encode(act).unwrap(), EntryIndex(at));
            facts.observe_plain(std::iter::empty(), index, UtcNanos(5));
            let kind = crate::base::entry::Kind::Config;
            facts.observe_control(kind, &clear, index, UtcNanos(5)).unwrap();
        }
        let facts = decode(&encode(&facts).unwrap()).unwrap();
        assert_eq!(facts.restricted, BTreeMap::from([(person(1), EntryIndex(0))]));
        let of = |event| facts.corrections_of(EntryIndex(event)).collect::<Vec<_>>();
        assert_eq!((of(7), of(8)), (vec![EntryIndex(4)], vec![]));
        assert_eq!(of(9), [EntryIndex(2), EntryIndex(6)]);
    }

    #[test]
    fn facts_of_another_version_or_in_another_form_are_refused() {
        let facts = observed(&[(DocumentKind::Order, 1, 5), (DocumentKind::Human, 2, 6)]);
        let bytes = encode(&facts).unwrap();
        for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
            let mut other = bytes.clone();
            other[0] = version;
            assert!(decode(&other).is_err(), "{version}");
        }
        // Where the first document's row is: its kind, and whether it is gone.
        let row = bytes.windows(17).position(|row| row == [[1].as_slice(), &[2; 16]].concat());
        let row = row.unwrap();
        for (at, byte) in [(row, 0), (row, 10), (row, 5), (row + 41, 2)] {
            let mut other = bytes.clone();
            other[at] = byte;
            assert_ne!(other, bytes);
            assert!(decode(&other).is_err(), "{at} {byte}");
        }
    }
}
