//! The founding: as long as fewer than two people may approve on one tenant, nobody could approve
//! the second one, so an admin's orders about people are carried out alone, and say so. It ends for
//! ever, by a document of its own, as soon as two enrolled people may approve; that one of them
//! leaves later does not bring it back.

use crate::base::id::DocumentId;
use crate::base::unit::UtcNanos;
use crate::format::control::DocumentKind;
use crate::policy::access::Role;
use crate::server::audit::{self, Act, Deed};
use crate::server::identity::Hands;
use crate::server::identity::directory::{Directory, View, body, read};
use crate::server::identity::refused::Result;
use crate::server::identity::stamp;
use crate::vault::Vault;
use crate::vault::error::{Error as VaultError, Result as VaultResult};
use crate::vault::registry::Put;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::MutexGuard;

/// Name of the one `rule` document that says that the founding is over: ASCII, so that whoever
/// lists rules can tell it from the others.
pub const FOUNDED_ID: DocumentId = DocumentId(*b"chancery-founded");

/// That the founding is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founded {
    /// Always `founded`.
    rule: String,
    /// Since when.
    #[serde(with = "stamp")]
    pub since: UtcNanos,
    /// On which tenant two people could approve.
    pub tenant: String,
    /// Their documents.
    pub humans: [DocumentId; 2],
}

impl Founded {
    /// The document, if there is one. One that cannot be read counts: what ended stays ended.
    ///
    /// # Errors
    /// Those of the vault; `Evidence` `MALFORMED`.
    pub(crate) fn read(system: &Vault) -> VaultResult<Option<Founded>> {
        let document = system.document(DocumentKind::Rule, FOUNDED_ID)?;
        let Some(document) = document else { return Ok(None) };
        let founded: Option<Founded> = read(&document)?;
        let gone = || VaultError::evidence("MALFORMED", "the founding's document has no body");
        founded.ok_or_else(gone).map(Some)
    }
}

impl Directory {
    /// Whether one person may still act alone.
    pub fn is_founding(&self) -> bool {
        self.view().founded.is_none()
    }

    /// Since when nobody may any more.
    pub fn founded(&self) -> Option<Founded> {
        self.view().founded.clone()
    }

    /// Ends the founding if two people may approve now.
    pub(crate) fn settle_founding(
        &self,
        hands: &Hands<'_>,
        _writing: &MutexGuard<'_, ()>,
    ) -> Result<()> {
        let two = match &*self.view() {
            view if view.founded.is_some() => return Ok(()),
            view => two_approvers(view, hands.now),
        };
        let Some((tenant, humans)) = two else { return Ok(()) };
        let rule = "founded".to_owned();
        let founded = Founded { rule, since: hands.now, tenant, humans };
        let body = body(&founded)?;
        hands.system.put_document(&Put {
            kind: DocumentKind::Rule,
            id: FOUNDED_ID,
            expect: 0,
            gone: false,
            body: &body,
            subjects: &[],
        })?;
        self.change().founded = Some(founded);
        Ok(audit::record(hands.system, &Act::by_service(Deed::Founded))?)
    }
}

/// The first tenant, by name, on which two people who can come in have the role.
fn two_approvers(view: &View, now: UtcNanos) -> Option<(String, [DocumentId; 2])> {
    let mut by_tenant: BTreeMap<&str, Vec<DocumentId>> = BTreeMap::new();
    for (id, human) in view.humans.iter().filter(|(_, h)| !h.gone && h.doc.is_active()) {
        for grant in human.doc.grants.iter().filter(|grant| grant.is_active(now)) {
            if grant.role == Role::Approver && grant.sources.is_none() {
                by_tenant.entry(&grant.tenant).or_default().push(*id);
            }
        }
    }
    by_tenant.into_iter().find_map(|(tenant, humans)| {
        let humans: [DocumentId; 2] = humans.get(..2)?.try_into().ok()?;
        Some((tenant.to_owned(), humans))
    })
}
