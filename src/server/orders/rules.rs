//! The rule of each tenant: a document of the system tenant, named by the tenant, so that of two
//! writers one wins; and a copy in the tenant's own log, for whoever opens that alone. It never
//! loosens one without an order that says which.

use crate::base::id::DocumentId;
use crate::base::unit::EntryIndex;
use crate::crypto::hash::sha256;
use crate::format::canon;
use crate::format::control::DocumentKind;
use crate::policy::order::act::Act;
use crate::policy::order::rule::{Rule, RuleMode};
use crate::server::orders::Result;
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::registry::{Document, Put};
use serde::{Deserialize, Serialize};

/// Name of the tenant that keeps people, tokens and rules.
pub const SYSTEM: &str = "system";

/// A tenant's rule, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRule {
    /// Name of the tenant.
    pub tenant: String,
    /// How many people.
    pub mode: RuleMode,
    /// Approvals.
    pub approvals: u32,
    /// Seconds.
    pub cooling_off_seconds: u64,
    /// The order that changed it; none for the one it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<DocumentId>,
}

/// Name of a tenant's rule: the same in every opening. A tenant's name is public to its system.
fn id_of(tenant: &str) -> DocumentId {
    let hash = sha256(&[b"chancery/v1/rule\0", tenant.as_bytes()]);
    let mut id = [0; 16];
    id.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
    DocumentId(id)
}

fn read(document: &Document, tenant: &str) -> Result<TenantRule> {
    let lost = || Error::evidence("MALFORMED", "the rule of a tenant cannot be read");
    let body = document.body.as_ref().ok_or_else(lost)?;
    let rule: TenantRule = serde_json::from_slice(body).map_err(|_| lost())?;
    if rule.tenant == tenant { Ok(rule) } else { Err(lost().into()) }
}

/// A tenant's rule with the entry that put it in force; none for a tenant that was never under the
/// service's rule. One that cannot be read is an error, never none.
///
/// # Errors
/// Those of the vault.
pub fn rule_document(system: &Vault, tenant: &str) -> Result<Option<(TenantRule, EntryIndex)>> {
    let document = system.document(DocumentKind::Rule, id_of(tenant))?;
    let document = document.filter(|document| !document.gone);
    document.map(|document| Ok((read(&document, tenant)?, document.index))).transpose()
}

/// A tenant's rule, as orders are judged by it; none for a tenant that was never under the
/// service's rule.
///
/// # Errors
/// As `rule_document`.
pub fn rule_of(system: &Vault, tenant: &str) -> Result<Option<Rule>> {
    Ok(rule_document(system, tenant)?.map(|(rule, _)| {
        let TenantRule { mode, approvals, cooling_off_seconds, .. } = rule;
        Rule { mode, approvals, cooling_off_seconds, founding: false }
    }))
}

/// The rule that an act filed with `tenant` is under: the strictest of the tenants it is about;
/// where one has none, two people and a day. `founding` is whether no two people may approve yet.
///
/// # Errors
/// As `rule_document`.
pub fn governing(system: &Vault, tenant: &str, act: &Act, founding: bool) -> Result<Rule> {
    let mut named = act.tenants();
    named.insert(if act.is_of_the_system() { SYSTEM } else { tenant });
    let mut all: Option<Rule> = None;
    for name in named {
        let rule = rule_of(system, name)?.unwrap_or_default();
        all = Some(all.map_or(rule, |all| all.stricter(rule)));
    }
    Ok(Rule { founding, ..all.unwrap_or_default() })
}

/// Puts the first rule of a tenant in force; one that has a rule keeps it, and gets another by an
/// order only.
///
/// # Errors
/// `Conflict` `RULE_IN_FORCE` where there is one already; those of the rule.
pub fn begin(system: &Vault, tenant: &str, rule: Rule) -> Result<EntryIndex> {
    rule.check()?;
    if let Some((_, first)) = rule_document(system, tenant)? {
        let fix = "this tenant has a rule: file an order to change it".to_owned();
        return Err(Error::Conflict { code: "RULE_IN_FORCE", first: Some(first), fix }.into());
    }
    put(system, tenant, rule, 0, None)
}

/// Copies a tenant's rule into the tenant's own log, if it differs there: whoever opens that
/// vault alone finds it, whatever became of the files around. Called before a tenant is served
/// and after an order changed its rule. Whether it wrote anything.
///
/// # Errors
/// Those of the vaults.
pub fn follow(system: &Vault, vault: &Vault, tenant: &str) -> Result<bool> {
    let Some((rule, _)) = rule_document(system, tenant)? else { return Ok(false) };
    let own = vault.document(DocumentKind::Rule, id_of(tenant))?;
    let expect = own.as_ref().map_or(0, |own| own.version);
    if let Some(own) = own.filter(|own| !own.gone)
        && read(&own, tenant)? == rule
    {
        return Ok(false);
    }
    write(vault, &rule, expect).map(|_| true)
}

/// Puts a rule in force as an order says. The same order does so once: asked again it answers the
/// entry that did.
///
/// # Errors
/// Those of the rule and the vault.
pub(crate) fn change(
    system: &Vault,
    tenant: &str,
    rule: Rule,
    order: DocumentId,
) -> Result<EntryIndex> {
    rule.check()?;
    let document = system.document(DocumentKind::Rule, id_of(tenant))?;
    let Some(document) = document else { return put(system, tenant, rule, 0, Some(order)) };
    if !document.gone && read(&document, tenant)?.order == Some(order) {
        return Ok(document.index);
    }
    put(system, tenant, rule, document.version, Some(order))
}

fn put(
    system: &Vault,
    tenant: &str,
    rule: Rule,
    expect: u64,
    order: Option<DocumentId>,
) -> Result<EntryIndex> {
    let Rule { mode, approvals, cooling_off_seconds, .. } = rule;
    let tenant = tenant.to_owned();
    let rule = TenantRule { tenant, mode, approvals, cooling_off_seconds, order };
    write(system, &rule, expect)
}

fn write(vault: &Vault, rule: &TenantRule, expect: u64) -> Result<EntryIndex> {
    let body = canon::to_canonical(rule)?;
    let (kind, id, subjects) = (DocumentKind::Rule, id_of(&rule.tenant), &[][..]);
    let put = Put { kind, id, expect, gone: false, body: &body, subjects };
    Ok(vault.put_document(&put)?.0)
}
