//! The book of jobs: their documents in the system vault. The name of a document follows from
//! tenant and job, so that a job of one name is there once and whoever knows the name finds it. It
//! never runs anything.

use crate::base::id::DocumentId;
use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::crypto::hash::sha256;
use crate::format::control::DocumentKind;
use crate::policy::schedule::Zones;
use crate::server::scheduler::defaults;
use crate::server::scheduler::job::{Due, Job, Plan};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::registry::{Document, Put};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Key of the names of documents.
const LABEL: &str = "chancery/v1/service/schedule";
/// Times a change is tried again because somebody else changed the document meanwhile.
const TRIES_MAX: usize = 8;

/// A job as the book has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its document.
    pub id: DocumentId,
    /// Version in force.
    pub version: u64,
    /// The job.
    pub job: Job,
}

/// The jobs of all tenants.
#[derive(Clone)]
pub struct Book {
    system: Arc<Vault>,
    zones: Zones,
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl Book {
    /// The book in a system vault.
    ///
    /// # Errors
    /// Those of `service_key`.
    pub fn open(system: Arc<Vault>, zones: Zones) -> Result<Book> {
        let key = Arc::new(system.service_key(LABEL)?);
        Ok(Book { system, zones, key })
    }

    /// The zones it goes by.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Log time of the system vault: the time that schedules go by.
    pub fn now(&self) -> UtcNanos {
        self.system.clock().now()
    }

    /// The document of a job, whether there is one or not.
    pub fn id(&self, tenant: &str, name: &str) -> DocumentId {
        let hash = sha256(&[&**self.key, tenant.as_bytes(), &[0], name.as_bytes()]).0;
        hash.first_chunk().copied().map_or(DocumentId::ZERO, DocumentId)
    }

    /// Every job, ascending by tenant and name, and the documents that say none.
    ///
    /// # Errors
    /// Those of `documents`.
    pub fn jobs(&self) -> Result<(Vec<Listed>, Vec<DocumentId>)> {
        let (mut jobs, mut strange) = (Vec::new(), Vec::new());
        for document in self.system.documents(DocumentKind::Schedule)? {
            if document.gone {
                continue;
            }
            match listed(&document) {
                Some(job) => jobs.push(job),
                None => strange.push(document.id),
            }
        }
        let name = |plan: &Plan| (plan.tenant.clone(), plan.name.clone());
        jobs.sort_by_key(|listed| name(&listed.job.plan));
        Ok((jobs, strange))
    }

    /// One job.
    ///
    /// # Errors
    /// `NotFound` `SCHEDULE_UNKNOWN`; those of `document`.
    pub fn job(&self, tenant: &str, name: &str) -> Result<Listed> {
        self.at(self.id(tenant, name))?.ok_or(Error::NotFound { code: "SCHEDULE_UNKNOWN" })
    }

    /// The job of a document, if it is there and one.
    pub(crate) fn at(&self, id: DocumentId) -> Result<Option<Listed>> {
        let document = self.system.document(DocumentKind::Schedule, id)?;
        Ok(document.filter(|document| !document.gone).as_ref().and_then(listed))
    }

    /// Makes a job; whether its tenant is there is the caller's to know.
    ///
    /// # Errors
    /// Those of `Plan::check`; `Conflict` `SCHEDULE_EXISTS`; those of the store.
    pub fn make(&self, plan: Plan, by: &str, now: UtcNanos) -> Result<Listed> {
        plan.check(&self.zones, now)?;
        let id = self.id(&plan.tenant, &plan.name);
        let there = self.system.document(DocumentKind::Schedule, id)?;
        if let Some(document) = there.as_ref().filter(|document| !document.gone) {
            return Err(Error::Conflict {
                code: "SCHEDULE_EXISTS",
                first: Some(document.index),
                fix: "change the job that is there, or take another name".to_owned(),
            });
        }
        let version = there.map_or(0, |document| document.version);
        self.put(Listed { id, version, job: Job::new(plan, by, now) })
    }

    /// Sets another plan of a job whose version is known. Tenant and name stay.
    ///
    /// # Errors
    /// Those of `Plan::check`; `SCHEDULE_UNKNOWN`, `VERSION_CONFLICT`.
    pub fn amend(&self, plan: Plan, expect: u64, by: &str, now: UtcNanos) -> Result<Listed> {
        plan.check(&self.zones, now)?;
        let mut listed = self.expected(&plan.tenant, &plan.name, expect)?;
        listed.job.amend(plan, by, now);
        self.put(listed)
    }

    /// Gives a job up; its history stays in the log. A run under way goes on to its end.
    ///
    /// # Errors
    /// `SCHEDULE_UNKNOWN`, `VERSION_CONFLICT`; those of the store.
    pub fn give_up(&self, tenant: &str, name: &str, expect: u64, by: &str) -> Result<()> {
        let mut listed = self.expected(tenant, name, expect)?;
        by.clone_into(&mut listed.job.made_by);
        self.write(&listed, true)
    }

    /// A job in the version that somebody has seen.
    fn expected(&self, tenant: &str, name: &str, expect: u64) -> Result<Listed> {
        let listed = self.job(tenant, name)?;
        match listed.version == expect {
            true => Ok(listed),
            false => Err(Error::Conflict {
                code: "VERSION_CONFLICT",
                first: None,
                fix: format!("version {} of this job is in force: read it again", listed.version),
            }),
        }
    }

    /// Makes the defaults of a tenant that were never there: what an administrator gave up stays
    /// away. Doing it twice does nothing twice.
    ///
    /// # Errors
    /// Those of the store.
    pub fn equip(&self, tenant: &str, now: UtcNanos) -> Result<usize> {
        let mut made = 0;
        for plan in defaults::of(tenant) {
            let id = self.id(&plan.tenant, &plan.name);
            if self.system.document(DocumentKind::Schedule, id)?.is_none() {
                self.make(plan, "chancery", now)?;
                made += 1;
            }
        }
        Ok(made)
    }

    /// Notes that a run of a job begins. None when the job was changed since it was read: then what
    /// was due may not be.
    pub(crate) fn begin(
        &self,
        known: &Listed,
        due: Due,
        by: Option<&str>,
        now: UtcNanos,
    ) -> Result<Option<Listed>> {
        let mut listed = known.clone();
        listed.job.begin(due, by, now);
        match self.put(listed) {
            Err(Error::Conflict { code: "VERSION_CONFLICT", .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Changes a job as it is in force, again if somebody else changed it meanwhile. None when it
    /// is there no more.
    pub(crate) fn update(
        &self,
        known: &Listed,
        change: &dyn Fn(&mut Job),
    ) -> Result<Option<Listed>> {
        let mut listed = known.clone();
        for _ in 0..TRIES_MAX {
            change(&mut listed.job);
            match self.put(listed) {
                Err(Error::Conflict { code: "VERSION_CONFLICT", .. }) => {}
                other => return other.map(Some),
            }
            match self.at(known.id)? {
                Some(newer) => listed = newer,
                None => return Ok(None),
            }
        }
        Err(Error::Overloaded)
    }

    fn put(&self, mut listed: Listed) -> Result<Listed> {
        self.write(&listed, false)?;
        listed.version += 1;
        Ok(listed)
    }

    fn write(&self, listed: &Listed, gone: bool) -> Result<()> {
        let body = serde_json::to_vec(&listed.job)
            .map_err(|_| Refusal::new("SCHEDULE_NAME", "use plain names"))?;
        let put = Put {
            kind: DocumentKind::Schedule,
            id: listed.id,
            expect: listed.version,
            gone,
            body: &body,
            subjects: &[],
        };
        self.system.put_document(&put).map(drop)
    }
}

fn listed(document: &Document) -> Option<Listed> {
    let job = serde_json::from_slice(document.body.as_deref()?).ok()?;
    Some(Listed { id: document.id, version: document.version, job })
}
