//! The book of a tenant's orders: open ones in memory, every step a version in the registry before
//! it counts. Of two who step at once the registry's compare-and-swap lets one pass; the other is
//! judged again by what the first did. It never executes anything.

use crate::base::event::Identifier;
use crate::base::id::{DocumentId, Hash32, JobId};
use crate::base::refusal::Refusal;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::base::world::{Entropy, random};
use crate::format::control::DocumentKind;
use crate::policy::order::act::{Act, Named, order_hash};
use crate::policy::order::rule::Rule;
use crate::policy::order::{Actor, Filing, Order, Party, file};
use crate::server::identity::principal::Who;
use crate::server::orders::paper::{Paper, Sealed, act_of};
use crate::server::orders::{Hands, Held, ORDERS_OPEN_MAX, Result, Trouble};
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::registry::{Document, Put};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock};

/// Times a step is judged again because somebody else stepped first.
const STEPS_AGAIN_MAX: usize = 16;
/// Rows of refused steps kept until they are written down; what does not fit is counted in a row
/// for each verb and code.
const UNNOTED_MAX: usize = 256;
/// Files of one change of policies, in bytes: the paper must fit a document.
const POLICY_BYTES_MAX: usize = 192 << 10;

/// What an order is filed with.
pub struct Application<'a> {
    /// The act; its identifiers as they were given.
    pub act: Act,
    /// Who asks. That they may ask at all is the caller's to say.
    pub by: &'a Party,
    /// The rule in force: `rules::governing`.
    pub rule: Rule,
}

/// A refused step that no order holds: the order is over, or holds enough of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unnoted {
    /// Which order and whose document tried; none in the row of what did not fit.
    pub whose: Option<(DocumentId, Who)>,
    /// `approve`, `reject` or `withdraw`.
    pub tried: &'static str,
    /// Stable code.
    pub code: &'static str,
}

/// A tenant's orders.
pub struct Book {
    unnoted: Mutex<BTreeMap<Unnoted, u64>>,
    open: RwLock<BTreeMap<DocumentId, Held>>,
    /// Orders by the handle of what they do: 32 bytes each.
    jobs: RwLock<BTreeMap<JobId, DocumentId>>,
    /// Documents that name no order and that no order names: cut off by a crash, or rot.
    strays: Vec<DocumentId>,
    /// Held over each step, so that the bound of open orders holds.
    stepping: Mutex<()>,
    /// Held by whoever executes.
    pub(crate) executing: Mutex<()>,
    limit: usize,
}

impl Book {
    /// Reads the tenant's orders.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn open(vault: &Vault) -> Result<Book> {
        Book::with_limit(vault, ORDERS_OPEN_MAX)
    }

    /// As `open`, with another bound of open orders.
    ///
    /// # Errors
    /// As `open`.
    pub fn with_limit(vault: &Vault, limit: usize) -> Result<Book> {
        let (mut open, mut parts) = (BTreeMap::new(), BTreeSet::new());
        let mut jobs = BTreeMap::new();
        let mut others = Vec::new();
        for document in vault.documents(DocumentKind::Order)? {
            match Paper::read(&document)? {
                Some(Paper::Order(order)) => {
                    parts.insert(order.part);
                    let held = held_of(&document, order);
                    jobs.insert(held.order.job, held.id);
                    if held.order.walk().is_ok_and(|state| state.is_open()) {
                        open.insert(held.id, held);
                    }
                }
                Some(Paper::Act(_)) | None => others.push(document.id),
            }
        }
        others.retain(|id| !parts.contains(id));
        let (open, jobs, strays) = (RwLock::new(open), RwLock::new(jobs), others);
        let (stepping, executing) = (Mutex::new(()), Mutex::new(()));
        let unnoted = Mutex::default();
        Ok(Book { unnoted, open, jobs, strays, stepping, executing, limit })
    }

    /// Documents of the kind `order` that belong to no order: the act of a filing that a crash cut
    /// off, which was never acknowledged.
    pub fn strays(&self) -> &[DocumentId] {
        &self.strays
    }

    /// Open orders, the oldest first.
    pub fn open_orders(&self) -> Vec<Held> {
        let view = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Held> = view.values().cloned().collect();
        drop(view);
        all.sort_by_key(|held| (held.order.filed_at(), held.id));
        all
    }

    /// Every order, also closed ones, by name.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn all_orders(&self, vault: &Vault) -> Result<Vec<Held>> {
        let mut all = Vec::new();
        for document in vault.documents(DocumentKind::Order)? {
            if let Some(Paper::Order(order)) = Paper::read(&document)? {
                all.push(held_of(&document, order));
            }
        }
        Ok(all)
    }

    /// An order.
    ///
    /// # Errors
    /// `NotFound` `ORDER_UNKNOWN`; those of the vault.
    pub fn order(&self, vault: &Vault, id: DocumentId) -> Result<Held> {
        let view = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = view.get(&id) {
            return Ok(held.clone());
        }
        drop(view);
        stored(vault, id)
    }

    /// The order under which something is done, if an order it was.
    pub fn of_job(&self, job: JobId) -> Option<DocumentId> {
        self.jobs.read().unwrap_or_else(PoisonError::into_inner).get(&job).copied()
    }

    /// The act of an order; nothing once somebody it is about was erased.
    ///
    /// # Errors
    /// `Evidence` `ORDER_CHANGED` when it is not the one that the order's hash is of.
    pub fn act(&self, vault: &Vault, order: &Order) -> Result<Option<Act>> {
        act_of(vault, order)
    }

    /// Files an order: first the act, sealed to whom it is about, then the order. What could not
    /// be carried out is not filed.
    ///
    /// # Errors
    /// `ORDERS_TOO_MANY`, `ORDER_ACT`, `ORDER_PERSONS`, `STEP_UP_STALE`; `NotFound` for a person or
    /// a case nobody knows; `POLICIES_CHANGED`; those of the vault.
    pub fn file(
        &self,
        vault: &Vault,
        entropy: &dyn Entropy,
        hands: &Hands<'_>,
        application: Application<'_>,
        now: UtcNanos,
    ) -> Result<Held> {
        let Application { act, by, rule } = application;
        let act = normal(vault, act)?;
        act.check()?;
        could_be_done(vault, hands, &act)?;
        let subjects: Vec<Identifier> =
            act.identifiers().iter().filter_map(Named::identifier).collect();
        let salt = Hash32(random(entropy));
        let (part, id) = (DocumentId(random(entropy)), DocumentId(random(entropy)));
        let filing = Filing {
            outline: act.outline()?,
            may_found: act.may_found(),
            hash: order_hash(&act, &salt.0)?,
            part,
            job: JobId(random(entropy)),
            by,
            rule,
        };
        let order = file(filing, now)?;
        let _stepping = self.stepping.lock().unwrap_or_else(PoisonError::into_inner);
        if self.open.read().unwrap_or_else(PoisonError::into_inner).len() >= self.limit {
            let fix = "too many orders wait: decide, withdraw or let some expire first";
            return Err(Refusal::new("ORDERS_TOO_MANY", fix).limit(self.limit as u64).into());
        }
        let sealed = Paper::Act(Sealed { salt, act }).write()?;
        let (kind, body) = (DocumentKind::Order, &*sealed);
        let put = Put { kind, id: part, expect: 0, gone: false, body, subjects: &subjects };
        vault.put_document(&put)?;
        self.write(vault, id, 0, order)
    }

    /// Approves an order whose hash the approver saw. A refusal is noted in the order.
    ///
    /// # Errors
    /// As `policy::order::Order::approve`; `NotFound` `ORDER_UNKNOWN`.
    pub fn approve(
        &self,
        vault: &Vault,
        id: DocumentId,
        who: &Party,
        hash: Hash32,
        now: UtcNanos,
    ) -> Result<Held> {
        self.decide(vault, id, (who, "approve"), now, &|order| order.approve(who, hash, now))
    }

    /// Rejects an order.
    ///
    /// # Errors
    /// As `policy::order::Order::reject`; `NotFound` `ORDER_UNKNOWN`.
    pub fn reject(
        &self,
        vault: &Vault,
        id: DocumentId,
        who: &Party,
        now: UtcNanos,
    ) -> Result<Held> {
        self.decide(vault, id, (who, "reject"), now, &|order| order.reject(who, now))
    }

    /// Withdraws an order.
    ///
    /// # Errors
    /// As `policy::order::Order::withdraw`; `NotFound` `ORDER_UNKNOWN`.
    pub fn withdraw(
        &self,
        vault: &Vault,
        id: DocumentId,
        who: &Party,
        now: UtcNanos,
    ) -> Result<Held> {
        self.decide(vault, id, (who, "withdraw"), now, &|order| order.withdraw(who, now))
    }

    /// A step of somebody: a refusal leaves its version too, as long as the order waits.
    fn decide(
        &self,
        vault: &Vault,
        id: DocumentId,
        (who, tried): (&Party, &'static str),
        now: UtcNanos,
        step: &dyn Fn(&Order) -> std::result::Result<Order, Refusal>,
    ) -> Result<Held> {
        match self.step(vault, id, step) {
            Err(Trouble::Refused(refusal)) => {
                let unchanged = || Refusal::new("ORDER_STATE", "nothing to note");
                let note = |order: &Order| {
                    order.note(&who.actor, tried, refusal.code, now).ok_or_else(unchanged)
                };
                match self.step(vault, id, &note) {
                    Ok(_) => Err(refusal.into()),
                    Err(Trouble::Refused(_)) => {
                        self.count(id, &who.actor, tried, refusal.code);
                        Err(refusal.into())
                    }
                    Err(trouble) => Err(trouble),
                }
            }
            other => other,
        }
    }

    fn count(&self, id: DocumentId, actor: &Actor, tried: &'static str, code: &'static str) {
        let who = match actor {
            Actor::Human { id, .. } => Some(Who::Human(*id)),
            Actor::Machine { id, .. } => Some(Who::Token(*id)),
            Actor::Console { .. } | Actor::Service => None,
        };
        let mut rows = self.unnoted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut row = Unnoted { whose: who.map(|who| (id, who)), tried, code };
        if rows.len() >= UNNOTED_MAX && !rows.contains_key(&row) {
            row.whose = None;
        }
        let count = rows.entry(row).or_default();
        *count = count.saturating_add(1);
    }

    /// Refused steps that no order holds, counted since the last call: for the self-audit.
    pub fn unnoted(&self) -> BTreeMap<Unnoted, u64> {
        std::mem::take(&mut *self.unnoted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts again what could not be written down.
    pub fn count_again(&self, row: Unnoted, count: u64) {
        let mut rows = self.unnoted.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = rows.entry(row).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Takes one step, judged by the newest version.
    pub(crate) fn step(
        &self,
        vault: &Vault,
        id: DocumentId,
        step: &dyn Fn(&Order) -> std::result::Result<Order, Refusal>,
    ) -> Result<Held> {
        let _stepping = self.stepping.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..STEPS_AGAIN_MAX {
            let held = self.order(vault, id)?;
            let next = step(&held.order)?;
            match self.write(vault, id, held.version, next) {
                Err(Trouble::Vault(Error::Conflict { code: "VERSION_CONFLICT", .. })) => {
                    self.keep(stored(vault, id)?);
                }
                other => return other,
            }
        }
        Err(Error::Overloaded.into())
    }

    fn write(&self, vault: &Vault, id: DocumentId, expect: u64, order: Order) -> Result<Held> {
        let paper = Paper::Order(order);
        let (kind, body, subjects) = (DocumentKind::Order, paper.write()?, &[][..]);
        let put = Put { kind, id, expect, gone: false, body: &body, subjects };
        let (index, _) = vault.put_document(&put)?;
        let Paper::Order(order) = paper else { return Err(unknown().into()) };
        let held = Held { id, version: expect + 1, index, order };
        self.keep(held.clone());
        Ok(held)
    }

    fn keep(&self, held: Held) {
        let mut jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
        jobs.insert(held.order.job, held.id);
        drop(jobs);
        let mut view = self.open.write().unwrap_or_else(PoisonError::into_inner);
        match held.order.state().is_open() {
            true => view.insert(held.id, held),
            false => view.remove(&held.id),
        };
    }
}

fn unknown() -> Error {
    Error::NotFound { code: "ORDER_UNKNOWN" }
}

fn held_of(document: &Document, order: Order) -> Held {
    Held { id: document.id, version: document.version, index: document.index, order }
}

/// The newest version in the registry.
fn stored(vault: &Vault, id: DocumentId) -> Result<Held> {
    let document = vault.document(DocumentKind::Order, id)?.ok_or_else(unknown)?;
    match Paper::read(&document)? {
        Some(Paper::Order(order)) => Ok(held_of(&document, order)),
        _ => Err(unknown().into()),
    }
}

/// The act with its identifiers in the form by which persons are found.
fn normal(vault: &Vault, mut act: Act) -> Result<Act> {
    let policies = vault.policies();
    if let Act::Erase { identifiers, .. } | Act::Link { identifiers } = &mut act {
        for named in identifiers {
            let kind = policies.registry().kind(&named.kind).ok_or_else(|| {
                let refusal = Refusal::new("IDENTIFIER_KIND", "use a kind of policies/fields.toml");
                refusal.field("identifiers")
            })?;
            let value = kind.normalise(&named.value)?.ok_or_else(|| {
                let fix = "name a person by an identifier of which something is left";
                Refusal::new("SUBJECT_EMPTY", fix).field("identifiers")
            })?;
            named.value = value.into();
        }
    }
    Ok(act)
}

/// Whether an act could be carried out today: nobody is asked to approve what could not.
fn could_be_done(vault: &Vault, hands: &Hands<'_>, act: &Act) -> Result<()> {
    let elsewhere = || {
        let fix = "acts on records are filed with their tenant, acts on people and rules with the \
                   system";
        Trouble::from(Refusal::new("ORDER_ACT", fix).field("act"))
    };
    match (hands, act) {
        (Hands::Tenant, Act::Erase { identifiers, .. }) => {
            let named: Vec<Identifier> = identifiers.iter().filter_map(Named::identifier).collect();
            // Asked before the act is sealed to whom it names: that would make them known.
            for identifier in named {
                vault.persons_named(&[identifier])?;
            }
            Ok(())
        }
        (Hands::Tenant, Act::Link { .. }) => Ok(()),
        (Hands::Tenant, Act::ReleaseHold { case }) => {
            match vault.facts_now().holds.contains_key(case) {
                true => Ok(()),
                false => Err(Error::NotFound { code: "HOLD_UNKNOWN" }.into()),
            }
        }
        (Hands::Tenant, Act::ApplyPolicies { files, base_hash }) => {
            let size = files.iter().map(|(path, text)| path.len() + text.len()).sum::<usize>();
            if size > POLICY_BYTES_MAX {
                let refusal = Refusal::new("ORDER_ACT", "the policies are too large for an order");
                return Err(refusal.field("files").limit(POLICY_BYTES_MAX as u64).into());
            }
            same_base(vault, *base_hash)?;
            vault.fit_to_follow(files)?;
            Ok(())
        }
        (Hands::System(_), Act::ChangeRule { .. }) => Ok(()),
        (Hands::System(Some(people)), act) if act.is_of_the_system() => Ok((people.fits)(act)?),
        _ => Err(elsewhere()),
    }
}

fn same_base(vault: &Vault, base: Hash32) -> Result<()> {
    let in_force: Option<(EntryIndex, u64, Hash32)> = vault.facts_now().policies;
    match in_force.is_some_and(|(_, _, hash)| hash == base) {
        true => Ok(()),
        false => {
            let first = in_force.map(|(index, ..)| index);
            let fix = "other policies are in force than these were written against: compare, and \
                       propose them anew";
            let fix = fix.to_owned();
            Err(Error::Conflict { code: "POLICIES_CHANGED", first, fix }.into())
        }
    }
}
