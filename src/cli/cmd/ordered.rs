//! Acts on a tenant under the service's rule: the command files an order in place of the act, and
//! no name on the command line approves it. The rule is the one the tenant's own log holds, so
//! that no edited or missing file loosens it.

use crate::base::unit::UtcNanos;
use crate::cli::args::govern::Approval;
use crate::cli::config::Config;
use crate::cli::error::Failure;
use crate::cli::output::Tone;
use crate::cli::run::Context;
use crate::policy::order::act::Act;
use crate::policy::order::rule::{Rule, RuleMode};
use crate::policy::order::{Actor, Party};
use crate::server::orders::book::{Application, Book};
use crate::server::orders::{Hands, Trouble, rules};
use crate::vault::Vault;
use anyhow::Result;
use serde_json::json;

/// The rule of the service that asks this tenant for two people, if it is under one.
///
/// # Errors
/// Those of the vault: a rule that cannot be read is not one that is not there.
pub(crate) fn two_people(vault: &Vault, config: &Config) -> Result<Option<Rule>> {
    let rule = rules::rule_of(vault, &config.tenant).map_err(said)?;
    Ok(rule.filter(|rule| rule.mode == RuleMode::TwoPerson))
}

/// Refuses an act for which no order can be filed.
///
/// # Errors
/// `RULE_IN_FORCE` on a tenant under the rule.
pub(crate) fn refuse(vault: &Vault, config: &Config) -> Result<()> {
    match two_people(vault, config)? {
        None => Ok(()),
        Some(_) => {
            let message = "this tenant is under the service's rule of two people, and this act \
                           has no order yet; nothing was done";
            Err(Failure::refused("RULE_IN_FORCE", message).into())
        }
    }
}

/// Files an order in place of an act, if the tenant is under the rule; whether it did.
///
/// # Errors
/// Those of the book and of the output.
pub(crate) fn instead(
    context: &mut Context,
    config: &Config,
    vault: &Vault,
    approval: &Approval,
    act: Act,
) -> Result<bool> {
    let Some(rule) = two_people(vault, config)? else { return Ok(false) };
    let name = approval.requested_by.clone().unwrap_or_default();
    // Nobody at the console can be told apart from an approver: it takes one more of them.
    let by = Party {
        actor: Actor::Console { name },
        approver: false,
        approver_from: UtcNanos(u64::MAX),
        code_at: None,
    };
    let (book, now) = (Book::open(vault).map_err(said)?, vault.clock().now());
    let application = Application { act, by: &by, rule };
    let entropy = &*vault.inner.world.entropy;
    let held = book.file(vault, entropy, &Hands::Tenant, application, now).map_err(said)?;
    vault.checkpoint()?;
    let demanded = held.order.demanded(&held.order.rule);
    context.out.object(&json!({
        "order": held.id.to_string(),
        "hash": held.order.hash.to_string(),
        "state": held.order.state().name(),
        "approvals": demanded,
        "expires": held.order.expires().map(|at| at.to_string()),
    }))?;
    let text = format!("order {} waits for {demanded} approvals; nothing was done yet", held.id);
    context.out.status(Tone::Warn, "FILED", &text)?;
    if approval.approved_by.is_some() || approval.single_operator {
        let text = "this tenant is under the service's rule: whoever is named on the command \
                    line has not approved";
        context.note("RULE_IN_FORCE", text);
    }
    let next = "Approvers find it in the service under /v1/orders and approve its hash; after the \
                cooling-off the service carries it out.";
    context.out.say(next)?;
    Ok(true)
}

fn said(trouble: Trouble) -> anyhow::Error {
    match trouble {
        Trouble::Refused(refusal) => refusal.into(),
        Trouble::Vault(error) => error.into(),
    }
}
