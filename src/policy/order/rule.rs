//! The rule a tenant lives under: how many people an act takes and how long it rests before it is
//! done. It never loosens itself: what is filed keeps the stricter of the rule it was filed under
//! and the rule in force when it is done.

use crate::base::refusal::Refusal;
use crate::policy::order::Actor;
use serde::{Deserialize, Serialize};

/// Approvals one order may be asked to have: more people than these approve nothing in time.
pub const APPROVALS_MAX: u32 = 8;
/// Longest cooling-off: 30 days. A law's month to answer a request must not pass meanwhile.
pub const COOLING_OFF_SECONDS_MAX: u64 = 30 * 86_400;
/// Cooling-off of a tenant for which nobody chose one: a day, so that whoever was away sees it.
pub const COOLING_OFF_SECONDS_DEFAULT: u64 = 86_400;

/// How many people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleMode {
    /// One person may ask and execute; every receipt prints it.
    SingleOperator,
    /// Others than the requester must approve.
    TwoPerson,
}

/// A rule, as an order keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// How many people.
    pub mode: RuleMode,
    /// Approvals an order of a human needs, 1 to `APPROVALS_MAX`.
    pub approvals: u32,
    /// Seconds between the last approval it needs and the act.
    pub cooling_off_seconds: u64,
    /// No two humans who may approve exist yet: what makes them is done by one, and says so.
    pub founding: bool,
}

impl Default for Rule {
    /// Where nobody chose: two people and a day.
    fn default() -> Self {
        Rule {
            mode: RuleMode::TwoPerson,
            approvals: 1,
            cooling_off_seconds: COOLING_OFF_SECONDS_DEFAULT,
            founding: false,
        }
    }
}

impl Rule {
    /// Whether its numbers are within their limits.
    ///
    /// # Errors
    /// `RULE_APPROVALS`, `RULE_COOLING_OFF`.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.approvals == 0 || self.approvals > APPROVALS_MAX {
            let fix = "ask for at least one approval, and for no more than the limit";
            let refusal = Refusal::new("RULE_APPROVALS", fix).field("approvals");
            return Err(refusal.limit(u64::from(APPROVALS_MAX)));
        }
        if self.cooling_off_seconds > COOLING_OFF_SECONDS_MAX {
            let refusal = Refusal::new("RULE_COOLING_OFF", "choose a shorter cooling-off");
            return Err(refusal.field("cooling_off_seconds").limit(COOLING_OFF_SECONDS_MAX));
        }
        Ok(())
    }

    /// What holds where both do.
    #[must_use]
    pub fn stricter(self, other: Rule) -> Rule {
        Rule {
            mode: self.mode.max(other.mode),
            approvals: self.approvals.max(other.approvals),
            cooling_off_seconds: self.cooling_off_seconds.max(other.cooling_off_seconds),
            founding: self.founding && other.founding,
        }
    }

    /// Approvals an order of this requester needs. Behind every order stand `approvals` + 1
    /// humans: a machine and whoever typed at the console are none that could be told apart from
    /// an approver, so theirs needs one more. Alone means one human.
    pub fn demanded(&self, requester: &Actor) -> u32 {
        let alone = self.founding || self.mode == RuleMode::SingleOperator;
        let others = if alone { 0 } else { self.approvals };
        match requester {
            Actor::Human { .. } => others,
            Actor::Machine { .. } | Actor::Console { .. } | Actor::Service => {
                others.saturating_add(1)
            }
        }
    }
}
