//! Break-glass: somebody who keeps the service running, and may see nothing, opens a session of an
//! hour that reads. The entry that raises the alarm is durable before the session is; what was done
//! in it is in the log like every other reading; and somebody else must look at it and close it.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::base::world::random;
use crate::policy::access::Permission;
use crate::server::audit::{self, Act, Deed};
use crate::server::identity::Hands;
use crate::server::identity::directory::{Directory, Opened, lock};
use crate::server::identity::human::Grant;
use crate::server::identity::principal::Principal;
use crate::server::identity::refused::{Refused, Result};
use crate::server::identity::session::Session;
use crate::server::identity::stamp;
use serde::{Deserialize, Serialize};

/// Nanoseconds of such a session: 60 minutes, idle or not.
pub const GLASS_NANOS: u64 = 3_600 * NANOS_PER_SECOND;
/// Reviews one person may owe; beyond it no session opens until somebody has looked.
pub const REVIEWS_OWED_MAX: usize = 3;
/// Closed reviews kept in a person's document, newest; the log keeps all.
const REVIEWS_KEPT: usize = 16;
/// Bytes of a reason or a note.
const REASON_BYTES: std::ops::RangeInclusive<usize> = 12..=1_000;

/// A break-glass session, and whether somebody has looked at it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Random name.
    pub id: DocumentId,
    /// Where.
    pub tenant: String,
    /// Why, in the person's words.
    pub reason: String,
    /// From when.
    #[serde(with = "stamp")]
    pub opened: UtcNanos,
    /// Until when at most.
    #[serde(with = "stamp")]
    pub until: UtcNanos,
    /// Who looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// That somebody looked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Document of the person.
    pub by: DocumentId,
    /// When.
    #[serde(with = "stamp")]
    pub at: UtcNanos,
    /// What was found.
    pub note: String,
}

impl std::fmt::Debug for Review {
    /// No reason: it may name somebody.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Review({} on {}, closed: {})", self.id, self.tenant, self.closed.is_some())
    }
}

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Closed({} at {})", self.by, self.at)
    }
}

fn words(text: &str, field: &str) -> std::result::Result<(), Refused> {
    let steers = |c: char| c.is_control() && c != '\n';
    match REASON_BYTES.contains(&text.trim().len()) && !text.contains(steers) {
        true => Ok(()),
        false => {
            let fix = "say in 12 to 1,000 bytes, without control characters, why";
            Err(Refused::field("REASON_LENGTH", field, fix))
        }
    }
}

impl Directory {
    /// Opens a break-glass session beside the one of `cookie`.
    ///
    /// # Errors
    /// `SessionEnded`, `StepUpRequired`; `Forbidden` without the grant; `Invalid` `REASON_LENGTH`;
    /// `Conflict` `REVIEWS_OWED`; those of the vault.
    pub fn break_glass(&self, hands: &Hands<'_>, cookie: &str, reason: &str) -> Result<Opened> {
        let now = hands.now;
        let principal = self.authenticate_session(cookie, now)?;
        let id = principal.fresh(now)?;
        words(reason, "reason")?;
        let until = hands.later(GLASS_NANOS);
        let tenant = principal.tenant.clone();
        let review = Review {
            id: DocumentId(random(hands.entropy)),
            tenant: tenant.clone(),
            reason: reason.to_owned(),
            opened: now,
            until,
            closed: None,
        };
        self.edit_human(hands, id, |human| {
            if !human.on(&tenant, now).any(Grant::breaks_glass) {
                let permission = Permission::EventsOpen;
                return Err(Refused::Forbidden { permission }.into());
            }
            let owed = human.reviews.iter().filter(|review| review.closed.is_none()).count();
            if owed >= REVIEWS_OWED_MAX {
                let fix = "three such sessions wait for somebody else to look at them";
                return Err(Refused::Conflict { code: "REVIEWS_OWED", fix }.into());
            }
            let closed = human.reviews.len() - owed;
            let mut surplus = closed.saturating_sub(REVIEWS_KEPT - 1);
            human.reviews.retain(|review| {
                let goes = surplus > 0 && review.closed.is_some();
                surplus -= usize::from(goes);
                !goes
            });
            human.reviews.push(review);
            Ok(())
        })?;
        let act = Act::by_human(Deed::GlassBroken, id).on(&tenant).reason(reason);
        audit::record(hands.system, &act)?;
        let session = Session {
            human: id,
            tenant,
            opened: now,
            seen: now,
            stepped_up: principal.stepped_up.unwrap_or(now),
            break_glass: Some(until),
        };
        let principal = self.principal(&session, now)?;
        let cookie = lock(&self.sessions).open(session, hands.entropy);
        Ok(Opened { cookie, principal })
    }

    /// The break-glass sessions on a tenant, each with whose it was, oldest first; for whoever may
    /// close them or audits.
    pub fn reviews(&self, tenant: &str) -> Vec<(DocumentId, Review)> {
        let view = self.view();
        let there = view.humans.iter().filter(|(_, human)| !human.gone);
        let all = there.flat_map(|(id, human)| human.doc.reviews.iter().map(|r| (*id, r.clone())));
        let mut found: Vec<_> = all.filter(|(_, review)| review.tenant == tenant).collect();
        found.sort_by_key(|(_, review)| (review.opened, review.id));
        found
    }

    /// Somebody else looked at a break-glass session.
    ///
    /// # Errors
    /// `HumansOnly`; `Forbidden` for who may not approve; `Conflict` `REVIEW_OWN` or
    /// `REVIEW_CLOSED`; `Unknown` `REVIEW_UNKNOWN`; `Invalid` `REASON_LENGTH`; those of the vault.
    pub fn close_review(
        &self,
        hands: &Hands<'_>,
        by: &Principal,
        review: DocumentId,
        note: &str,
    ) -> Result<()> {
        by.may(Permission::OrdersApprove)?;
        let closer = by.human()?;
        words(note, "note")?;
        let found = self.reviews(&by.tenant).into_iter().find(|(_, known)| known.id == review);
        let (whose, _) = found.ok_or(Refused::Unknown { code: "REVIEW_UNKNOWN" })?;
        if whose == closer {
            let fix = "somebody else must look at it";
            return Err(Refused::Conflict { code: "REVIEW_OWN", fix }.into());
        }
        self.edit_human(hands, whose, |human| {
            let owed = human.reviews.iter_mut().find(|known| known.id == review);
            let owed = owed.ok_or(Refused::Unknown { code: "REVIEW_UNKNOWN" })?;
            if owed.closed.is_some() {
                let fix = "nothing: somebody has looked at it";
                return Err(Refused::Conflict { code: "REVIEW_CLOSED", fix }.into());
            }
            owed.closed = Some(Closed { by: closer, at: hands.now, note: note.to_owned() });
            Ok(())
        })?;
        let act = Act::by_human(Deed::GlassReviewed, closer).target(whose).on(&by.tenant);
        Ok(audit::record(hands.system, &act.reason(note))?)
    }
}
