//! People: made, given roles, invited, disabled. Which of these acts takes two people is the order
//! desk's to know; here each is done once, and doing it again changes nothing, so an order that a
//! crash interrupted is carried out again without harm.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::policy::access::{HOME, Permission, Role};
use crate::server::audit::{self, Act, Deed};
use crate::server::identity::Hands;
use crate::server::identity::directory::{Directory, View, lock};
use crate::server::identity::human::{
    Grant, Human, Invitation, check_grants, check_login, check_name,
};
use crate::server::identity::principal::{Principal, Who};
use crate::server::identity::refused::{Error, Refused, Result};
use crate::server::identity::token::{Shown, make_invitation, parse_invitation};

/// Nanoseconds an invitation is open: 72 hours.
const INVITATION_NANOS: u64 = 72 * 3_600 * NANOS_PER_SECOND;

/// A person to be made.
#[derive(Clone)]
pub struct NewHuman {
    /// Login.
    pub login: String,
    /// Name.
    pub name: String,
    /// What the person may do.
    pub grants: Vec<Grant>,
}

impl std::fmt::Debug for NewHuman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewHuman({} grants)", self.grants.len())
    }
}

/// A person, for a list: nothing that lets anybody in.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// Document.
    pub id: DocumentId,
    /// Its version, for `If-Match`.
    pub version: u64,
    /// Login.
    pub login: String,
    /// Name.
    pub name: String,
    /// What the person may do, grants that are over included.
    pub grants: Vec<Grant>,
    /// Before this the person may not approve.
    pub approver_from: UtcNanos,
    /// May not come in.
    pub disabled: bool,
    /// Has both factors.
    pub enrolled: bool,
    /// Until when an invitation is open.
    pub invited_until: Option<UtcNanos>,
    /// Who made the document.
    pub made_by: Option<DocumentId>,
    /// Break-glass sessions that somebody else must still look at.
    pub reviews_owed: usize,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Person { id, version, enrolled, disabled, .. } = self;
        write!(f, "Person({id} v{version}, enrolled: {enrolled}, disabled: {disabled})")
    }
}

impl Person {
    fn of(id: DocumentId, version: u64, human: &Human, now: UtcNanos) -> Person {
        let open = human.enrolment.as_ref().map(|invitation| invitation.expires);
        Person {
            id,
            version,
            login: human.login.clone(),
            name: human.name.clone(),
            grants: human.grants.clone(),
            approver_from: human.approver_from,
            disabled: human.disabled,
            enrolled: human.is_enrolled(),
            invited_until: open.filter(|expires| now < *expires),
            made_by: human.made_by,
            reviews_owed: human.reviews.iter().filter(|review| review.closed.is_none()).count(),
        }
    }
}

impl Directory {
    /// Everybody, ascending by document, for whoever has `humans-read`.
    pub fn people(&self, now: UtcNanos) -> Vec<Person> {
        let view = self.view();
        let there = view.humans.iter().filter(|(_, human)| !human.gone);
        there.map(|(id, human)| Person::of(*id, human.version, &human.doc, now)).collect()
    }

    /// One person.
    ///
    /// # Errors
    /// `Unknown` `HUMAN_UNKNOWN`.
    pub fn person(&self, id: DocumentId, now: UtcNanos) -> std::result::Result<Person, Refused> {
        let view = self.view();
        let found = view.humans.get(&id).filter(|human| !human.gone);
        let found = found.map(|human| Person::of(id, human.version, &human.doc, now));
        found.ok_or(Refused::Unknown { code: "HUMAN_UNKNOWN" })
    }

    /// Whether such a person could be made, before anybody is asked to approve it.
    ///
    /// # Errors
    /// As `create_human`, but for those of the vault.
    pub fn fits(&self, new: &NewHuman, now: UtcNanos) -> std::result::Result<(), Refused> {
        check_login(&new.login)?;
        check_name(&new.name)?;
        check_grants(&new.grants, now)?;
        match self.view().by_login(&new.login) {
            Some(_) => Err(taken()),
            None => Ok(()),
        }
    }

    /// Makes a person, who then needs an invitation. `id` is the order's choice: the same one again
    /// is the same person, and says `false`.
    ///
    /// # Errors
    /// `Invalid` for a login, name or grant that cannot be one; `Conflict` `LOGIN_TAKEN`; those of
    /// the vault.
    pub fn create_human(
        &self,
        hands: &Hands<'_>,
        by: Who,
        id: DocumentId,
        new: &NewHuman,
    ) -> Result<bool> {
        check_login(&new.login)?;
        check_name(&new.name)?;
        check_grants(&new.grants, hands.now)?;
        let writing = lock(&self.writing);
        {
            let view = self.view();
            let there = view.human(id).map(|human| human.login == new.login);
            match there {
                // Again, since nobody knows whether the entry of the first time was written.
                Some(true) => {
                    drop(view);
                    audit::record(hands.system, &Act::new(Deed::HumanCreated, by).target(id))?;
                    return Ok(false);
                }
                Some(false) => return Err(taken().into()),
                None if view.erased.contains(&id) || view.humans.contains_key(&id) => {
                    return Err(Refused::Unknown { code: "HUMAN_UNKNOWN" }.into());
                }
                None if view.by_login(&new.login).is_some() => return Err(taken().into()),
                None => {}
            }
        }
        let human = Human {
            login: new.login.clone(),
            name: new.name.clone(),
            password: None,
            totp: None,
            grants: new.grants.clone(),
            approver_from: hands.later(hands.cooling_off),
            disabled: false,
            enrolment: None,
            made_by: Some(by.document()),
            reviews: Vec::new(),
        };
        self.put_human(hands, &writing, id, human)?;
        drop(writing);
        audit::record(hands.system, &Act::new(Deed::HumanCreated, by).target(id))?;
        Ok(true)
    }

    /// Gives grants; one for the same tenant and role takes the place of the one before. A new
    /// approver waits before the first approval.
    ///
    /// # Errors
    /// `Invalid` for a grant that cannot be one; `Unknown`; `Conflict` `LAST_ADMIN` where the last
    /// lasting admin's role would end; those of the vault.
    pub fn grant(
        &self,
        hands: &Hands<'_>,
        by: Who,
        id: DocumentId,
        grants: &[Grant],
    ) -> Result<()> {
        check_grants(grants, hands.now)?;
        let from = hands.later(hands.cooling_off);
        self.edit_led(hands, id, |human| {
            for grant in grants {
                let same = |had: &Grant| had.tenant == grant.tenant && had.role == grant.role;
                let had = human.grants.iter().find(|had| same(had));
                let news = had.is_none_or(|had| !had.is_active(hands.now));
                if grant.role == Role::Approver && news {
                    human.approver_from = human.approver_from.max(from);
                }
                if had == Some(grant) {
                    continue;
                }
                human.grants.retain(|had| !same(had));
                human.grants.push(grant.clone());
            }
            Ok(check_grants_in_force(human, hands.now)?)
        })?;
        Ok(audit::record(hands.system, &Act::new(Deed::RoleGranted, by).target(id))?)
    }

    /// Takes a role back. It counts from the next request on.
    ///
    /// # Errors
    /// `Unknown` for a person or grant that is not there; `Conflict` `LAST_ADMIN`; those of the
    /// vault.
    pub fn take_back(
        &self,
        hands: &Hands<'_>,
        by: Who,
        id: DocumentId,
        tenant: &str,
        role: Role,
    ) -> Result<()> {
        self.edit_led(hands, id, |human| {
            let before = human.grants.len();
            human.grants.retain(|had| had.tenant != tenant || had.role != role);
            if human.grants.len() == before {
                return Err(Refused::Unknown { code: "GRANT_UNKNOWN" }.into());
            }
            Ok(())
        })?;
        Ok(audit::record(hands.system, &Act::new(Deed::RoleRevoked, by).target(id))?)
    }

    /// As `take_back`, for an order that may be carried out again after a crash: a role that is
    /// gone is taken back, and the log says so.
    ///
    /// # Errors
    /// As `take_back`, but for `GRANT_UNKNOWN`.
    pub fn revoke_role(
        &self,
        hands: &Hands<'_>,
        by: Who,
        id: DocumentId,
        tenant: &str,
        role: Role,
    ) -> Result<()> {
        match self.take_back(hands, by, id, tenant, role) {
            Err(Error::Refused(Refused::Unknown { code: "GRANT_UNKNOWN" })) => {
                Ok(audit::record(hands.system, &Act::new(Deed::RoleRevoked, by).target(id))?)
            }
            done => done,
        }
    }

    /// Lets a person in no more, and ends every session at once.
    ///
    /// # Errors
    /// `Unknown`; `Conflict` `LAST_ADMIN`; those of the vault.
    pub fn disable(&self, hands: &Hands<'_>, by: Who, id: DocumentId) -> Result<()> {
        self.edit_led(hands, id, |human| {
            (human.disabled, human.enrolment) = (true, None);
            Ok(())
        })?;
        lock(&self.sessions).close_all(id);
        Ok(audit::record(hands.system, &Act::new(Deed::HumanDisabled, by).target(id))?)
    }

    /// Takes both factors away, ends every session, and lets a disabled person be invited again.
    /// The person waits like a new one before approving.
    ///
    /// # Errors
    /// `Unknown`; `Conflict` `LAST_ADMIN`, who resets nobody else either; those of the vault.
    pub fn reset_factor(&self, hands: &Hands<'_>, by: Who, id: DocumentId) -> Result<()> {
        let from = hands.later(hands.cooling_off);
        self.edit_led(hands, id, |human| {
            (human.password, human.totp, human.enrolment) = (None, None, None);
            human.disabled = false;
            human.approver_from = human.approver_from.max(from);
            Ok(())
        })?;
        lock(&self.sessions).close_all(id);
        Ok(audit::record(hands.system, &Act::new(Deed::FactorReset, by).target(id))?)
    }

    /// An invitation for a person without factors; one that was open before is closed by it.
    ///
    /// # Errors
    /// `Unknown`; `Conflict` `HUMAN_ENROLLED` or `HUMAN_DISABLED`; those of the vault.
    pub fn invite(&self, hands: &Hands<'_>, by: Who, id: DocumentId) -> Result<(Shown, UtcNanos)> {
        let text = make_invitation(hands.entropy);
        let hash = self.keeper.keep(&parse_invitation(text.expose())?);
        let expires = hands.later(INVITATION_NANOS);
        self.edit_human(hands, id, |human| {
            if human.disabled {
                let fix = "reset the person's factors first, which takes two people";
                return Err(Refused::Conflict { code: "HUMAN_DISABLED", fix }.into());
            }
            if human.is_enrolled() {
                let fix = "reset the person's factors first, which takes two people";
                return Err(Refused::Conflict { code: "HUMAN_ENROLLED", fix }.into());
            }
            human.enrolment = Some(Invitation { hash, expires });
            Ok(())
        })?;
        audit::record(hands.system, &Act::new(Deed::Invited, by).target(id))?;
        Ok((text, expires))
    }

    /// Whether a person may approve now: a fresh code, the role, and the cooling-off over.
    ///
    /// # Errors
    /// `HumansOnly`, `Forbidden`, `StepUpRequired`, `CoolingOff`.
    pub fn may_approve(
        &self,
        principal: &Principal,
        now: UtcNanos,
    ) -> std::result::Result<DocumentId, Refused> {
        principal.may(Permission::OrdersApprove)?;
        let id = principal.fresh(now)?;
        let human = self.view().human(id).cloned().ok_or(Refused::SessionEnded)?;
        match now >= human.approver_from {
            true => Ok(id),
            false => Err(Refused::CoolingOff { until: human.approver_from }),
        }
    }

    /// Whether somebody may cease to be an admin on `main` who can come in, before anybody is asked
    /// to approve it.
    ///
    /// # Errors
    /// `Conflict` `LAST_ADMIN`.
    pub fn may_step_down(&self, id: DocumentId, now: UtcNanos) -> std::result::Result<(), Refused> {
        let led = self.view().human(id).is_some_and(|human| leads(human, now));
        if led { self.keeps_an_admin(id, now) } else { Ok(()) }
    }

    /// As `edit_human`, and refuses what would leave the service without an admin.
    fn edit_led<T>(
        &self,
        hands: &Hands<'_>,
        id: DocumentId,
        edit: impl FnOnce(&mut Human) -> Result<T>,
    ) -> Result<T> {
        self.edit_human(hands, id, |human| {
            let led = leads(human, hands.now);
            let done = edit(human)?;
            if led && !leads(human, hands.now) {
                self.keeps_an_admin(id, hands.now)?;
            }
            Ok(done)
        })
    }

    /// Refuses what would leave the service without anybody who sets it up.
    fn keeps_an_admin(
        &self,
        without: DocumentId,
        now: UtcNanos,
    ) -> std::result::Result<(), Refused> {
        match admins(&self.view(), now).any(|id| id != without) {
            true => Ok(()),
            false => {
                let fix = "make somebody else admin on main first";
                Err(Refused::Conflict { code: "LAST_ADMIN", fix })
            }
        }
    }
}

/// Whether somebody is admin on `main`, can come in, and the grant does not end by itself.
fn leads(human: &Human, now: UtcNanos) -> bool {
    let lasts = |grant: &Grant| grant.until.is_none() && grant.sources.is_none();
    let mut home = human.on(HOME, now);
    human.is_active() && home.any(|grant| grant.role == Role::Admin && lasts(grant))
}

/// Who leads.
fn admins(view: &View, now: UtcNanos) -> impl Iterator<Item = DocumentId> + '_ {
    let there = view.humans.iter().filter(|(_, human)| !human.gone);
    there.filter(move |(_, human)| leads(&human.doc, now)).map(|(id, _)| *id)
}

/// The count of grants with those that were there; grants that are over may stand.
fn check_grants_in_force(human: &mut Human, now: UtcNanos) -> std::result::Result<(), Refused> {
    human.grants.retain(|grant| grant.is_active(now));
    check_grants(&human.grants, now)
}

fn taken() -> Refused {
    Refused::Conflict { code: "LOGIN_TAKEN", fix: "choose another login" }
}
