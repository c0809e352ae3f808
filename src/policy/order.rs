//! Orders: acts that take more than one person. An order is what is to be done, who asked, the
//! rule it was filed under, and its steps; its state is what its steps say, nothing beside them.
//! Pure: each transition takes an order and the instant and gives the next one or refuses. It
//! never does what was ordered, and it knows people by their records, never by their logins.

pub mod act;
pub mod rule;
mod story;

#[cfg(test)]
mod tests;

pub use crate::policy::order::story::{Actor, End, Party, State, Step, What};

use crate::base::id::{DocumentId, Hash32, JobId};
use crate::base::refusal::Refusal;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::policy::order::act::Outline;
use crate::policy::order::rule::Rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Seconds in which an order must get its approvals: 72 hours, a long weekend.
pub const UNAPPROVED_SECONDS_MAX: u64 = 72 * 3_600;
/// Age of the last one-time code of somebody who approves: RFC 9470 `max_age`.
pub const STEP_UP_SECONDS_MAX: u64 = 300;
/// Refused attempts an order keeps: the rest are in the self-audit only.
pub const REFUSALS_MAX: usize = 32;

/// An order, without any identifier of whom it is about: it outlives their erasure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The document that holds the act itself and the salt, sealed to whom it is about.
    pub part: DocumentId,
    /// Salted hash of the act.
    pub hash: Hash32,
    /// The act, without whom it is about.
    pub outline: Outline,
    /// Handle of the job: an erasure's own, and the record that a made human gets.
    pub job: JobId,
    /// The rule it was filed under; `founding` only where the act may found.
    pub rule: Rule,
    /// What happened, ascending. The first is the filing.
    pub steps: Vec<Step>,
}

/// What is filed.
pub struct Filing<'a> {
    /// The act, without whom it is about.
    pub outline: Outline,
    /// Whether the act may found.
    pub may_found: bool,
    /// Its salted hash.
    pub hash: Hash32,
    /// The document of the act.
    pub part: DocumentId,
    /// Handle of the job.
    pub job: JobId,
    /// Who asks.
    pub by: &'a Party,
    /// The rule in force.
    pub rule: Rule,
}

fn refused(code: &'static str, fix: &'static str) -> Refusal {
    Refusal::new(code, fix)
}

fn closed() -> Refusal {
    refused("ORDER_STATE", "the order is past that: look at its state, and file another if needed")
}

fn after(at: UtcNanos, seconds: u64) -> UtcNanos {
    UtcNanos(at.0.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)))
}

fn fresh(who: &Party, now: UtcNanos) -> Result<UtcNanos, Refusal> {
    let fix = "give a one-time code first: the last one is more than five minutes old, or there \
               is none";
    let fresh = who.code_at.filter(|at| after(*at, STEP_UP_SECONDS_MAX) >= now);
    fresh.ok_or_else(|| refused("STEP_UP_STALE", fix).limit(STEP_UP_SECONDS_MAX))
}

/// Files an order.
///
/// # Errors
/// Those of the rule; `STEP_UP_STALE` where the requester is to execute alone.
pub fn file(filing: Filing<'_>, now: UtcNanos) -> Result<Order, Refusal> {
    filing.rule.check()?;
    let founding = filing.rule.founding && filing.may_found;
    let rule = Rule { founding, ..filing.rule };
    if rule.demanded(&filing.by.actor) == 0 {
        fresh(filing.by, now)?;
    }
    let Filing { outline, hash, part, job, by, .. } = filing;
    let steps = vec![Step { at: now, by: by.actor.clone(), what: What::Filed }];
    Ok(Order { part, hash, outline, job, rule, steps })
}

impl Order {
    /// Who asked; nobody only for an order that `walk` refuses.
    pub fn requester(&self) -> Option<&Actor> {
        self.steps.first().map(|step| &step.by)
    }

    /// When it was filed.
    pub fn filed_at(&self) -> UtcNanos {
        self.steps.first().map_or(UtcNanos(0), |step| step.at)
    }

    /// Humans who approved.
    pub fn approvers(&self) -> BTreeSet<DocumentId> {
        let approved = |step: &&Step| matches!(step.what, What::Approved { .. });
        self.steps.iter().filter(approved).filter_map(|step| step.by.human()).collect()
    }

    /// Approvals it needs under a rule.
    pub fn demanded(&self, rule: &Rule) -> u32 {
        self.requester().map_or(u32::MAX, |requester| rule.demanded(requester))
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.walk().unwrap_or(State::Failed { code: "ORDER_MISSTEP".to_owned() })
    }

    /// Goes through the steps, believing none of them.
    ///
    /// # Errors
    /// `ORDER_MISSTEP`: a step that no transition makes. Such an order is never executed.
    pub fn walk(&self) -> Result<State, Refusal> {
        let misstep = || refused("ORDER_MISSTEP", "an order has a step that cannot be: file anew");
        let mut steps = self.steps.iter();
        let first = steps.next().filter(|step| step.what == What::Filed).ok_or_else(misstep)?;
        let demanded = self.demanded(&self.rule);
        let requester = first.by.human();
        let mut state = match demanded {
            0 => State::Approved { since: first.at },
            _ => State::Filed,
        };
        let (mut approvers, mut last) = (BTreeSet::new(), first.at);
        for step in steps {
            let next = match (&state, &step.what) {
                (State::Filed | State::Approved { .. }, What::Approved { hash, .. }) => {
                    let human = step.by.human().filter(|human| Some(*human) != requester);
                    let human = human.filter(|_| *hash == self.hash).ok_or_else(misstep)?;
                    if !approvers.insert(human) {
                        return Err(misstep());
                    }
                    match state {
                        State::Filed if approvers.len() as u64 >= u64::from(demanded) => {
                            State::Approved { since: step.at }
                        }
                        same => same,
                    }
                }
                (State::Filed | State::Approved { .. }, What::Rejected) => State::Rejected,
                (State::Filed | State::Approved { .. }, What::Withdrawn) => State::Withdrawn,
                (State::Filed, What::Expired) => State::Expired,
                (State::Approved { .. }, What::Executing) => State::Executing,
                (State::Executing, What::Executed { entry }) => State::Executed { entry: *entry },
                (State::Approved { .. } | State::Executing, What::Failed { code }) => {
                    State::Failed { code: code.clone() }
                }
                (waits @ (State::Filed | State::Approved { .. }), What::Refused { .. }) => {
                    waits.clone()
                }
                _ => return Err(misstep()),
            };
            if step.at < last {
                return Err(misstep());
            }
            (state, last) = (next, step.at);
        }
        Ok(state)
    }

    /// When its rest is over under this rule and its own; nothing while it lacks approvals.
    pub fn due(&self, rule: Rule) -> Option<UtcNanos> {
        let State::Approved { since } = self.state() else { return None };
        let both = self.rule.stricter(rule);
        // Nobody else is there yet who could use the time to say no.
        let seconds = if both.founding { 0 } else { both.cooling_off_seconds };
        Some(after(since, seconds))
    }

    /// When it expires, while it lacks approvals.
    pub fn expires(&self) -> Option<UtcNanos> {
        let waits = self.state() == State::Filed;
        waits.then(|| after(self.filed_at(), UNAPPROVED_SECONDS_MAX))
    }

    fn with(&self, by: &Actor, what: What, now: UtcNanos) -> Order {
        let mut next = self.clone();
        let at = self.steps.last().map_or(now, |step| step.at.max(now));
        next.steps.push(Step { at, by: by.clone(), what });
        next
    }

    fn open_to_people(&self, now: UtcNanos) -> Result<State, Refusal> {
        match self.walk()? {
            State::Filed if self.expires().is_some_and(|at| now >= at) => {
                let fix = "it was not approved within 72 hours: file it again";
                Err(refused("ORDER_EXPIRED", fix).limit(UNAPPROVED_SECONDS_MAX))
            }
            state @ (State::Filed | State::Approved { .. }) => Ok(state),
            _ => Err(closed()),
        }
    }

    /// Whether this one may decide about this order at all.
    fn may_decide(&self, who: &Party, now: UtcNanos) -> Result<UtcNanos, Refusal> {
        let Some(human) = who.actor.human() else {
            let fix = "a human approves, with a one-time code; tokens and the console may only ask";
            return Err(refused("APPROVER_MACHINE", fix));
        };
        if self.requester().and_then(Actor::human) == Some(human) {
            let fix = "another person than the one who asked must decide; who asked may withdraw";
            return Err(refused("APPROVER_IS_REQUESTER", fix));
        }
        if !who.approver {
            let fix = "only an approver of every tenant concerned may decide";
            return Err(refused("APPROVER_ROLE", fix));
        }
        if now < who.approver_from {
            let fix = "who is new or was reset may not decide before the cooling-off has passed";
            return Err(refused("APPROVER_TOO_NEW", fix));
        }
        fresh(who, now)
    }

    /// Approves what has the hash that the approver saw.
    ///
    /// # Errors
    /// `ORDER_STATE`, `ORDER_EXPIRED`, `ORDER_CHANGED`, `APPROVER_MACHINE`,
    /// `APPROVER_IS_REQUESTER`, `APPROVER_TWICE`, `APPROVER_ROLE`, `APPROVER_TOO_NEW`,
    /// `STEP_UP_STALE`.
    pub fn approve(&self, who: &Party, hash: Hash32, now: UtcNanos) -> Result<Order, Refusal> {
        self.open_to_people(now)?;
        if hash != self.hash {
            let fix = "the order is not the one that was shown: read it again, then decide";
            return Err(refused("ORDER_CHANGED", fix));
        }
        if who.actor.human().is_some_and(|human| self.approvers().contains(&human)) {
            let fix = "this person has approved already: somebody else must";
            return Err(refused("APPROVER_TWICE", fix));
        }
        let code_at = self.may_decide(who, now)?;
        Ok(self.with(&who.actor, What::Approved { hash, code_at }, now))
    }

    /// Says no, also during the rest. Whoever approved may think again.
    ///
    /// # Errors
    /// As `approve`, but `ORDER_CHANGED` and `APPROVER_TWICE`.
    pub fn reject(&self, who: &Party, now: UtcNanos) -> Result<Order, Refusal> {
        self.open_to_people(now)?;
        self.may_decide(who, now)?;
        Ok(self.with(&who.actor, What::Rejected, now))
    }

    /// Takes it back: who asked may, until it is being executed.
    ///
    /// # Errors
    /// `ORDER_STATE`, `ORDER_EXPIRED`, `ORDER_NOT_YOURS`.
    pub fn withdraw(&self, who: &Party, now: UtcNanos) -> Result<Order, Refusal> {
        self.open_to_people(now)?;
        let same = match (self.requester(), &who.actor) {
            (Some(Actor::Human { id, .. }), Actor::Human { id: own, .. })
            | (Some(Actor::Machine { id, .. }), Actor::Machine { id: own, .. }) => id == own,
            (Some(Actor::Console { .. }), Actor::Console { .. }) => true,
            _ => false,
        };
        match same {
            true => Ok(self.with(&who.actor, What::Withdrawn, now)),
            false => {
                let fix = "only who asked may withdraw; an approver may reject";
                Err(refused("ORDER_NOT_YOURS", fix))
            }
        }
    }

    /// Lets it expire.
    ///
    /// # Errors
    /// `ORDER_STATE` unless it waits for approvals and its time is over.
    pub fn expire(&self, now: UtcNanos) -> Result<Order, Refusal> {
        self.walk()?;
        match self.expires() {
            Some(at) if now >= at => Ok(self.with(&Actor::Service, What::Expired, now)),
            _ => Err(closed()),
        }
    }

    /// Begins to execute it, under its own rule and the one in force, whichever is stricter.
    ///
    /// # Errors
    /// `ORDER_STATE`; `ORDER_COOLING` before its rest is over; `ORDER_RULE` when the rule became
    /// stricter and its approvals are too few now; `ORDER_MISSTEP`.
    pub fn begin(&self, rule: Rule, now: UtcNanos) -> Result<Order, Refusal> {
        let State::Approved { .. } = self.walk()? else { return Err(closed()) };
        let demanded = self.demanded(&self.rule.stricter(rule));
        if (self.approvers().len() as u64) < u64::from(demanded) {
            let fix = "the rule became stricter since it was filed: file it again";
            return Err(refused("ORDER_RULE", fix).limit(u64::from(demanded)));
        }
        match self.due(rule) {
            Some(due) if now >= due => Ok(self.with(&Actor::Service, What::Executing, now)),
            _ => Err(refused("ORDER_COOLING", "its cooling-off is not over: wait")),
        }
    }

    /// Says how the execution ended. One that was never begun can only fail.
    ///
    /// # Errors
    /// `ORDER_STATE`.
    pub fn finish(&self, end: &End, now: UtcNanos) -> Result<Order, Refusal> {
        let what = match (self.walk()?, end) {
            (State::Executing, End::Done(entry)) => What::Executed { entry: *entry },
            (State::Executing | State::Approved { .. }, End::Failed(code)) => {
                What::Failed { code: (*code).to_owned() }
            }
            _ => return Err(closed()),
        };
        Ok(self.with(&Actor::Service, what, now))
    }

    /// Notes an attempt that was refused; nothing once it is begun, closed or holds enough of them.
    pub fn note(&self, by: &Actor, tried: &str, code: &str, now: UtcNanos) -> Option<Order> {
        let refusal = |step: &&Step| matches!(step.what, What::Refused { .. });
        let room = self.steps.iter().filter(refusal).count() < REFUSALS_MAX;
        let what = What::Refused { tried: tried.to_owned(), code: code.to_owned() };
        let waits = matches!(self.state(), State::Filed | State::Approved { .. });
        (room && waits).then(|| self.with(by, what, now))
    }
}
