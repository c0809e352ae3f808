//! What handlers work with: the vaults, the views over the registry, the bounds. It holds no
//! logic of a resource, and nothing in it is changed while a lock is held across an await.

use crate::base::world::{Clock, Entropy};
use crate::server::body::{Budget, STRANGERS_BYTES_MAX};
use crate::server::cursor::Cursors;
use crate::server::desk::Books;
use crate::server::gate::Gate;
use crate::server::hec::channels::Channels;
use crate::server::idempotency::ledger::Ledger;
use crate::server::identity::Hands;
use crate::server::identity::directory::Directory;
use crate::server::identity::token::Env;
use crate::server::intake::Intake;
use crate::server::log::Log;
use crate::server::metrics::Metrics;
use crate::server::observe::Observer;
use crate::server::orders::book::Book;
use crate::server::problem::Problem;
use crate::server::scheduler::run::Runner;
use crate::server::sources::Sources;
use crate::store::reserve::Kept;
use crate::vault::Vault;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Name of the tenant that keeps people, tokens and settings.
pub const SYSTEM: &str = "system";

/// What is set from outside.
#[derive(Clone)]
pub struct Settings {
    /// Names that a `Host` header may have, with or without a port; an address literal of the
    /// listener is always one of them.
    pub hosts: Vec<String>,
    /// Origins whose pages may send unsafe requests with a session's cookie.
    pub origins: Vec<String>,
    /// Whether an address is a proxy whose `X-Forwarded-For` is believed.
    pub trusted: Arc<dyn Fn(std::net::IpAddr) -> bool + Send + Sync>,
    /// Bytes of a body with events, unpacked.
    pub body_bytes_max: usize,
    /// Free bytes by what lies there: `data`, `keys`, `mirror`.
    pub free: Arc<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>,
    /// What each file system keeps for the vault's own acts.
    pub reserves: Arc<dyn Fn() -> Vec<Kept> + Send + Sync>,
    /// Whether metrics bear the names of tenants.
    pub metrics_by_tenant: bool,
    /// Part of the text of tokens.
    pub env: Env,
}

/// The service's state.
pub struct App {
    /// Vaults by the names of their tenants, `SYSTEM` among them.
    tenants: BTreeMap<String, Arc<Vault>>,
    system: Arc<Vault>,
    /// People, tokens, sessions.
    pub directory: Directory,
    /// Orders, by tenant.
    pub books: Books,
    /// Sources that are registered, by tenant.
    pub sources: BTreeMap<String, Sources>,
    /// Channels of the collector protocol.
    pub channels: Channels,
    /// What runs by itself; none before it begins and after it ended.
    scheduler: RwLock<Option<Runner>>,
    /// Seals cursors.
    pub cursors: Cursors,
    /// Keys of requests that must not be done twice.
    pub ledger: Ledger,
    /// Failures, rates, refusals.
    pub gate: Gate,
    /// Lines and counts.
    pub observer: Observer,
    /// Small batches that wait to be taken together.
    pub intake: Intake,
    /// Room for bodies.
    pub bodies: Budget,
    /// Room for bodies of nobody known.
    pub strangers: Budget,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What is set from outside.
    pub settings: Settings,
}

impl App {
    /// The state over opened vaults, `SYSTEM` among them.
    ///
    /// # Errors
    /// Those of reading the registry.
    pub fn new(
        tenants: BTreeMap<String, Arc<Vault>>,
        system: Arc<Vault>,
        world: &crate::vault::World,
        settings: Settings,
    ) -> Result<App, Problem> {
        let (clock, entropy) = (world.clock.clone(), world.entropy.clone());
        let now = system.clock().now();
        let hands = Hands { system: &system, entropy: &*entropy, now, cooling_off: 0 };
        let directory = Directory::open(&hands, settings.env)?;
        let (mut books, mut sources) = (Books::new(), BTreeMap::new());
        for (name, vault) in &tenants {
            books.insert(name.clone(), Book::open(vault)?);
            sources.insert(name.clone(), Sources::open(vault)?);
        }
        let cursors = Cursors::new(&system, entropy.clone())?;
        let ledger = Ledger::new(&system)?;
        let gate = Gate::new(&*entropy);
        let (bodies, strangers) = (Budget::default(), Budget::of(STRANGERS_BYTES_MAX));
        let observer = Observer {
            log: Log::new(crate::server::router::templates()),
            metrics: Arc::new(Metrics::new(settings.metrics_by_tenant)),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        Ok(App {
            tenants,
            system,
            directory,
            books,
            sources,
            channels: Channels::default(),
            scheduler: RwLock::default(),
            cursors,
            ledger,
            gate,
            observer,
            intake: Intake::default(),
            bodies,
            strangers,
            clock,
            entropy,
            settings,
        })
    }

    /// Takes the running scheduler, or ends it.
    pub fn schedule(&self, runner: Option<Runner>) {
        let before = {
            let mut place = self.scheduler.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, runner)
        };
        // Ended outside the lock: it waits for a task.
        drop(before);
    }

    /// Asks the scheduler.
    ///
    /// # Errors
    /// 503 `SCHEDULER_STOPPED` before it began and after it ended; those of the call.
    pub fn runner<T>(
        &self,
        ask: impl FnOnce(&Runner) -> crate::vault::error::Result<T>,
    ) -> Result<T, Problem> {
        let place = self.scheduler.read().unwrap_or_else(PoisonError::into_inner);
        let stopped =
            || Problem::busy("SCHEDULER_STOPPED", "the service begins or ends: ask again");
        Ok(ask(place.as_ref().ok_or_else(stopped)?)?)
    }

    /// The vault of people, tokens and settings.
    pub fn system(&self) -> &Arc<Vault> {
        &self.system
    }

    /// A tenant's vault.
    ///
    /// # Errors
    /// 404 `TENANT_UNKNOWN`.
    pub fn tenant(&self, name: &str) -> Result<Arc<Vault>, Problem> {
        self.tenants.get(name).cloned().ok_or_else(|| Problem::absent("TENANT_UNKNOWN"))
    }

    /// Every tenant with its vault.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, &Arc<Vault>)> {
        self.tenants.iter().map(|(name, vault)| (name.as_str(), vault))
    }
}

/// Runs what waits for disk, locks or a commit off the event loop.
///
/// # Errors
/// Those of the work; 500 when it panicked, which is our bug.
pub async fn work<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal()))
}
