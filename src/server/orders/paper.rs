//! The two papers of an order as documents of the registry: canonical JSON with the member `paper`,
//! `order` or `act`. It never writes an identifier into the first.

use crate::base::id::{DocumentId, Hash32};
use crate::format::canon;
use crate::format::control::DocumentKind;
use crate::policy::order::Order;
use crate::policy::order::act::{Act, order_hash};
use crate::server::orders::Result;
use crate::vault::Vault;
use crate::vault::error::{Error, Result as VaultResult};
use crate::vault::registry::Document;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A document of the kind `order`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "paper", rename_all = "kebab-case")]
pub(crate) enum Paper {
    /// The order, which names nobody it is about.
    Order(Order),
    /// The act, sealed to whom it is about.
    Act(Sealed),
}

/// The act and the salt of its hash.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed {
    /// 32 random bytes.
    pub(crate) salt: Hash32,
    /// The act.
    pub(crate) act: Act,
}

impl Paper {
    /// As it is stored.
    pub(crate) fn write(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(canon::to_canonical(self)?))
    }

    /// As it was stored; nothing where its keys are gone.
    pub(crate) fn read(document: &Document) -> VaultResult<Option<Paper>> {
        let Some(body) = &document.body else { return Ok(None) };
        let paper = serde_json::from_slice(body).map_err(|_| unreadable(document.id))?;
        Ok(Some(paper))
    }
}

fn unreadable(id: DocumentId) -> Error {
    Error::evidence("MALFORMED", format!("document {id} is no paper of an order"))
}

/// The act of an order; nothing once somebody it is about was erased.
///
/// # Errors
/// `Evidence` `ORDER_CHANGED` when it is not what the order's hash is of.
pub(crate) fn act_of(vault: &Vault, order: &Order) -> Result<Option<Act>> {
    let document = vault.document(DocumentKind::Order, order.part)?;
    let document = document.ok_or_else(|| unreadable(order.part))?;
    let sealed = match Paper::read(&document)? {
        None => return Ok(None),
        Some(Paper::Act(sealed)) => sealed,
        Some(Paper::Order(_)) => return Err(unreadable(order.part).into()),
    };
    match order_hash(&sealed.act, &sealed.salt.0)? == order.hash {
        true => Ok(Some(sealed.act)),
        false => {
            let detail = "the act of an order is not the one that was approved; nothing was done";
            Err(Error::evidence("ORDER_CHANGED", detail).into())
        }
    }
}
