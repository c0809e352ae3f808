//! What an order orders: a closed set of acts, each with one canonical form (RFC 8785) and one
//! hash. The hash is salted with 32 random bytes that lie with the sealed part of the order, so
//! that what stays of it after an erasure is no digest of anybody's identifiers. It never acts.

use crate::base::event::Identifier;
use crate::base::id::{CaseId, DocumentId, Hash32};
use crate::base::limits::GROUP_SUBJECTS_MAX;
use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::base::word::Word;
use crate::crypto::hash::sha256;
use crate::format::canon;
use crate::policy::order::rule::{Rule, RuleMode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// First bytes of what an order's hash is over, `docs/format.md`.
const HASH_LABEL: &[u8] = b"chancery/v1/order\0";
/// Longest basis of an erasure, as the vault has it: a code, not a story.
const BASIS_BYTES_MAX: usize = 64;
/// Longest login or name of a tenant in an act.
const NAME_BYTES_MAX: usize = 128;
/// Grants one act may name.
const GRANTS_MAX: usize = 64;

/// An identifier of a person, as an act spells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Kind, from the registry.
    pub kind: String,
    /// Normalised value.
    pub value: String,
}

impl fmt::Debug for Named {
    /// The kind only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({}:..)", self.kind)
    }
}

impl From<&Identifier> for Named {
    fn from(identifier: &Identifier) -> Self {
        let (kind, value) = (identifier.kind.to_string(), identifier.value.to_string());
        Named { kind, value }
    }
}

impl Named {
    /// The identifier, unless its kind is one too many.
    pub fn identifier(&self) -> Option<Identifier> {
        Some(Identifier { kind: Word::of(&self.kind)?, value: self.value.as_str().into() })
    }
}

/// A role somebody is to have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// On which tenant.
    pub tenant: String,
    /// Name of the role.
    pub role: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcNanos>,
    /// Sources it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// Whether it lets break the glass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

/// An act that takes an order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// Forget a person.
    Erase {
        /// Identifiers of the person, at most 32.
        identifiers: Vec<Named>,
        /// Basis: a code such as `gdpr-17-1`.
        basis: String,
    },
    /// Say that identifiers are one person.
    Link {
        /// At least two, at most 32.
        identifiers: Vec<Named>,
    },
    /// End all holds of a case.
    ReleaseHold {
        /// The case.
        case: CaseId,
    },
    /// Put policies in force.
    ApplyPolicies {
        /// Texts by path below `policies/`.
        files: BTreeMap<String, String>,
        /// Hash of the policies they were written against: others in force, and nothing is done.
        base_hash: Hash32,
    },
    /// Make a human.
    CreateHuman {
        /// Login.
        login: String,
        /// What the human may.
        grants: Vec<Grant>,
    },
    /// Give a human further roles.
    GrantRole {
        /// Whom.
        human: DocumentId,
        /// Which.
        grants: Vec<Grant>,
    },
    /// Take a role of a human back.
    RevokeRole {
        /// Whose.
        human: DocumentId,
        /// On which tenant.
        tenant: String,
        /// Name of the role.
        role: String,
    },
    /// Let a human enrol anew.
    ResetFactor {
        /// Whom.
        human: DocumentId,
    },
    /// Let a human in no more.
    DisableHuman {
        /// Whom.
        human: DocumentId,
    },
    /// Change the rule of a tenant.
    ChangeRule {
        /// Name of the tenant.
        tenant: String,
        /// How many people.
        mode: RuleMode,
        /// Approvals.
        approvals: u32,
        /// Seconds.
        cooling_off_seconds: u64,
    },
}

impl fmt::Debug for Act {
    /// What it is, never whom it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Act({})", self.name())
    }
}

/// What is said of an act in the part of an order that outlives an erasure: no identifier, no
/// name, no text of anybody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outline {
    /// Forget a person.
    Erase {
        /// How many identifiers were named.
        identifiers: u32,
        /// Basis.
        basis: String,
    },
    /// Say that identifiers are one person.
    Link {
        /// How many were named.
        identifiers: u32,
    },
    /// End all holds of a case.
    ReleaseHold {
        /// The case.
        case: CaseId,
    },
    /// Put policies in force.
    ApplyPolicies {
        /// Hash of the policies, as the vault's entry states it.
        policies: Hash32,
        /// Hash of those before.
        base_hash: Hash32,
    },
    /// Make a human.
    CreateHuman {
        /// What the human may.
        grants: Vec<Grant>,
    },
    /// Give a human roles.
    GrantRole {
        /// Whom.
        human: DocumentId,
        /// Which.
        grants: Vec<Grant>,
    },
    /// Take a role of a human back.
    RevokeRole {
        /// Whose.
        human: DocumentId,
        /// On which tenant.
        tenant: String,
        /// Name of the role.
        role: String,
    },
    /// Let a human enrol anew.
    ResetFactor {
        /// Whom.
        human: DocumentId,
    },
    /// Let a human in no more.
    DisableHuman {
        /// Whom.
        human: DocumentId,
    },
    /// Change the rule of a tenant.
    ChangeRule {
        /// Name of the tenant.
        tenant: String,
        /// How many people.
        mode: RuleMode,
        /// Approvals.
        approvals: u32,
        /// Seconds.
        cooling_off_seconds: u64,
    },
}

/// Hash of a set of policy files, as the vault's entry states it.
fn policies_hash(files: &BTreeMap<String, String>) -> Result<Hash32, Refusal> {
    Ok(sha256(&[&canon::to_canonical(files)?]))
}

/// Hash of an act: SHA-256 over a label, the salt and the canonical act.
///
/// # Errors
/// `Refusal` when the act has no canonical form.
pub fn order_hash(act: &Act, salt: &[u8; 32]) -> Result<Hash32, Refusal> {
    Ok(sha256(&[HASH_LABEL, salt, &act.canonical()?]))
}

impl Act {
    /// Its canonical form.
    ///
    /// # Errors
    /// `Refusal` for an integer that readers would read differently.
    pub fn canonical(&self) -> Result<Vec<u8>, Refusal> {
        canon::to_canonical(self)
    }

    /// Its name, as its JSON has it.
    pub fn name(&self) -> &'static str {
        match self {
            Act::Erase { .. } => "erase",
            Act::Link { .. } => "link",
            Act::ReleaseHold { .. } => "release-hold",
            Act::ApplyPolicies { .. } => "apply-policies",
            Act::CreateHuman { .. } => "create-human",
            Act::GrantRole { .. } => "grant-role",
            Act::RevokeRole { .. } => "revoke-role",
            Act::ResetFactor { .. } => "reset-factor",
            Act::DisableHuman { .. } => "disable-human",
            Act::ChangeRule { .. } => "change-rule",
        }
    }

    /// Identifiers of persons it names: they are sealed under their own keys.
    pub fn identifiers(&self) -> &[Named] {
        match self {
            Act::Erase { identifiers, .. } | Act::Link { identifiers } => identifiers,
            _ => &[],
        }
    }

    /// Whether it names somebody who may be no user of the service, or is to become one: then it
    /// is shown for a purpose only, and the log says to whom.
    pub fn is_personal(&self) -> bool {
        matches!(self, Act::Erase { .. } | Act::Link { .. } | Act::CreateHuman { .. })
    }

    /// Whether it is about people, tokens or rules, and so belongs to the system tenant.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Act::Erase { .. }
            | Act::Link { .. }
            | Act::ReleaseHold { .. }
            | Act::ApplyPolicies { .. } => false,
            Act::CreateHuman { .. }
            | Act::GrantRole { .. }
            | Act::RevokeRole { .. }
            | Act::ResetFactor { .. }
            | Act::DisableHuman { .. }
            | Act::ChangeRule { .. } => true,
        }
    }

    /// Whether one human may do it while no two may approve: only what makes people who can.
    pub fn may_found(&self) -> bool {
        matches!(self, Act::CreateHuman { .. } | Act::GrantRole { .. })
    }

    /// Tenants it names, beside the one it is filed with: their rules count too, and an approver
    /// of the order must be one there.
    pub fn tenants(&self) -> BTreeSet<&str> {
        match self {
            Act::CreateHuman { grants, .. } | Act::GrantRole { grants, .. } => {
                grants.iter().map(|grant| grant.tenant.as_str()).collect()
            }
            Act::ChangeRule { tenant, .. } | Act::RevokeRole { tenant, .. } => {
                BTreeSet::from([tenant.as_str()])
            }
            _ => BTreeSet::new(),
        }
    }

    /// Whether it is something that can be done at all.
    ///
    /// # Errors
    /// `ORDER_PERSONS`, `ORDER_ACT`, `BASIS_NOT_A_CODE`, and those of a rule.
    pub fn check(&self) -> Result<(), Refusal> {
        let named = |least: usize, list: &[Named]| {
            let unique: BTreeSet<&Named> = list.iter().collect();
            match (least..=GROUP_SUBJECTS_MAX).contains(&list.len()) && unique.len() == list.len() {
                true => Ok(()),
                false => {
                    let fix = "name the identifiers of one person, each once: at least one to \
                               erase, two to link, and no more than the limit";
                    let refusal = Refusal::new("ORDER_PERSONS", fix).field("identifiers");
                    Err(refusal.limit(GROUP_SUBJECTS_MAX as u64))
                }
            }
        };
        let short = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
        let misfit = |field: &str| {
            let fix = "name what the act is about, within its limits: docs/orders.md lists them";
            Err(Refusal::new("ORDER_ACT", fix).field(field))
        };
        match self {
            Act::Erase { identifiers, basis } => {
                named(1, identifiers)?;
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
                match !basis.is_empty() && basis.len() <= BASIS_BYTES_MAX {
                    true if basis.bytes().all(plain) => Ok(()),
                    _ => {
                        let fix = "the basis stands in clear for ever: give a code such as \
                                   gdpr-17-1 of letters, digits and -._: only";
                        Err(Refusal::new("BASIS_NOT_A_CODE", fix).field("basis"))
                    }
                }
            }
            Act::Link { identifiers } => named(2, identifiers),
            Act::ApplyPolicies { files, base_hash } => match policies_hash(files)? == *base_hash {
                true => misfit("files"),
                false => Ok(()),
            },
            Act::CreateHuman { login, grants } if short(login) => grants_fit(grants),
            Act::CreateHuman { .. } => misfit("login"),
            Act::GrantRole { grants, .. } => grants_fit(grants),
            Act::RevokeRole { tenant, role, .. } => match short(tenant) && short(role) {
                true => Ok(()),
                false => misfit("role"),
            },
            Act::ChangeRule { tenant, mode, approvals, cooling_off_seconds } => {
                let (mode, approvals) = (*mode, *approvals);
                let cooling_off_seconds = *cooling_off_seconds;
                Rule { mode, approvals, cooling_off_seconds, founding: false }.check()?;
                if short(tenant) { Ok(()) } else { misfit("tenant") }
            }
            Act::ReleaseHold { .. } | Act::ResetFactor { .. } | Act::DisableHuman { .. } => Ok(()),
        }
    }

    /// What outlives an erasure of whom it is about.
    ///
    /// # Errors
    /// `Refusal` when it has no canonical form.
    pub fn outline(&self) -> Result<Outline, Refusal> {
        let count = |list: &[Named]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        Ok(match self {
            Act::Erase { identifiers, basis } => {
                Outline::Erase { identifiers: count(identifiers), basis: basis.clone() }
            }
            Act::Link { identifiers } => Outline::Link { identifiers: count(identifiers) },
            Act::ReleaseHold { case } => Outline::ReleaseHold { case: *case },
            Act::ApplyPolicies { files, base_hash } => {
                Outline::ApplyPolicies { policies: policies_hash(files)?, base_hash: *base_hash }
            }
            Act::CreateHuman { grants, .. } => Outline::CreateHuman { grants: grants.clone() },
            Act::GrantRole { human, grants } => {
                Outline::GrantRole { human: *human, grants: grants.clone() }
            }
            Act::RevokeRole { human, tenant, role } => {
                let (tenant, role) = (tenant.clone(), role.clone());
                Outline::RevokeRole { human: *human, tenant, role }
            }
            Act::ResetFactor { human } => Outline::ResetFactor { human: *human },
            Act::DisableHuman { human } => Outline::DisableHuman { human: *human },
            Act::ChangeRule { tenant, mode, approvals, cooling_off_seconds } => {
                Outline::ChangeRule {
                    tenant: tenant.clone(),
                    mode: *mode,
                    approvals: *approvals,
                    cooling_off_seconds: *cooling_off_seconds,
                }
            }
        })
    }
}

fn grants_fit(grants: &[Grant]) -> Result<(), Refusal> {
    let short = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    let fits = |grant: &Grant| {
        let sources = grant.sources.iter().flatten();
        short(&grant.tenant) && short(&grant.role) && sources.clone().all(|name| short(name))
    };
    match grants.len() <= GRANTS_MAX && grants.iter().all(fits) {
        true => Ok(()),
        false => {
            let fix = "name a tenant and a role in each grant, and no more grants than the limit";
            Err(Refusal::new("ORDER_ACT", fix).field("grants").limit(GRANTS_MAX as u64))
        }
    }
}
