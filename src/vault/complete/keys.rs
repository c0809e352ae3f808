//! What is asked about, as index keys, and the claim that says what they stand for. It never
//! writes an identifier anywhere but into the claim of an answer about that very person.

use crate::base::event::{EventCode, Identifier};
use crate::base::id::SourceHandle;
use crate::base::unit::ClassId;
use crate::format::checkpoint::Checkpoint;
use crate::format::complete::KEYS_MAX;
use crate::format::complete::claim::{self, Claim, ClaimedTag, Stands};
use crate::format::seal::row::{IndexKey, RowKind};
use crate::vault::Vault;
use crate::vault::complete::too_large;
use crate::vault::error::{Error, Result};
use crate::vault::keys::{self, Keyring};

/// Whom or what an answer is about.
#[derive(Clone)]
pub enum About {
    /// Whoever has one of these identifiers, with all linked handles.
    Person(Vec<Identifier>),
    /// Entries of one event code.
    Code(EventCode),
    /// Entries of the source of this name; the empty name is the vault itself.
    Source(String),
    /// Entries that have this key.
    Key(IndexKey),
}

/// Keys of one kind, ascending.
pub(crate) struct Keys {
    pub(crate) kind: RowKind,
    pub(crate) keys: Vec<[u8; 16]>,
    stands: Option<Stands>,
}

impl Vault {
    pub(crate) fn keys_about(&self, about: &About) -> Result<Keys> {
        match about {
            About::Person(identifiers) => self.keys_of_person(identifiers),
            About::Code(code) => Ok(one(IndexKey::code(*code), None)),
            About::Key(key) => match crate::format::complete::answer::needs_claim(key.kind) {
                true => Err(Error::denied("QUERY_CLAIM", "ask by identifier or by source name")),
                false => Ok(one(*key, None)),
            },
            About::Source(name) => {
                let handle = match name.is_empty() {
                    true => SourceHandle::ZERO,
                    false => self.inner.keys.source_handle(name),
                };
                if !name.is_empty() && !self.facts().sources.contains_key(&handle) {
                    return Err(Error::NotFound { code: "FILTER_SOURCE_UNKNOWN" });
                }
                let stands = Stands::Sources(vec![(handle, name.clone())]);
                Ok(one(IndexKey::source(handle), Some(stands)))
            }
        }
    }

    /// Every tag of every handle that these identifiers lead to: also of handles whose erasure a
    /// law or a hold deferred, because entries under their remaining keys are still theirs.
    fn keys_of_person(&self, identifiers: &[Identifier]) -> Result<Keys> {
        let until = self.inner.clock.now().day().month();
        let mut tags: Vec<ClaimedTag> = Vec::new();
        {
            let tree = self.inner.keys.tree();
            let mut persons = Vec::new();
            for identifier in identifiers {
                persons.extend(keys::persons_in(&tree, self.inner.keys.directory(), identifier)?);
            }
            persons.sort_unstable();
            persons.dedup();
            for cell in self.cells_of(&tree, &persons)? {
                let classes: Vec<ClassId> = cell.keys.iter().map(|key| key.class).collect();
                let monthly = Keyring::monthly_tags_of(&cell, &classes, until).into_iter();
                tags.extend(monthly.map(|(class, month, tag)| ClaimedTag { tag, class, month }));
            }
        }
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() {
            return Err(Error::NotFound { code: "SUBJECT_UNKNOWN" });
        }
        if tags.len() > KEYS_MAX {
            return Err(too_large(&format!("{} tags of one person", tags.len())));
        }
        let keys = tags.iter().map(|claimed| claimed.tag.0).collect();
        let identifiers = identifiers.iter().map(claim::shown).collect();
        let stands = Some(Stands::Person { identifiers, tags });
        Ok(Keys { kind: RowKind::Subject, keys, stands })
    }

    /// The signed claim about these keys and this state of the log; empty where none is needed.
    pub(crate) fn claim(&self, keys: &Keys, checkpoint: &Checkpoint) -> Result<String> {
        let Some(stands) = &keys.stands else { return Ok(String::new()) };
        let claim = Claim {
            signer: self.inner.reports.verifier().name().to_owned(),
            size: checkpoint.size,
            root: checkpoint.root,
            stands: stands.clone(),
            limits: claim::LIMITS.to_owned(),
        };
        let text = claim.text().map_err(|e| Error::evidence("NOTE_UNSIGNABLE", e.to_string()))?;
        self.sign(&text)
    }
}

fn one(key: IndexKey, stands: Option<Stands>) -> Keys {
    Keys { kind: key.kind, keys: vec![key.key], stands }
}
