//! The executor: lets orders expire, begins those whose rest is over, and does them. `executing` is
//! durable before the act and names its job; after a crash it is settled by what the vault says of
//! it, and done if it was not. It never begins what the rule in force forbids.

use crate::base::event::Identifier;
use crate::base::id::DocumentId;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::policy::order::act::{Act, Named};
use crate::policy::order::rule::Rule;
use crate::policy::order::{Actor, End, Order, State, What};
use crate::server::orders::book::Book;
use crate::server::orders::paper::act_of;
use crate::server::orders::{Hands, Held, Ordered, Result, Trouble, rules};
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::hold::Order as Behind;
use std::sync::{PoisonError, TryLockError};

/// Longest name of a person in an entry of the vault.
const NAME_BYTES_MAX: usize = 128;

/// What a tick came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Orders that expired.
    pub expired: Vec<DocumentId>,
    /// Orders that were done.
    pub executed: Vec<DocumentId>,
    /// Orders that will not be done, with the code that says why.
    pub failed: Vec<(DocumentId, &'static str)>,
    /// Orders that could not be done just now: the next tick tries again.
    pub waiting: Vec<(DocumentId, &'static str)>,
    /// When there is something to do next; orders that wait not counted.
    pub next: Option<UtcNanos>,
}

/// The rule in force for an order: `rules::governing` of its act. It is asked when it counts.
pub type RuleNow<'a> = dyn Fn(&Order) -> Result<Rule> + 'a;

impl Book {
    /// Does what is due. Idempotent: a second call finds nothing left. Of two at once one does
    /// nothing.
    ///
    /// # Errors
    /// Those of the store, and of a rule that cannot be read; whatever was begun is settled by the
    /// next tick.
    pub fn tick(
        &self,
        vault: &Vault,
        hands: &Hands<'_>,
        rule: &RuleNow<'_>,
        now: UtcNanos,
    ) -> Result<Progress> {
        let _executing = match self.executing.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return Ok(Progress::default()),
        };
        let mut progress = Progress::default();
        for held in self.open_orders() {
            match held.order.state() {
                State::Filed if held.order.expires().is_some_and(|at| now >= at) => {
                    if stepped(self.step(vault, held.id, &|order| order.expire(now)))?.is_some() {
                        progress.expired.push(held.id);
                    }
                }
                State::Approved { .. } => {
                    let rule = rule(&held.order)?;
                    match held.order.due(rule) {
                        Some(due) if now < due => note_next(&mut progress, due),
                        _ => self.begin(vault, hands, &held, rule, now, &mut progress)?,
                    }
                }
                State::Executing => {
                    self.carry_on(vault, hands, &held, true, now, &mut progress)?;
                }
                _ => {
                    held.order.expires().into_iter().for_each(|at| note_next(&mut progress, at));
                }
            }
        }
        Ok(progress)
    }

    fn begin(
        &self,
        vault: &Vault,
        hands: &Hands<'_>,
        held: &Held,
        rule: Rule,
        now: UtcNanos,
        progress: &mut Progress,
    ) -> Result<()> {
        match self.step(vault, held.id, &|order| order.begin(rule, now)) {
            Ok(begun) => self.carry_on(vault, hands, &begun, false, now, progress),
            Err(Trouble::Refused(refusal)) if refusal.code == "ORDER_RULE" => {
                let end = End::Failed(refusal.code);
                if stepped(self.step(vault, held.id, &|order| order.finish(&end, now)))?.is_some() {
                    progress.failed.push((held.id, refusal.code));
                }
                Ok(())
            }
            other => stepped(other).map(drop),
        }
    }

    /// Does what was begun; `again` where it may have been done before a crash.
    fn carry_on(
        &self,
        vault: &Vault,
        hands: &Hands<'_>,
        held: &Held,
        again: bool,
        now: UtcNanos,
        progress: &mut Progress,
    ) -> Result<()> {
        let end = match execute(vault, hands, held, again) {
            Ok(entry) => End::Done(entry),
            Err(trouble) => match verdict(vault, held, &trouble) {
                Verdict::Over => End::Failed(trouble.code()),
                Verdict::Later => {
                    progress.waiting.push((held.id, trouble.code()));
                    return Ok(());
                }
                Verdict::Stop => return Err(trouble),
            },
        };
        if stepped(self.step(vault, held.id, &|order| order.finish(&end, now)))?.is_some() {
            match end {
                End::Done(_) => progress.executed.push(held.id),
                End::Failed(code) => progress.failed.push((held.id, code)),
            }
        }
        Ok(())
    }
}

/// A step that somebody else's may have come before: then nothing.
fn stepped(result: Result<Held>) -> Result<Option<Held>> {
    match result {
        Ok(held) => Ok(Some(held)),
        Err(Trouble::Refused(_)) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

fn note_next(progress: &mut Progress, at: UtcNanos) {
    progress.next = Some(progress.next.map_or(at, |next| next.min(at)));
}

/// What an error says of an order that was begun.
enum Verdict {
    /// It will not be done.
    Over,
    /// Not now.
    Later,
    /// The store is not well: nothing more is tried.
    Stop,
}

fn verdict(vault: &Vault, held: &Held, trouble: &Trouble) -> Verdict {
    // An erasure whose intent stands will be completed, whatever is said here.
    if vault.facts_now().erasures.contains_key(&held.order.job) {
        return Verdict::Later;
    }
    match trouble {
        Trouble::Vault(Error::Unavailable(_)) => Verdict::Stop,
        Trouble::Vault(Error::Overloaded) => Verdict::Later,
        Trouble::Vault(Error::Conflict { code, .. })
            if ["PLAN_CHANGED", "JOB_KNOWN", "VERSION_CONFLICT"].contains(code) =>
        {
            Verdict::Later
        }
        Trouble::Vault(_) | Trouble::Refused(_) => Verdict::Over,
    }
}

fn gone() -> Trouble {
    let fix = "somebody it is about was erased since: nothing is left to do, or file it anew";
    Error::denied("ORDER_UNREADABLE", fix).into()
}

/// Does the act, unless the vault says that it was done. Returns the entry that says so.
fn execute(
    vault: &Vault,
    hands: &Hands<'_>,
    held: &Held,
    again: bool,
) -> Result<Option<EntryIndex>> {
    let Held { id, index: begun, order, .. } = held;
    // Asked before the act is read: an erasure that is done has taken it along.
    if let Some(erased) = vault.resume_erasure(order.job)? {
        return Ok(Some(erased.done));
    }
    let act = act_of(vault, order)?.ok_or_else(gone)?;
    let behind = behind(order);
    match &act {
        Act::Erase { identifiers, basis } => {
            let erased = vault.erase_as(order.job, &named(identifiers), basis, &behind)?;
            Ok(Some(erased.done))
        }
        Act::Link { identifiers } => {
            let identifiers = named(identifiers);
            if !again || !vault.are_one_person(&identifiers)? {
                vault.link(&identifiers, &behind)?;
            }
            Ok(None)
        }
        Act::ReleaseHold { case } => {
            let released = vault.facts_now().released.get(case).copied();
            match released.filter(|at| at > begun) {
                Some(at) => Ok(Some(at)),
                None => Ok(Some(vault.release_hold(*case, &behind)?)),
            }
        }
        Act::ApplyPolicies { files, base_hash } => {
            let hash = crate::vault::policies::policies_hash(files)?.1;
            match vault.facts_now().policies {
                Some((at, _, in_force)) if at > *begun && in_force == hash => Ok(Some(at)),
                _ => Ok(Some(vault.apply_policy_files(files, Some(*base_hash), &behind)?)),
            }
        }
        Act::ChangeRule { tenant, mode, approvals, cooling_off_seconds } => {
            let (mode, approvals) = (*mode, *approvals);
            let cooling_off_seconds = *cooling_off_seconds;
            let rule = Rule { mode, approvals, cooling_off_seconds, founding: false };
            Ok(Some(rules::change(vault, tenant, rule, *id)?))
        }
        Act::CreateHuman { .. }
        | Act::GrantRole { .. }
        | Act::RevokeRole { .. }
        | Act::ResetFactor { .. }
        | Act::DisableHuman { .. } => match hands {
            Hands::System(Some(people)) => {
                let ordered = Ordered { order: *id, job: order.job, act: &act, story: order };
                Ok((people.carry_out)(&ordered)?)
            }
            // It could not have been filed; whoever opened the book without hands waits.
            _ => Err(Error::Overloaded.into()),
        },
    }
}

fn named(identifiers: &[Named]) -> Vec<Identifier> {
    identifiers.iter().filter_map(Named::identifier).collect()
}

/// Who stands behind an order, as the vault's entries and receipts have it: two people only where
/// two humans are, whoever else asked.
pub fn behind(order: &Order) -> Behind {
    let approved = |step: &&crate::policy::order::Step| matches!(step.what, What::Approved { .. });
    let approvers: Vec<String> =
        order.steps.iter().filter(approved).map(|step| step.by.spoken()).collect();
    let requester = order.requester().map(Actor::spoken).unwrap_or_default();
    let asked_by_human = order.requester().is_some_and(|asked| asked.human().is_some());
    match (asked_by_human, approvers.as_slice()) {
        (true, []) => Behind { requested_by: requester, approved_by: None, single_operator: true },
        (false, [only]) => {
            Behind { requested_by: only.clone(), approved_by: None, single_operator: true }
        }
        (_, approvers) => Behind {
            requested_by: requester,
            approved_by: Some(joined(approvers)),
            single_operator: false,
        },
    }
}

/// As many names as an entry may have, and how many more.
fn joined(names: &[String]) -> String {
    for shown in (1..=names.len()).rev() {
        let (first, rest) = names.split_at(shown);
        let mut text = first.join(", ");
        if !rest.is_empty() {
            text.push_str(&format!(" and {} more", rest.len()));
        }
        if text.len() <= NAME_BYTES_MAX {
            return text;
        }
    }
    String::new()
}
