//! What the vault's own entries say in `clear`: one RFC 8785 object per kind, unknown members
//! refused. Integers stay below 2^53, times and hashes are text. Handles only: no name, reason
//! or identifier of anybody is ever in one; those are sealed fields of the same entry.

use crate::base::entry::Kind;
use crate::base::event::vocabulary;
use crate::base::id::TenantId;
use crate::base::id::{CaseId, DocumentId, Hash32, JobId, PersonId, ReplicaId, SourceHandle};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, Generation, TreeSize, UtcNanos};
use crate::format::seal::payload::{DaySealPayload, SealPayload};
use crate::format::wire::Malformed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Encodes a control payload.
///
/// # Errors
/// `Malformed` if it cannot be written as RFC 8785 JSON, or if reading it gives another value:
/// our bug, and then nothing may be written, since no reader would go past it.
pub fn encode<T: Serialize + DeserializeOwned + PartialEq>(
    value: &T,
) -> Result<Vec<u8>, Malformed> {
    let bytes = write(value)?;
    match decode::<T>(&bytes).is_ok_and(|read| read == *value) {
        true => Ok(bytes),
        false => Err(Malformed { offset: 0, what: "control payload would read differently" }),
    }
}

/// Encodes what is derived from payloads and read back by `decode`, for a snapshot.
///
/// # Errors
/// `Malformed` if it cannot be written as RFC 8785 JSON.
pub(crate) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, Malformed> {
    serde_json_canonicalizer::to_vec(value)
        .map_err(|_| Malformed { offset: 0, what: "control payload cannot be written" })
}

/// Decodes a control payload; bytes that are not canonical are refused.
///
/// # Errors
/// `Malformed` for anything but the canonical encoding of a `T`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let value: T = serde_json::from_slice(bytes)
        .map_err(|e| Malformed { offset: e.column(), what: "control payload" })?;
    match write(&value)? == bytes {
        true => Ok(value),
        false => Err(Malformed { offset: 0, what: "control payload is not canonical" }),
    }
}

/// Whether a payload is what its kind says: what is not may never get into a log.
///
/// # Errors
/// As `decode`.
pub fn check(kind: Kind, clear: &[u8]) -> Result<(), Malformed> {
    const SEAL: Malformed = Malformed { offset: 0, what: "seal payload" };
    match kind {
        Kind::Event => Ok(()),
        Kind::Genesis => decode::<Genesis>(clear).map(drop),
        Kind::EraseIntent => decode::<EraseIntent>(clear).map(drop),
        Kind::EraseDone => decode::<EraseDone>(clear).map(drop),
        Kind::EraseFinal => decode::<EraseFinal>(clear).map(drop),
        Kind::PruneIntent => decode::<PruneIntent>(clear).map(drop),
        Kind::PruneDone => decode::<PruneDone>(clear).map(drop),
        Kind::KeyRoll => decode::<KeyRoll>(clear).map(drop),
        Kind::HoldSet => decode::<HoldSet>(clear).map(drop),
        Kind::HoldRelease => decode::<HoldRelease>(clear).map(drop),
        Kind::Disclose => decode::<Disclose>(clear).map(drop),
        Kind::Config => decode::<Config>(clear).map(drop),
        Kind::Scan => decode::<Scan>(clear).map(drop),
        Kind::Conflict => decode::<Conflict>(clear).map(drop),
        Kind::Seal => SealPayload::decode(clear).map(drop).map_err(|_| SEAL),
        Kind::DaySeal => DaySealPayload::decode(clear).map(drop).map_err(|_| SEAL),
    }
}

macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

payload! {
    /// A log that this one takes up after: where it ended, as far as is known.
    Continues {
        /// Origin of its checkpoints.
        origin: String,
        /// Its size.
        size: TreeSize,
        /// Its root at that size.
        root: Hash32,
    }
}

payload! {
    /// The first entry of a log.
    Genesis {
        /// Format version of the log: 1.
        format: u32,
        /// Origin line of its checkpoints.
        origin: String,
        /// Whose log.
        tenant: TenantId,
        /// Verifier key of the log, C2SP vkey.
        log_key: String,
        /// Verifier key of reports and receipts, C2SP vkey.
        report_key: String,
        /// Generation of the key tree.
        generation: Generation,
        /// Birth hash of the key tree's root.
        root: Hash32,
        /// The log before, for one that could not be continued.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<Continues>,
    }
}

/// How many people stood behind an act.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Requester and approver are two different people.
    TwoPerson,
    /// One person did it all; every receipt prints this.
    SingleOperator,
    /// The schedule did it, under a policy two people approved.
    Scheduled,
}

payload! {
    /// A class whose keys an erasure leaves for now, and why.
    Deferred {
        /// The class.
        class: ClassId,
        /// `floor` or `hold`.
        why: String,
        /// The law of the floor, or the case handle.
        law: String,
        /// When the floor ends; `null` for a hold.
        due: Option<UtcNanos>,
    }
}

payload! {
    /// An erasure was asked for and checked against every hold.
    EraseIntent {
        /// Handle of the erasure.
        job: JobId,
        /// Persons to forget.
        persons: Vec<PersonId>,
        /// Basis, e.g. `gdpr-17-1`.
        basis: String,
        /// Who stood behind it.
        mode: Mode,
        /// Classes whose keys go now.
        classes: Vec<ClassId>,
        /// Classes that stay, and why.
        deferred: Vec<Deferred>,
        /// Generation of the key tree when it was asked.
        generation: Generation,
    }
}

payload! {
    /// A change of the key tree's root.
    RootChange {
        /// Generation before.
        from: Generation,
        /// Generation after.
        to: Generation,
        /// Birth hash before.
        old_root: Hash32,
        /// Birth hash after.
        new_root: Hash32,
    }
}

payload! {
    /// An erasure's keys are destroyed on every replica that could be reached.
    EraseDone {
        /// Handle of the erasure.
        job: JobId,
        /// Its intent.
        intent: EntryIndex,
        /// Persons whose keys of `classes` are gone.
        persons: Vec<PersonId>,
        /// Classes.
        classes: Vec<ClassId>,
        /// Classes that stay, and why.
        deferred: Vec<Deferred>,
        /// The root that forgot.
        root: RootChange,
        /// Root-store class: `D` = files.
        store: String,
        /// Replicas scrubbed, of all: `1/1`.
        replicas: String,
        /// The replica that could not be reached and still holds the old root.
        #[serde(skip_serializing_if = "Option::is_none")]
        missed: Option<ReplicaId>,
    }
}

payload! {
    /// The replica that an erasure or an expiry had missed has been scrubbed.
    EraseFinal {
        /// Handle of the erasure or of the run.
        job: JobId,
        /// Its done entry.
        done: EntryIndex,
        /// Replicas scrubbed, of all: `2/2`.
        replicas: String,
    }
}

payload! {
    /// Class-days will expire.
    PruneIntent {
        /// Handle of the run.
        job: JobId,
        /// Which, with the instant each fell due.
        class_days: Vec<Due>,
        /// SHA-256 of the retention policy in force.
        policy: Hash32,
        /// Generation of the key tree when it was decided.
        generation: Generation,
    }
}

payload! {
    /// One class-day that fell due.
    Due {
        /// The class.
        class: ClassId,
        /// The day.
        day: Day,
        /// When it fell due.
        due: UtcNanos,
        /// Groups that die with it.
        groups: u64,
    }
}

payload! {
    /// The keys of class-days are destroyed; their body files may go.
    PruneDone {
        /// Handle of the run.
        job: JobId,
        /// Its intent.
        intent: EntryIndex,
        /// Which.
        class_days: Vec<ClassDay>,
        /// The root that forgot.
        root: RootChange,
        /// The replica that could not be reached and still holds the old root.
        #[serde(skip_serializing_if = "Option::is_none")]
        missed: Option<ReplicaId>,
    }
}

/// Why a root or a key changed outside an erasure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyRoll {
    /// The key tree will grow.
    GrowthIntent {
        /// Generation before.
        generation: Generation,
    },
    /// The key tree has grown.
    GrowthDone {
        /// The change.
        root: RootChange,
    },
    /// The log key changes.
    LogKey {
        /// A roll note as `format/roll` has it, signed by the old and the new key.
        note: String,
        /// Who stood behind it.
        mode: Mode,
    },
}

/// What a hold covers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "over", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scope {
    /// All of a person's records.
    Person {
        /// The person.
        person: PersonId,
    },
    /// A class on a range of days, both ends included.
    ClassDays {
        /// The class.
        class: ClassId,
        /// First day.
        from: Day,
        /// Last day.
        to: Day,
    },
}

payload! {
    /// A legal hold begins.
    HoldSet {
        /// Handle of the case; its name is a sealed field.
        case: CaseId,
        /// What it covers.
        scope: Scope,
        /// Who stood behind it.
        mode: Mode,
    }
}

payload! {
    /// All holds of a case end.
    HoldRelease {
        /// Handle of the case.
        case: CaseId,
        /// Who stood behind it.
        mode: Mode,
    }
}

/// What still allows to use the data of somebody who had its use restricted (GDPR Art. 18(2)). A
/// closed list: what is not here opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// Legal claims: to establish, exercise or defend them.
    LegalClaims,
    /// The person's own consent.
    Consent,
    /// The rights of another natural or legal person.
    RightsOfOthers,
    /// Important public interest of the Union or of a Member State.
    PublicInterest,
}

/// Why the use of somebody's data is restricted (GDPR Art. 18(1)(a) to (d)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// (a) The person says that the data is wrong, and it is being checked.
    AccuracyContested,
    /// (b) The use is unlawful, and the person wants no erasure.
    UnlawfulUse,
    /// (c) Nobody needs the data but the person, for legal claims.
    NeededForClaims,
    /// (d) The person has objected, and it is being weighed.
    ObjectionPending,
}

payload! {
    /// Sealed fields were opened for somebody.
    Disclose {
        /// `read`, `report`, `export`, `disclosure`.
        act: String,
        /// Records opened.
        records: u64,
        /// First index.
        first: EntryIndex,
        /// Last index.
        last: EntryIndex,
        /// Names of the fields handed out, ascending; empty = every field.
        fields: Vec<String>,
        /// Who stood behind it, where it took an order: an export of sealed fields.
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<Mode>,
        /// What allows to open fields of restricted persons too, where somebody named it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ground: Option<Ground>,
    }
}

/// How somebody outside saw a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Witnesses cosigned it: `anchors/<size>.note`.
    Cosigned,
    /// A time-stamp authority stamped it: `anchors/<size>.tsr`.
    Timestamp,
}

vocabulary! {
    /// What a document of the registry is. The bytes are those of a snapshot.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    DocumentKind {
        Human = 1, "human";
        Token = 2, "token";
        Tenant = 3, "tenant";
        Source = 4, "source";
        Order = 5, "order";
        Rule = 6, "rule";
        Schedule = 7, "schedule";
        Idempotency = 8, "idempotency";
        Setting = 9, "setting";
    }
}

/// A change of what the vault is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Config {
    /// Policies take effect; their text is the sealed field `config.policies`.
    Policies {
        /// Version, from 1.
        version: u64,
        /// SHA-256 of the canonical JSON object of file names to texts.
        policies: Hash32,
        /// Who stood behind it.
        mode: Mode,
    },
    /// Identifiers were said to belong to one person; they themselves are named nowhere.
    Link {
        /// Who stood behind it.
        mode: Mode,
        /// All handles of that person, ascending.
        persons: Vec<PersonId>,
    },
    /// The second copy of the keys was given up: nothing destroys what it holds from here on.
    MirrorForgotten {
        /// Who stood behind it.
        mode: Mode,
        /// Which it was.
        replica: ReplicaId,
    },
    /// The vault was opened although no witness answered.
    Unwitnessed {
        /// Entries the log had.
        size: TreeSize,
        /// Witnesses that were asked.
        witnesses: u64,
    },
    /// Somebody outside saw a checkpoint: what he signed lies in `anchors/`, and whatever follows
    /// this entry was written after it.
    Anchor {
        /// What it is.
        sight: Sight,
        /// Size of the checkpoint.
        size: TreeSize,
        /// SHA-256 of the file.
        hash: Hash32,
        /// When, by the other's clock.
        time: UtcNanos,
    },
    /// A source was met for the first time; its name is the sealed field `source.name`.
    Source {
        /// Its handle.
        source: SourceHandle,
    },
    /// A document of the registry has a new version; its body is the sealed field
    /// `config.document`.
    Document {
        /// What it is.
        kind: DocumentKind,
        /// Its name.
        id: DocumentId,
        /// Version, from 1.
        version: u64,
        /// Whether it is given up by this version.
        gone: bool,
    },
    /// From here on the personal fields of somebody are opened on a `Ground` only, or as before
    /// again. Cause and reason are sealed under that person.
    Restriction {
        /// The person; all handles of the same person are meant.
        person: PersonId,
        /// Whether it begins.
        begins: bool,
    },
    /// Other values for sealed fields of an event, which itself stays as it is.
    Correction {
        /// The event.
        corrects: EntryIndex,
    },
}

/// What a scrub, the reading again of every byte, came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scan {
    /// Something is not what it must be.
    Finding {
        /// Which entry, if it has one.
        index: Option<EntryIndex>,
        /// `log`, `body`, `tile`, `keys`, `mirror` or `checkpoint`.
        part: String,
        /// Stable name.
        verdict: String,
    },
    /// A pass over everything is complete.
    Pass {
        /// Bytes read.
        bytes: u64,
        /// Entries covered: 0 up to, not with, this.
        end: TreeSize,
        /// Findings, those without an entry of their own too.
        findings: u64,
        /// Whether every record was opened with its keys, not a sample.
        full: bool,
        /// Sealed groups whose frame was there with a right CRC.
        groups: u64,
        /// Of them: opened with their keys.
        opened: u64,
        /// Copies of the key tree read, of all.
        replicas: String,
        /// When it began: nothing it covers was read before.
        started: UtcNanos,
        /// Units covered.
        units: u64,
    },
}

payload! {
    /// A source sent two different events under one number or id.
    Conflict {
        /// The entry that was there first.
        first: EntryIndex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_read_differently_is_not_written() {
        let hold = |to: Day| {
            let scope = Scope::ClassDays { class: ClassId(4), from: Day(0), to };
            let mode = Mode::SingleOperator;
            encode(&HoldSet { case: CaseId([1; 16]), scope, mode })
        };
        let whole = hold(Day::LAST).unwrap();
        assert_eq!(check(Kind::HoldSet, &whole), Ok(()));
        assert!(hold(Day(Day::LAST.0 + 1)).is_err());
        assert!(hold(Day(u32::MAX)).is_err());
        // Beyond 2^53 a number of JSON is another number.
        assert!(encode(&Conflict { first: EntryIndex((1 << 53) + 1) }).is_err());
    }

    #[test]
    fn a_payload_that_is_not_its_kinds_is_found() {
        let clear = encode(&HoldRelease { case: CaseId([1; 16]), mode: Mode::TwoPerson }).unwrap();
        assert_eq!(check(Kind::HoldRelease, &clear), Ok(()));
        let kinds = (0..=u8::MAX).filter_map(Kind::from_value);
        for kind in kinds.filter(|kind| *kind != Kind::Event) {
            assert_eq!(check(kind, &clear).is_ok(), kind == Kind::HoldRelease, "{kind}");
            assert!(check(kind, b"{}").is_err(), "{kind}");
        }
    }
}
