//! What an order asks for, as it is sent: identifiers or handles become those of the registry,
//! names become documents. It looks people up and changes nothing.

use crate::base::id::{CaseId, DocumentId, Hash32};
use crate::policy::access::{HOME, Permission};
use crate::policy::order::act::{Act, Grant, Named as Spelled};
use crate::policy::order::rule::RuleMode;
use crate::server::app::App;
use crate::server::caller::Caller;
use crate::server::json::instant;
use crate::server::problem::Problem;
use crate::server::routes::identifiers::{Named, normal, of_handle};
use axum::http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A role somebody is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrantWish)]
pub struct Giving {
    /// Tenant.
    tenant: String,
    /// Role.
    role: String,
    /// Until when, RFC 3339.
    #[serde(default)]
    until: Option<String>,
    /// Sources it is limited to.
    #[serde(default)]
    sources: Option<Vec<String>>,
    /// Whether it lets break the glass.
    #[serde(default)]
    break_glass: bool,
}

/// What is to be done.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wish {
    /// Forget a person, named by identifiers or by a handle.
    Erase {
        /// Identifiers of the person.
        #[serde(default)]
        identifiers: Vec<Named>,
        /// Handle of the person.
        #[serde(default)]
        handle: Option<String>,
        /// Basis: a code such as `gdpr-17-1`; it stands in clear for ever.
        basis: String,
    },
    /// Say that identifiers are one person.
    Link {
        /// At least two.
        identifiers: Vec<Named>,
    },
    /// End all holds of a case.
    ReleaseHold {
        /// Handle of the case.
        case: String,
    },
    /// Put other policies in force.
    ApplyPolicies {
        /// Texts by path below `policies/`.
        files: BTreeMap<String, String>,
        /// Hash of the policies they were written against.
        base_hash: String,
    },
    /// Make a human, who then needs an invitation.
    CreateHuman {
        /// Login.
        login: String,
        /// What the human may do.
        grants: Vec<Giving>,
    },
    /// Give a human further roles.
    GrantRole {
        /// Document of the human.
        human: String,
        /// Which.
        grants: Vec<Giving>,
    },
    /// Take a role of a human back.
    RevokeRole {
        /// Document of the human.
        human: String,
        /// Tenant.
        tenant: String,
        /// Role.
        role: String,
    },
    /// Take a human's factors away, to enrol anew.
    ResetFactor {
        /// Document of the human.
        human: String,
    },
    /// Let a human in no more.
    DisableHuman {
        /// Document of the human.
        human: String,
    },
    /// Change how many people an act takes.
    ChangeRule {
        /// Tenant.
        tenant: String,
        /// `two-person` or `single-operator`.
        #[schema(value_type = String)]
        mode: RuleMode,
        /// Approvals.
        approvals: u32,
        /// Seconds between the last approval and the act.
        cooling_off_seconds: u32,
    },
}

impl Wish {
    /// What it takes to ask for it.
    pub fn permission(&self) -> Permission {
        match self {
            Wish::Erase { .. } => Permission::ErasureRequest,
            Wish::Link { .. } => Permission::SubjectsLink,
            Wish::ReleaseHold { .. } => Permission::HoldsReleaseRequest,
            Wish::ApplyPolicies { .. } => Permission::RetentionPropose,
            Wish::ChangeRule { .. } => Permission::RulePropose,
            Wish::CreateHuman { .. }
            | Wish::GrantRole { .. }
            | Wish::RevokeRole { .. }
            | Wish::ResetFactor { .. }
            | Wish::DisableHuman { .. } => Permission::HumansManage,
        }
    }

    /// The act, its people looked up and its identifiers normalised.
    ///
    /// # Errors
    /// 404 for nobody or nothing of that name, 422 for what cannot be one.
    pub fn act(self, app: &App, caller: &Caller) -> Result<Act, Problem> {
        let vault = &*caller.vault;
        let spelled = |named: &[Named]| -> Result<Vec<Spelled>, Problem> {
            Ok(normal(vault, named)?.iter().map(Spelled::from).collect())
        };
        Ok(match self {
            Wish::Erase { identifiers, handle: None, basis } => {
                Act::Erase { identifiers: spelled(&identifiers)?, basis }
            }
            Wish::Erase { identifiers, handle: Some(handle), basis } if identifiers.is_empty() => {
                let of_handle = of_handle(vault, &handle)?;
                Act::Erase { identifiers: of_handle.iter().map(Spelled::from).collect(), basis }
            }
            Wish::Erase { .. } => {
                return Err(wrong("identifiers", "name identifiers or a handle, not both"));
            }
            Wish::Link { identifiers } => Act::Link { identifiers: spelled(&identifiers)? },
            Wish::ReleaseHold { case } => Act::ReleaseHold {
                case: CaseId::parse(&case).ok_or_else(|| Problem::absent("HOLD_UNKNOWN"))?,
            },
            Wish::ApplyPolicies { files, base_hash } => {
                let hash = Hash32::parse(&base_hash);
                let hash = hash.ok_or_else(|| wrong("base_hash", "give 64 hex digits"))?;
                Act::ApplyPolicies { files, base_hash: hash }
            }
            Wish::CreateHuman { login, grants } => {
                Act::CreateHuman { login, grants: given(grants)? }
            }
            Wish::GrantRole { human: id, grants } => {
                Act::GrantRole { human: human(&id)?, grants: given(grants)? }
            }
            Wish::RevokeRole { human: id, tenant, role } => {
                Act::RevokeRole { human: human(&id)?, tenant, role }
            }
            Wish::ResetFactor { human: id } => Act::ResetFactor { human: human(&id)? },
            Wish::DisableHuman { human: id } => Act::DisableHuman { human: human(&id)? },
            Wish::ChangeRule { tenant, mode, approvals, cooling_off_seconds } => {
                // A tenant that is not there cannot be told from one that is another's.
                let own = caller.principal.tenant.as_str();
                if own != tenant && own != HOME {
                    return Err(Problem::absent("TENANT_UNKNOWN"));
                }
                app.tenant(&tenant)?;
                let cooling_off_seconds = u64::from(cooling_off_seconds);
                Act::ChangeRule { tenant, mode, approvals, cooling_off_seconds }
            }
        })
    }
}

/// A member that cannot be what it says.
pub fn wrong(field: &str, fix: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "FIELD_VALUE", fix).field(field)
}

fn human(id: &str) -> Result<DocumentId, Problem> {
    DocumentId::parse(id).ok_or_else(|| Problem::absent("HUMAN_UNKNOWN"))
}

fn given(grants: Vec<Giving>) -> Result<Vec<Grant>, Problem> {
    let one = |Giving { tenant, role, until, sources, break_glass }: Giving| {
        let until = until.map(|text| instant(&text, "until"));
        Ok(Grant { tenant, role, until: until.transpose()?, sources, break_glass })
    };
    grants.into_iter().map(one).collect()
}
