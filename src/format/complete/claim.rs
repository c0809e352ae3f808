//! Claim: what the vault says that the keys of an answer stand for, signed by its report key.
//! Nobody outside can compute it; he can hold the vault to it. Grammar: docs/format.md section 11.
//! The identifiers in it are personal data, as a disclosure's values are.

use crate::base::event::Identifier;
use crate::base::id::{Hash32, SourceHandle, SubjectTag, TenantId};
use crate::base::unit::{ClassId, Month, TreeSize};
use crate::format::checkpoint::{Checkpoint, TREE_SIZE_MAX, parse_decimal};
use crate::format::complete::{Fault, Result};
use crate::format::note::Note;
use crate::format::seal::row::RowKind;
use crate::format::trust::Trust;

const MAGIC: &str = "/answer-claim/v1";

/// What every claim says it does not claim.
pub const LIMITS: &str = "entries under tags whose keys were destroyed, and persons or sources \
                          nobody linked, are outside it; docs/format.md section 11";

/// A tag and where it counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClaimedTag {
    /// The tag.
    pub tag: SubjectTag,
    /// Retention class of the records that carry it.
    pub class: ClassId,
    /// Month in which they were sealed.
    pub month: Month,
}

/// What keys stand for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stands {
    /// All tags of the persons who have these identifiers, in the order of the answer's keys.
    Person {
        /// As asked for, normalised: `<kind>:<value>`.
        identifiers: Vec<String>,
        /// The tags, ascending.
        tags: Vec<ClaimedTag>,
    },
    /// Handles and names of sources, in the order of the answer's keys.
    Sources(Vec<(SourceHandle, String)>),
}

/// A claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Name of the report key: `<vault>/r/<tenant>`.
    pub signer: String,
    /// Size of the log it speaks of.
    pub size: TreeSize,
    /// Root of that log.
    pub root: Hash32,
    /// What it says.
    pub stands: Stands,
    /// What it does not claim.
    pub limits: String,
}

/// An identifier as a claim shows it.
pub fn shown(identifier: &Identifier) -> String {
    format!("{}:{}", identifier.kind, identifier.value)
}

impl Claim {
    /// The note text to sign.
    ///
    /// # Errors
    /// `MALFORMED` if a name cannot be written as JSON: our bug.
    pub fn text(&self) -> Result<String> {
        let Claim { signer, size, root, stands, limits } = self;
        let mut text = format!("{signer}{MAGIC}\ncheckpoint {size} {root}\n");
        match stands {
            Stands::Person { identifiers, tags } => {
                for identifier in identifiers {
                    text += &format!("subject {}\n", quoted(identifier)?);
                }
                for ClaimedTag { tag, class, month } in tags {
                    text += &format!("key {tag} {class} {}\n", month_text(*month));
                }
            }
            Stands::Sources(sources) => {
                for (handle, name) in sources {
                    text += &format!("source {handle} {}\n", quoted(name)?);
                }
            }
        }
        Ok(text + "limits " + limits + "\n")
    }

    /// Reads a note text; one spelling.
    fn parse(text: &str, kind: RowKind) -> Result<Self> {
        let claim = Claim::from_lines(text, kind);
        let claim = claim.ok_or_else(|| Fault::malformed("a claim that is none"))?;
        match claim.text()? == text {
            true => Ok(claim),
            false => Err(Fault::malformed("a claim in another spelling")),
        }
    }

    fn from_lines(text: &str, kind: RowKind) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let signer = lines.next()?.strip_suffix(MAGIC)?.to_owned();
        signer.rsplit_once("/r/").and_then(|(_, tenant)| TenantId::parse(tenant))?;
        let (size, root) = lines.next()?.strip_prefix("checkpoint ")?.split_once(' ')?;
        let (size, root) = (parse_decimal(size)?, Hash32::parse(root)?);
        let (mut identifiers, mut tags, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        let mut limits = None;
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            match (word, kind) {
                _ if limits.is_some() => return None,
                ("limits", _) if !rest.is_empty() => limits = Some(rest.to_owned()),
                ("subject", RowKind::Subject) => {
                    identifiers.push(unquoted(rest).filter(|name| name.contains(':'))?);
                }
                ("key", RowKind::Subject) => tags.push(claimed(rest)?),
                ("source", RowKind::Source) => {
                    let (handle, name) = rest.split_once(' ')?;
                    sources.push((SourceHandle::parse(handle)?, unquoted(name)?));
                }
                _ => return None,
            }
        }
        let stands = match kind {
            RowKind::Subject if identifiers.is_empty() => return None,
            RowKind::Subject => Stands::Person { identifiers, tags },
            _ => Stands::Sources(sources),
        };
        let size = Some(size).filter(|size| *size <= TREE_SIZE_MAX).map(TreeSize)?;
        Some(Claim { signer, size, root, stands, limits: limits? })
    }

    /// Opens a claim about these keys of a log.
    ///
    /// # Errors
    /// In the order of the page: trust, `MALFORMED`, `TENANT_MISMATCH`, `QUERY_CLAIM`.
    pub(crate) fn open(
        note: &[u8],
        trust: Option<&Trust>,
        kind: RowKind,
        keys: &[[u8; 16]],
        checkpoint: &Checkpoint,
    ) -> Result<Self> {
        let (text, by) = match trust {
            Some(trust) => {
                let opened = trust.open_report(note)?;
                (opened.text, Some(opened.by))
            }
            None => {
                let note = Note::parse(note);
                (note.map_err(|e| Fault::malformed(format!("claim: {e}")))?.text, None)
            }
        };
        let claim = Claim::parse(&text, kind)?;
        if by.is_some_and(|by| by.iter().all(|key| key.name != claim.signer)) {
            let detail = "the pinned key that signed the claim is not the one it names";
            return Err(Fault::new("UNTRUSTED_KEY", detail));
        }
        let origin = claim.signer.rsplit_once("/r/").map(|(v, tenant)| format!("{v}/t/{tenant}"));
        if origin.as_deref() != Some(checkpoint.origin.as_str()) {
            return Err(Fault::new("TENANT_MISMATCH", "the claim is of another log"));
        }
        if (claim.size, claim.root) != (checkpoint.size, checkpoint.root) {
            return Err(Fault::new("QUERY_CLAIM", "the claim speaks of another state of the log"));
        }
        let claimed: Vec<[u8; 16]> = match &claim.stands {
            Stands::Person { tags, .. } => tags.iter().map(|t| t.tag.0).collect(),
            Stands::Sources(sources) => sources.iter().map(|(handle, _)| handle.0).collect(),
        };
        match claimed == keys {
            true => Ok(claim),
            false => Err(Fault::new("QUERY_CLAIM", "the claim speaks of other keys")),
        }
    }
}

fn claimed(rest: &str) -> Option<ClaimedTag> {
    let mut words = rest.split(' ');
    let tag = SubjectTag::parse(words.next()?)?;
    let class = ClassId(u16::try_from(parse_decimal(words.next()?)?).ok()?);
    let month = parse_month(words.next()?)?;
    words.next().is_none().then_some(ClaimedTag { tag, class, month })
}

fn month_text(month: Month) -> String {
    format!("{:04}-{:02}", 1970 + month.0 / 12, month.0 % 12 + 1)
}

fn parse_month(text: &str) -> Option<Month> {
    let (year, month) = text.split_once('-')?;
    let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
    let whole = year.checked_sub(1970).filter(|_| (1..=12).contains(&month) && year <= 9999)?;
    Some(Month(whole * 12 + month - 1))
}

fn quoted(text: &str) -> Result<String> {
    let bytes = serde_json_canonicalizer::to_vec(&text);
    let quoted = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    quoted.ok_or_else(|| Fault::malformed("a name that is no JSON string"))
}

fn unquoted(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}
