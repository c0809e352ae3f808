//! A house of two vaults, a tenant's and the system's, on one simulated disk and one clock.

use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, world};
use chancery::base::id::DocumentId;
use chancery::base::unit::UtcNanos;
use chancery::policy::schedule::Zones;
use chancery::server::scheduler::book::Book;
use chancery::server::scheduler::job::{Plan, Run};
use chancery::server::scheduler::task::Task;
use chancery::server::scheduler::{Scheduler, Tenants};
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::error::Result;
use std::path::Path;
use std::sync::Arc;

pub(super) struct House {
    pub(super) disk: SimDisk,
    pub(super) clock: Arc<HandClock>,
    pub(super) main: Arc<Vault>,
    pub(super) system: Arc<Vault>,
}

fn settings(tenant: &str) -> Config {
    let own = config(Path::new("/sim"));
    let (data, keys) = match tenant {
        "main" => (own.data.clone(), own.keys.clone()),
        other => (own.data.join("others").join(other), own.keys.join("others").join(other)),
    };
    Config { data, keys, accept_time: true, ..own }
}

pub(super) fn at(text: &str) -> UtcNanos {
    UtcNanos::parse(text).unwrap()
}

pub(super) fn zones() -> Zones {
    Zones::built_in()
}

pub(super) fn plan(name: &str, task: Task, cron: &str) -> Plan {
    Plan {
        name: name.to_owned(),
        tenant: "main".to_owned(),
        task,
        cron: cron.to_owned(),
        zone: "UTC".to_owned(),
        enabled: true,
        jitter_seconds: 0,
    }
}

impl House {
    pub(super) fn new(start: &str) -> House {
        let (disk, clock) = (SimDisk::new(), HandClock::at(start));
        let init = |tenant: &str, seed| {
            let world = world(Arc::new(disk.clone()), &clock, seed);
            Arc::new(Vault::init(world, &settings(tenant), "vault.example").unwrap())
        };
        let (main, system) = (init("main", 1), init("system", 2));
        House { disk, clock, main, system }
    }

    pub(super) fn open(disk: SimDisk, clock: Arc<HandClock>) -> Result<House> {
        let open = |tenant: &str, seed| {
            let world = world(Arc::new(disk.clone()), &clock, seed);
            Vault::open(world, &settings(tenant)).map(Arc::new)
        };
        let (main, system) = (open("main", 3)?, open("system", 4)?);
        Ok(House { disk, clock, main, system })
    }

    /// Closed, and opened again: whatever was under way is cut short without a word.
    pub(super) fn again(self) -> House {
        let House { disk, clock, main, system } = self;
        drop((Arc::into_inner(main).unwrap(), Arc::into_inner(system).unwrap()));
        House::open(disk, clock).unwrap()
    }

    pub(super) fn book(&self) -> Book {
        Book::open(self.system.clone(), zones()).unwrap()
    }

    pub(super) fn tenants(&self) -> Tenants {
        let (main, system) = (Arc::downgrade(&self.main), Arc::downgrade(&self.system));
        Box::new(move |name| match name {
            "main" => main.upgrade(),
            "system" => system.upgrade(),
            _ => None,
        })
    }

    pub(super) fn scheduler(&self) -> Scheduler {
        self.try_scheduler().unwrap()
    }

    pub(super) fn try_scheduler(&self) -> Result<Scheduler> {
        Scheduler::open(self.book(), self.tenants(), self.now())
    }

    pub(super) fn now(&self) -> UtcNanos {
        self.system.clock().now()
    }

    pub(super) fn until(&self, text: &str) {
        self.clock.pass(at(text).0 - self.now().0);
    }

    pub(super) fn make(&self, scheduler: &mut Scheduler, plan: Plan) {
        self.book().make(plan, "tests", self.now()).unwrap();
        scheduler.book_changed();
    }

    pub(super) fn id(&self, name: &str) -> DocumentId {
        self.book().id("main", name)
    }

    pub(super) fn runs(&self, name: &str) -> Vec<Run> {
        self.book().job("main", name).unwrap().job.runs
    }
}
