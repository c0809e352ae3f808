//! Enrolment: one flow for everybody. Somebody with an invitation chooses a password, gets a shared
//! secret for one-time codes, and shows by a right code that it works; only then the person counts.
//! The first person's invitation is `bootstrap.token`: it lives in memory for 15 minutes, and only
//! while there is nobody.
//!
//! Between the two steps nothing is written: what was begun is in memory, and a restart begins
//! again with the same invitation. It never makes a second person out of one invitation.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::base::world::random;
use crate::policy::access::{HOME, Role};
use crate::server::audit::{self, Act, Deed};
use crate::server::identity::Hands;
use crate::server::identity::directory::{Directory, lock};
use crate::server::identity::human::{Factor, Grant, Human, Invitation, check_login, check_name};
use crate::server::identity::password::{Phc, judge};
use crate::server::identity::refused::{Error, Refused, Result};
use crate::server::identity::throttle::Door;
use crate::server::identity::token::{Kept, Shown, make_invitation, parse_invitation};
use crate::server::identity::totp::{SharedSecret, Step};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Nanoseconds the first person's invitation is open: 15 minutes.
pub const BOOTSTRAP_NANOS: u64 = 15 * 60 * NANOS_PER_SECOND;
/// Wrong codes after which the password and the shared secret must be made anew.
pub const WRONG_CODES_MAX: u32 = 5;

/// What was begun.
#[derive(Default)]
pub(crate) struct Enrolling {
    bootstrap: Option<Invitation>,
    /// By invitation: at most one for each person invited, and one for the first.
    begun: HashMap<Kept, Begun>,
}

impl std::fmt::Debug for Enrolling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolling({} begun)", self.begun.len())
    }
}

#[derive(Clone)]
struct Begun {
    target: Target,
    login: String,
    name: String,
    password: Phc,
    secret: SharedSecret,
    wrong: u32,
    expires: UtcNanos,
    /// Who it became, while no entry says so yet.
    done: Option<DocumentId>,
}

/// For whom an invitation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    First,
    Human(DocumentId),
}

/// What somebody who enrols sends first.
#[derive(Clone, Copy)]
pub struct Enrol<'a> {
    /// The invitation.
    pub token: &'a str,
    /// Login: for the first person; for others that of the invitation, or nothing.
    pub login: Option<&'a str>,
    /// Name: as the login.
    pub name: Option<&'a str>,
    /// The password chosen.
    pub password: &'a str,
}

impl std::fmt::Debug for Enrol<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrol(..)")
    }
}

/// What an authenticator program needs; shown once.
pub struct Secrets {
    /// As a URI.
    pub otpauth: Zeroizing<String>,
    /// As letters to type.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Directory {
    /// Whether there was never anybody.
    pub fn is_empty(&self) -> bool {
        let view = self.view();
        view.humans.is_empty() && view.erased.is_empty()
    }

    /// The first person's invitation, if there is nobody yet: a fresh one at each start, and the
    /// one before counts no more.
    ///
    /// # Errors
    /// None but those of a broken program.
    pub fn bootstrap(
        &self,
        hands: &Hands<'_>,
    ) -> std::result::Result<Option<(Shown, UtcNanos)>, Refused> {
        let writing = lock(&self.writing);
        if !self.is_empty() {
            return Ok(None);
        }
        let text = make_invitation(hands.entropy);
        let hash = self.keeper.keep(&parse_invitation(text.expose())?);
        let expires = hands.later(BOOTSTRAP_NANOS);
        lock(&self.enrolling).bootstrap = Some(Invitation { hash, expires });
        drop(writing);
        Ok(Some((text, expires)))
    }

    /// For whom an open invitation is.
    fn target(
        &self,
        kept: &Kept,
        now: UtcNanos,
    ) -> std::result::Result<(Target, UtcNanos), Refused> {
        let open = |invitation: &&Invitation| invitation.hash == *kept && now < invitation.expires;
        if let Some(invitation) = lock(&self.enrolling).bootstrap.as_ref().filter(open) {
            return Ok((Target::First, invitation.expires));
        }
        let view = self.view();
        let mut there = view.humans.iter().filter(|(_, human)| !human.gone && !human.doc.disabled);
        let found = there.find_map(|(id, human)| {
            let invitation = human.doc.enrolment.as_ref().filter(open)?;
            Some((Target::Human(*id), invitation.expires))
        });
        found.ok_or(Refused::EnrolmentRefused)
    }

    /// Begins: the password is chosen, the shared secret is made.
    ///
    /// # Errors
    /// `EnrolmentRefused`; `Invalid` for a login, name or password that cannot be one;
    /// `Overloaded`.
    pub fn enrol(
        &self,
        hands: &Hands<'_>,
        enrol: &Enrol<'_>,
    ) -> std::result::Result<Secrets, Refused> {
        let kept = self.keeper.keep(&parse_invitation(enrol.token)?);
        let (target, expires) = self.target(&kept, hands.now)?;
        let (login, name) = self.names(target, enrol)?;
        judge(enrol.password, &login, &name)?;
        let place = self.gate.enter()?;
        let password = Phc::of(enrol.password, hands.entropy, &place)?;
        drop(place);
        let secret = SharedSecret::make(hands.entropy);
        let shown = Secrets { otpauth: secret.otpauth(&login), secret: secret.base32() };
        let (wrong, done) = (0, None);
        let begun = Begun { target, login, name, password, secret, wrong, expires, done };
        let mut enrolling = lock(&self.enrolling);
        enrolling.begun.retain(|_, begun| hands.now < begun.expires);
        enrolling.begun.insert(kept, begun);
        Ok(shown)
    }

    /// Login and name: the first person says them, all others were named by whoever invited them.
    fn names(
        &self,
        target: Target,
        enrol: &Enrol<'_>,
    ) -> std::result::Result<(String, String), Refused> {
        match target {
            Target::First => {
                let login = enrol.login.unwrap_or_default();
                check_login(login)?;
                let name = enrol.name.unwrap_or(login);
                check_name(name)?;
                Ok((login.to_owned(), name.to_owned()))
            }
            Target::Human(id) => {
                let human = self.view().human(id).cloned().ok_or(Refused::EnrolmentRefused)?;
                let same = |given: Option<&str>, own: &str| given.is_none_or(|given| given == own);
                if !same(enrol.login, &human.login) || !same(enrol.name, &human.name) {
                    let fix = "leave login and name out: the invitation is for one person";
                    return Err(Refused::field("ENROLMENT_NAMES", "login", fix));
                }
                Ok((human.login.clone(), human.name.clone()))
            }
        }
    }

    /// Ends: the first code is right, and the person counts. The code is used by it.
    ///
    /// # Errors
    /// `EnrolmentRefused` when nothing was begun or the invitation is closed; `EnrolmentCode`;
    /// those of the vault.
    pub fn confirm(&self, hands: &Hands<'_>, token: &str, code: &str) -> Result<DocumentId> {
        let kept = self.keeper.keep(&parse_invitation(token)?);
        let done = lock(&self.enrolling).begun.get(&kept).and_then(|begun| begun.done);
        let id = match done {
            Some(id) => id,
            None => self.complete(hands, &kept, code)?,
        };
        audit::record(hands.system, &Act::by_human(Deed::Enrolled, id))?;
        lock(&self.enrolling).begun.remove(&kept);
        Ok(id)
    }

    /// Makes the person count; whoever comes again after a failure in between finds it done.
    fn complete(&self, hands: &Hands<'_>, kept: &Kept, code: &str) -> Result<DocumentId> {
        let (target, _) = self.target(kept, hands.now)?;
        let (begun, step) = self.judge_code(kept, target, code, hands.wall())?;
        let id = match target {
            Target::First => self.first(hands, kept, begun, step)?,
            Target::Human(id) => {
                // Before anybody can log in with the code that is used here.
                lock(&self.throttle).begin(id, step);
                self.edit_human(hands, id, |human| {
                    let same = human.enrolment.as_ref().is_some_and(|open| open.hash == *kept);
                    if !same || human.disabled {
                        return Err(Refused::EnrolmentRefused.into());
                    }
                    let from = hands.later(hands.cooling_off);
                    human.approver_from = human.approver_from.max(from);
                    complete(human, begun, hands.now);
                    Ok(())
                })?;
                id
            }
        };
        if let Some(begun) = lock(&self.enrolling).begun.get_mut(kept) {
            begun.done = Some(id);
        }
        lock(&self.throttle).right(Door::Known(id));
        Ok(id)
    }

    /// What was begun with an invitation, if the code is right.
    fn judge_code(
        &self,
        kept: &Kept,
        target: Target,
        code: &str,
        wall: UtcNanos,
    ) -> std::result::Result<(Begun, Step), Refused> {
        let mut enrolling = lock(&self.enrolling);
        let begun = enrolling.begun.get_mut(kept).filter(|begun| begun.target == target);
        let begun = begun.ok_or(Refused::EnrolmentRefused)?;
        if let Some(step) = begun.secret.check(code, wall) {
            return Ok((begun.clone(), step));
        }
        begun.wrong += 1;
        if begun.wrong >= WRONG_CODES_MAX {
            enrolling.begun.remove(kept);
        }
        Err(Refused::EnrolmentCode)
    }

    /// Makes the first person, who may do what it takes to invite a second. Nobody came before, so
    /// there is nobody to wait for.
    fn first(
        &self,
        hands: &Hands<'_>,
        kept: &Kept,
        begun: Begun,
        step: Step,
    ) -> Result<DocumentId> {
        let writing = lock(&self.writing);
        let open = lock(&self.enrolling).bootstrap.as_ref().is_some_and(|b| b.hash == *kept);
        if !open || !self.is_empty() {
            return Err(Error::Refused(Refused::EnrolmentRefused));
        }
        let id = DocumentId(random(hands.entropy));
        let roles = [Role::Admin, Role::PrivacyOfficer, Role::Approver];
        let mut human = Human {
            login: begun.login.clone(),
            name: begun.name.clone(),
            password: None,
            totp: None,
            grants: roles.map(|role| Grant::of(HOME, role, hands.now)).to_vec(),
            approver_from: hands.now,
            disabled: false,
            enrolment: None,
            made_by: None,
            reviews: Vec::new(),
        };
        complete(&mut human, begun, hands.now);
        lock(&self.throttle).begin(id, step);
        self.put_human(hands, &writing, id, human)?;
        lock(&self.enrolling).bootstrap = None;
        Ok(id)
    }
}

fn complete(human: &mut Human, begun: Begun, now: UtcNanos) {
    human.password = Some(begun.password);
    human.totp = Some(Factor { secret: begun.secret, confirmed_at: now });
    human.enrolment = None;
}
