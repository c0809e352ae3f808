//! The order desk: joins orders, the people who decide on them, and the vaults they are carried
//! out in. An order on a tenant lies in that tenant's book, one on people or rules in the
//! system's. It decides nothing itself: `policy::order` does, by what the views say of people.

use crate::base::id::DocumentId;
use crate::base::refusal::Refusal;
use crate::base::unit::{EntryIndex, NANOS_PER_SECOND, UtcNanos};
use crate::policy::access::{HOME, Role};
use crate::policy::order::act::{Act, Grant as Ordered};
use crate::policy::order::rule::Rule;
use crate::policy::order::{Actor, Order, Party};
use crate::server::app::{App, SYSTEM};
use crate::server::caller::{Caller, STEP_UP};
use crate::server::identity::Hands as Deeds;
use crate::server::identity::directory::NewHuman;
use crate::server::identity::human::{Grant, check_grants};
use crate::server::identity::principal::Who;
use crate::server::identity::refused::{Error as IdentityError, Refused};
use crate::server::orders::book::{Application, Book};
use crate::server::orders::execute::Progress;
use crate::server::orders::{self, Hands, Held, People, Trouble, rules};
use crate::server::problem::Problem;
use crate::vault::Vault;
use crate::vault::error::{Error, Result as VaultResult};
use axum::http::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The books of all tenants, by name.
pub type Books = BTreeMap<String, Book>;

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        let status = trouble.status().and_then(|status| StatusCode::from_u16(status).ok());
        match trouble {
            Trouble::Vault(error) => error.into(),
            Trouble::Refused(refusal) => {
                let problem = Problem::from(refusal);
                let status = status.unwrap_or(problem.status);
                let challenge = (status == StatusCode::UNAUTHORIZED).then_some(STEP_UP);
                Problem { status, challenge, ..problem }
            }
        }
    }
}

/// Where an order lies.
pub struct Place<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Its book.
    pub book: &'a Book,
    /// Its vault.
    pub vault: Arc<Vault>,
}

impl App {
    /// The book of a tenant.
    ///
    /// # Errors
    /// 404 `TENANT_UNKNOWN`.
    pub fn place(&self, tenant: &str) -> Result<Place<'_>, Problem> {
        let (tenant, book) =
            self.books.get_key_value(tenant).ok_or_else(|| Problem::absent("TENANT_UNKNOWN"))?;
        Ok(Place { tenant, book, vault: self.tenant(tenant)? })
    }

    /// Nanoseconds that somebody new on a tenant waits before approving: its cooling-off.
    ///
    /// # Errors
    /// Those of reading the rule.
    pub fn pause(&self, tenant: &str) -> Result<u64, Problem> {
        let rule = rules::rule_of(self.system(), tenant)?.unwrap_or_default();
        Ok(rule.cooling_off_seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// The rule in force for an act.
    fn rule(&self, tenant: &str, act: &Act) -> orders::Result<Rule> {
        rules::governing(self.system(), tenant, act, self.directory.is_founding())
    }

    /// Whoever asks, as orders see them: approver only where they are one on every tenant named.
    pub fn party(&self, caller: &Caller, tenants: &BTreeSet<&str>) -> Party {
        let now = self.system().clock().now();
        let principal = &caller.principal;
        let name = principal.name.clone();
        let machine = |id| Party {
            actor: Actor::Machine { id, name: name.clone() },
            approver: false,
            approver_from: UtcNanos(u64::MAX),
            code_at: None,
        };
        let id = match principal.who {
            Who::Token(id) => return machine(id),
            Who::Human(id) => id,
        };
        let Ok(person) = self.directory.person(id, now) else { return machine(id) };
        let approves = |tenant: &&str| {
            person.grants.iter().any(|grant| {
                let whole = grant.role == Role::Approver && grant.sources.is_none();
                grant.tenant == **tenant && whole && grant.is_active(now)
            })
        };
        Party {
            actor: Actor::Human { id, login: person.login.clone() },
            approver: principal.break_glass.is_none() && tenants.iter().all(approves),
            approver_from: person.approver_from,
            code_at: principal.stepped_up,
        }
    }

    /// A party by the clock of where an order lies: what is said of people is said by the system's
    /// log, the steps of an order by its own, and the two may be apart.
    pub fn by_clock_of(&self, place: &Place<'_>, party: Party) -> Party {
        let (from, to) = (self.system().clock().now().0, place.vault.clock().now().0);
        let moved = |at: UtcNanos| UtcNanos(at.0.saturating_add(to).saturating_sub(from));
        let never = UtcNanos(u64::MAX);
        Party {
            approver_from: match party.approver_from {
                from if from == never => never,
                from => moved(from),
            },
            code_at: party.code_at.map(moved),
            ..party
        }
    }

    /// Files an order in the caller's name, and carries it out at once where nobody else decides.
    ///
    /// # Errors
    /// Those of `Book::file`.
    pub fn file(&self, caller: &Caller, act: Act) -> Result<Held, Problem> {
        let own = caller.principal.tenant.as_str();
        let place = self.place(if act.is_of_the_system() { SYSTEM } else { own })?;
        let rule = self.rule(own, &act)?;
        let by = self.by_clock_of(&place, self.party(caller, &BTreeSet::from([own])));
        let now = place.vault.clock().now();
        let application = Application { act, by: &by, rule };
        let held = self.with_hands(place.tenant, |hands| {
            place.book.file(&place.vault, &*self.entropy, hands, application, now)
        })?;
        self.settle(&place).map_err(Problem::half_done)?;
        place.book.order(&place.vault, held.id).map_err(|e| Problem::from(e).half_done())
    }

    /// Carries out what is due of every tenant.
    ///
    /// # Errors
    /// The first that failed; the others were looked at all the same.
    pub fn settle_all(&self) -> Result<(), Problem> {
        let mut failed = None;
        for tenant in self.books.keys() {
            let settled = self.place(tenant).and_then(|place| self.settle(&place).map(drop));
            failed = failed.or(settled.err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Carries out what is due of one tenant.
    ///
    /// # Errors
    /// Those of `Book::tick`.
    pub fn settle(&self, place: &Place<'_>) -> Result<Progress, Problem> {
        let rule = |order: &Order| match place.book.act(&place.vault, order)? {
            Some(act) => self.rule(place.tenant, &act),
            None => Ok(rules::rule_of(self.system(), place.tenant)?.unwrap_or_default()),
        };
        let now = place.vault.clock().now();
        let progress = self
            .with_hands(place.tenant, |hands| place.book.tick(&place.vault, hands, &rule, now))?;
        if place.tenant == SYSTEM && !progress.executed.is_empty() {
            self.follow_rules()?;
        }
        Ok(progress)
    }

    /// Writes into each tenant's own log the rule it lives under, where that has changed.
    ///
    /// # Errors
    /// Those of the vaults.
    pub fn follow_rules(&self) -> Result<(), Problem> {
        for (tenant, vault) in self.tenants().filter(|(tenant, _)| *tenant != SYSTEM) {
            rules::follow(self.system(), vault, tenant)?;
        }
        Ok(())
    }

    /// Runs something with the hands that carry out a tenant's orders.
    fn with_hands<T>(&self, tenant: &str, run: impl FnOnce(&Hands<'_>) -> T) -> T {
        if tenant != SYSTEM {
            return run(&Hands::Tenant);
        }
        let fits = |act: &Act| self.fits(act);
        let carry_out = |ordered: &orders::Ordered<'_>| self.carry_out(ordered);
        run(&Hands::System(Some(People { fits: &fits, carry_out: &carry_out })))
    }

    /// Whether an act on people could be carried out.
    fn fits(&self, act: &Act) -> Result<(), Refusal> {
        let now = self.system().clock().now();
        let known = |human: &DocumentId| match self.directory.person(*human, now) {
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::new("HUMAN_UNKNOWN", "nobody of that name is here")),
        };
        let steps_down = |human: &DocumentId| {
            let fix = "make somebody else admin on main for good first";
            let may = self.directory.may_step_down(*human, now);
            may.map_err(|refused| Refusal::new(refused.code(), fix))
        };
        match act {
            Act::GrantRole { human, grants } => {
                known(human)?;
                fitting(grants, now)?;
                let ends = |grant: &&Ordered| grant.tenant == HOME && grant.until.is_some();
                let mut ending = grants.iter().filter(ends);
                match ending.any(|grant| grant.role == Role::Admin.name()) {
                    true => steps_down(human),
                    false => Ok(()),
                }
            }
            Act::CreateHuman { grants, .. } => fitting(grants, now),
            Act::RevokeRole { human, tenant, role } => {
                let role = role_named(role)?;
                let person = self.directory.person(*human, now);
                let grants = person.map_err(|refused| unknown(&refused))?.grants;
                if !grants.iter().any(|had| had.tenant == *tenant && had.role == role) {
                    return Err(unknown(&Refused::Unknown { code: "GRANT_UNKNOWN" }));
                }
                match tenant == HOME && role == Role::Admin {
                    true => steps_down(human),
                    false => Ok(()),
                }
            }
            Act::ResetFactor { human } | Act::DisableHuman { human } => {
                known(human).and_then(|()| steps_down(human))
            }
            _ => Ok(()),
        }
    }

    /// Carries out an act on people; asked again for the same order, it changes nothing.
    fn carry_out(&self, ordered: &orders::Ordered<'_>) -> VaultResult<Option<EntryIndex>> {
        let by = match ordered.story.requester() {
            Some(Actor::Human { id, .. }) => Who::Human(*id),
            Some(Actor::Machine { id, .. }) => Who::Token(*id),
            // Nobody who has a document: the order stands for them.
            _ => Who::Human(ordered.order),
        };
        let mut pause = 0;
        for tenant in ordered.act.tenants().into_iter().chain([SYSTEM]) {
            let rule = rules::rule_of(self.system(), tenant).map_err(inner)?.unwrap_or_default();
            pause = pause.max(rule.cooling_off_seconds.saturating_mul(NANOS_PER_SECOND));
        }
        let deeds: Deeds<'_> = self.hands(pause);
        let people = &self.directory;
        let done = match ordered.act {
            Act::CreateHuman { login, grants } => {
                let grants = granted(grants, deeds.now).map_err(Error::from)?;
                let (login, name) = (login.clone(), login.clone());
                let new = NewHuman { login, name, grants };
                people.create_human(&deeds, by, DocumentId(ordered.job.0), &new).map(drop)
            }
            Act::GrantRole { human, grants } => {
                let grants = granted(grants, deeds.now).map_err(Error::from)?;
                people.grant(&deeds, by, *human, &grants)
            }
            Act::RevokeRole { human, tenant, role } => {
                let role = role_named(role).map_err(Error::from)?;
                people.revoke_role(&deeds, by, *human, tenant, role)
            }
            Act::ResetFactor { human } => people.reset_factor(&deeds, by, *human),
            Act::DisableHuman { human } => people.disable(&deeds, by, *human),
            _ => Ok(()),
        };
        done.map(|()| None).map_err(|error| match error {
            IdentityError::Vault(error) => error,
            IdentityError::Refused(refused) => Error::denied(refused.code(), refused.to_string()),
        })
    }
}

fn inner(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Vault(error) => error,
        Trouble::Refused(refusal) => refusal.into(),
    }
}

fn unknown(refused: &Refused) -> Refusal {
    Refusal::new(refused.code(), "nothing of that name is here")
}

fn role_named(name: &str) -> Result<Role, Refusal> {
    let fix = "use a role that `chancery access matrix` prints";
    Role::from_name(name).ok_or_else(|| Refusal::new("GRANT_ROLE", fix).field("role"))
}

/// Whether grants of an act could be given.
fn fitting(grants: &[Ordered], now: UtcNanos) -> Result<(), Refusal> {
    check_grants(&granted(grants, now)?, now).map_err(|refused| match refused {
        Refused::Invalid(refusal) => refusal,
        other => Refusal::new(other.code(), "give other grants"),
    })
}

/// The grants of an act as a person's document has them.
fn granted(grants: &[Ordered], now: UtcNanos) -> Result<Vec<Grant>, Refusal> {
    let one = |grant: &Ordered| {
        let role = role_named(&grant.role)?;
        let (until, sources, break_glass) = (grant.until, grant.sources.clone(), grant.break_glass);
        Ok(Grant { until, sources, break_glass, ..Grant::of(&grant.tenant, role, now) })
    };
    grants.iter().map(one).collect()
}
