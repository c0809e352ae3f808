//! What a vault was asked and what it answered, with the disk's operation count at each: so that
//! for every instant it is known what had been acknowledged, and what may or may not have happened.

use crate::support::clinic::{Visit, append_json, patient};
use crate::support::keyhole::Keyhole;
use crate::support::sim::SimDisk;
use crate::support::split::Split;
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::event::{Draft, Identifier};
use chancery::base::id::{CaseId, DocumentId, Hash32, TenantId};
use chancery::base::record::Fate;
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex};
use chancery::format::control::{Continues, DocumentKind, Scope};
use chancery::format::trust::Trust;
use chancery::format::vkey::Verifier;
use chancery::vault::Vault;
use chancery::vault::append::Receipt;
use chancery::vault::config::Config;
use chancery::vault::error::{Error, Result};
use chancery::vault::logkey::kek_of;
use chancery::vault::registry::Put;
use chancery::vault::scrub::Scrub;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub(super) const HOME: &str = "/sim";
pub(super) const MIRROR: &str = "/mirror";
const START: &str = "2026-11-21T08:00:00Z";

/// Something asked of the vault.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Make,
    Append {
        sources: Vec<String>,
        visits: Vec<Visit>,
        day: Day,
        receipts: Vec<(EntryIndex, Hash32)>,
    },
    /// These names' records but those of the spared classes.
    Erase {
        names: Vec<String>,
        spared: Vec<&'static str>,
        secrets: Vec<[u8; 32]>,
    },
    /// What an erasure had to spare.
    Complete {
        names: Vec<String>,
        classes: Vec<&'static str>,
    },
    Link {
        names: [String; 2],
    },
    Hold {
        case: Option<CaseId>,
        name: Option<String>,
    },
    Release {
        case: CaseId,
    },
    Expire {
        days: Vec<ClassDay>,
    },
    Policies {
        version: Option<EntryIndex>,
    },
    /// A version of a document, about somebody or nobody.
    Document {
        key: (DocumentKind, DocumentId),
        version: u64,
        about: Option<String>,
    },
    /// The log was handed over to another key.
    Roll,
    /// Events of a source that names them and does not count them.
    Named {
        ids: Vec<u64>,
        receipts: Vec<(EntryIndex, Hash32)>,
    },
    /// Anything whose only trace is in the log.
    Other,
}

/// An act, when it was asked and when it was answered; also what became of it if that was found
/// out later.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) act: Act,
    asked: u64,
    answered: Option<u64>,
    settled: Option<bool>,
    /// Whether that was found out by looking.
    learned: bool,
}

/// The instant after every operation, before anybody looked what became of what was not answered.
pub(super) const NOW: u64 = u64::MAX - 1;

/// What must hold of a deed at some instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Sure {
    Never,
    Maybe,
    Certain,
}

impl Deed {
    pub(super) fn at(&self, instant: u64) -> Sure {
        match (self.settled, self.answered) {
            // What was learnt after an earlier fault is known whatever the newest one left open.
            (Some(happened), _) if instant == u64::MAX || (self.learned && instant == NOW) => {
                if happened {
                    Sure::Certain
                } else {
                    Sure::Never
                }
            }
            (_, Some(answered)) if answered <= instant => Sure::Certain,
            _ if self.asked <= instant => Sure::Maybe,
            _ => Sure::Never,
        }
    }
}

/// A vault under test, and whatever it was told.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) disk: SimDisk,
    pub(super) clock: Arc<HandClock>,
    pub(super) deeds: Vec<Deed>,
    /// Checkpoints the vault has shown, and when.
    pub(super) notes: Vec<(u64, String)>,
    /// The keys that are pinned from the beginning: the log's first one, and the reports'.
    pinned: Option<(Verifier, Verifier)>,
    pub(super) config: Config,
    /// The log this one takes up after.
    pub(super) continues: Option<Continues>,
    /// The disk of the mirror cannot be reached.
    pub(super) away: bool,
    /// The disk as the vault opened last sees it.
    split: Option<Split>,
    pub(super) tenant: Option<TenantId>,
    pub(super) seed: u64,
    pub(super) seq: u64,
    /// Whether the keys an erased person had are noted before the erasure.
    pub(super) keyhole: bool,
    opened: u64,
}

/// Months pass in the stories, so a person has accepted the clock.
fn config() -> Config {
    Config { accept_time: true, ..world::config(Path::new(HOME)) }
}

impl Teller {
    pub(super) fn new(seed: u64) -> Self {
        Teller {
            disk: SimDisk::new(),
            clock: HandClock::at(START),
            deeds: Vec::new(),
            notes: Vec::new(),
            pinned: None,
            config: config(),
            continues: None,
            away: false,
            split: None,
            tenant: None,
            seed,
            seq: 0,
            keyhole: false,
            opened: 0,
        }
    }

    /// A world on a disk; every opening draws other randomness.
    pub(super) fn world(&mut self, disk: &SimDisk) -> chancery::vault::World {
        self.opened += 1;
        let split = Split::new(disk, MIRROR);
        if self.away {
            split.fail_after(1);
        }
        self.split = Some(split.clone());
        world(Arc::new(split), &self.clock, self.seed * 1_000_003 + self.opened)
    }

    pub(super) fn make(&mut self) -> Result<Vault> {
        let disk = self.disk.clone();
        let own = self.world(&disk);
        let vault = self.tell(Act::Make, |told| {
            Vault::init_after(own, &told.config, "vault.example", told.continues.clone())
        })?;
        self.meet(&vault);
        Ok(vault)
    }

    fn meet(&mut self, vault: &Vault) {
        self.pinned = Some((vault.log_key().clone(), vault.report_signer().verifier().clone()));
        self.tenant = Some(vault.tenant());
    }

    /// The mirror's disk is gone from its `n`-th operation on.
    pub(super) fn break_mirror(&self, n: u64) {
        self.split.as_ref().expect("an open vault").fail_after(n);
    }

    /// The same on a copy of the disk, with a clock of its own.
    pub(super) fn fork(&self) -> Self {
        Teller { disk: self.disk.fork(), clock: self.clock.fork(), ..self.clone() }
    }

    /// What somebody trusts who pinned the first keys and heard nothing since.
    pub(super) fn first_trust(&self) -> Option<Trust> {
        let (log, report) = self.pinned.as_ref()?;
        Trust::of(std::slice::from_ref(log), std::slice::from_ref(report)).ok()
    }

    /// What somebody trusts who pinned the first key and was given every roll since.
    pub(super) fn trust(&self, vault: &Vault) -> Option<Trust> {
        let mut trust = self.first_trust()?;
        for roll in vault.key_rolls() {
            trust.roll(roll.as_bytes()).expect("a roll of the key before");
        }
        Some(trust)
    }

    pub(super) fn open(&mut self) -> Result<Vault> {
        let disk = self.disk.clone();
        self.open_on(&disk)
    }

    pub(super) fn open_on(&mut self, disk: &SimDisk) -> Result<Vault> {
        Vault::open(self.world(disk), &self.config)
    }

    fn tell<T>(&mut self, act: Act, ask: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let asked = self.disk.operations();
        let at = self.deeds.len();
        self.deeds.push(Deed { act, asked, answered: None, settled: None, learned: false });
        let answer = ask(self);
        match &answer {
            Ok(_) => self.deeds[at].answered = Some(self.disk.operations()),
            // Refused, so nothing of it may have been written.
            Err(Error::Unavailable(_)) => {}
            Err(_) => self.deeds[at].settled = Some(false),
        }
        answer
    }

    pub(super) fn visit(&mut self, nurse: &str, name: &str) -> Visit {
        self.seq += 1;
        Visit::new(self.seq, nurse, name)
    }

    pub(super) fn append(&mut self, vault: &Vault, visits: &[Visit]) -> Result<()> {
        self.append_from(vault, &["ehr"], visits)
    }

    /// Sends one batch, its visits dealt out to these sources in turn.
    pub(super) fn append_from(
        &mut self,
        vault: &Vault,
        sources: &[&str],
        visits: &[Visit],
    ) -> Result<()> {
        let day = vault.clock().now().day();
        let names = sources.iter().map(|source| (*source).to_owned()).collect();
        let (visits_told, receipts) = (visits.to_vec(), Vec::new());
        let act = Act::Append { sources: names, visits: visits_told, day, receipts };
        let receipts = self.tell(act, |_| send(vault, sources, visits))?;
        let now = self.disk.operations();
        let notes: BTreeSet<&str> = receipts.iter().map(|r| &*r.checkpoint).collect();
        self.notes.extend(notes.into_iter().map(|note| (now, note.to_owned())));
        if let Some(Act::Append { receipts: told, .. }) = self.deeds.last_mut().map(|d| &mut d.act)
        {
            *told = receipts.iter().map(|r| (r.index, r.leaf)).collect();
        }
        Ok(())
    }

    /// Erases a person and whoever is linked; `spared` names classes a floor or hold keeps.
    pub(super) fn erase(
        &mut self,
        vault: &Vault,
        name: &str,
        spared: &[&'static str],
    ) -> Result<()> {
        let names: Vec<String> = self.peers(name).into_iter().collect();
        let mut secrets = Vec::new();
        if let (true, Some(tenant)) = (self.keyhole && spared.is_empty(), self.tenant) {
            let hole = Keyhole::new(&Path::new(HOME).join("keys"), tenant);
            for name in &names {
                secrets.extend(hole.secrets(&self.disk, &patient(name)));
            }
        }
        let act = Act::Erase { names, spared: spared.to_vec(), secrets };
        self.tell(act, |_| vault.erase(&[patient(name)], "gdpr-17-1", &two_people())).map(drop)
    }

    /// Nodes the key tree ever had.
    pub(super) fn nodes(&self) -> usize {
        let keys = Path::new(HOME).join("keys");
        self.tenant.map_or(0, |tenant| Keyhole::new(&keys, tenant).nodes(&self.disk))
    }

    /// Whoever is linked with a name now, itself included, as far as that is certain.
    pub(super) fn peers(&self, name: &str) -> BTreeSet<String> {
        let mut groups: Vec<BTreeSet<String>> = Vec::new();
        for deed in &self.deeds {
            if deed.at(u64::MAX) != Sure::Certain {
                continue;
            }
            match &deed.act {
                Act::Link { names } => {
                    let mut both = BTreeSet::from(names.clone());
                    groups.retain(|group| {
                        let apart = group.is_disjoint(&both);
                        if !apart {
                            both.extend(group.iter().cloned());
                        }
                        apart
                    });
                    groups.push(both);
                }
                Act::Erase { names, .. } => {
                    groups.retain(|group| names.iter().all(|name| !group.contains(name)));
                }
                _ => {}
            }
        }
        let own = groups.into_iter().find(|group| group.contains(name));
        own.unwrap_or_else(|| BTreeSet::from([name.to_owned()]))
    }

    pub(super) fn link(&mut self, vault: &Vault, one: &str, other: &str) -> Result<()> {
        let act = Act::Link { names: [one.to_owned(), other.to_owned()] };
        let pair: [Identifier; 2] = [patient(one), patient(other)];
        self.tell(act, |_| vault.link(&pair, &two_people())).map(drop)
    }

    pub(super) fn hold(&mut self, vault: &Vault, name: &str) -> Result<CaseId> {
        let person = vault.persons_named(&[patient(name)])?[0];
        let name = Some(name.to_owned());
        self.hold_scope(vault, Scope::Person { person }, name)
    }

    pub(super) fn hold_scope(
        &mut self,
        vault: &Vault,
        scope: Scope,
        name: Option<String>,
    ) -> Result<CaseId> {
        let act = Act::Hold { case: None, name };
        let (case, _) = self.tell(act, |_| vault.set_hold(None, "case", scope, &two_people()))?;
        if let Some(Act::Hold { case: told, .. }) = self.deeds.last_mut().map(|d| &mut d.act) {
            *told = Some(case);
        }
        Ok(case)
    }

    pub(super) fn release(&mut self, vault: &Vault, case: CaseId) -> Result<()> {
        self.tell(Act::Release { case }, |_| vault.release_hold(case, &two_people())).map(drop)
    }

    /// Expires whatever is due; `completes` names whose spared classes fall with it.
    pub(super) fn expire(
        &mut self,
        vault: &Vault,
        completes: &[(&str, &[&'static str])],
    ) -> Result<()> {
        let now = vault.clock().now();
        let due = vault.retention_plan()?.into_iter();
        let due = due.filter(|p| p.held.is_empty() && p.due.is_some_and(|due| due <= now));
        let days: Vec<ClassDay> = due.map(|p| p.class_day).collect();
        let first = self.deeds.len();
        let asked = self.disk.operations();
        for (name, classes) in completes {
            let act = Act::Complete { names: vec![(*name).to_owned()], classes: classes.to_vec() };
            self.deeds.push(Deed { act, asked, answered: None, settled: None, learned: false });
        }
        let today = Some(now.day());
        let done = self.tell(Act::Expire { days: days.clone() }, |_| vault.expire(today))?;
        let found: BTreeSet<ClassDay> = done.class_days.into_iter().collect();
        assert_eq!(found, days.into_iter().collect(), "what was planned expired");
        assert_eq!(done.erasures.len(), completes.len());
        let answered = self.deeds.last().and_then(|deed| deed.answered);
        self.deeds[first..].iter_mut().for_each(|deed| deed.answered = answered);
        Ok(())
    }

    pub(super) fn policies(&mut self, vault: &Vault) -> Result<()> {
        let mut changed = self.config.clone();
        let classes = changed.policies.get_mut("classes.toml").expect("a policy");
        classes.push_str(&format!("\n# Revision {}.\n", self.deeds.len()));
        let act = Act::Policies { version: None };
        let at = self.tell(act, |_| vault.apply_policies(&changed, &two_people()))?;
        if let Some(Act::Policies { version }) = self.deeds.last_mut().map(|d| &mut d.act) {
            *version = Some(at);
        }
        Ok(())
    }

    /// Puts the next version of a document, which says which one it is.
    pub(super) fn document(
        &mut self,
        vault: &Vault,
        key: (DocumentKind, DocumentId),
        about: Option<&str>,
    ) -> Result<()> {
        let ((kind, id), gone) = (key, false);
        let known = vault.facts_now().documents.get(&key).map_or(0, |fact| fact.version);
        let (body, subjects) = (version_text(known + 1), about.map(patient));
        let (body, subjects) = (body.as_bytes(), subjects.as_slice());
        let put = Put { kind, id, expect: known, gone, body, subjects };
        let about = about.map(str::to_owned);
        let act = Act::Document { key, version: known + 1, about };
        self.tell(act, |_| vault.put_document(&put)).map(drop)
    }

    pub(super) fn checkpoint(&mut self, vault: &Vault) -> Result<()> {
        let note = self.tell(Act::Other, |_| vault.checkpoint())?;
        self.notes.push((self.disk.operations(), note.to_string()));
        Ok(())
    }

    /// Hands the log over to another key, and opens the vault again.
    pub(super) fn roll(&mut self, vault: Vault) -> Result<Vault> {
        let disk = self.disk.clone();
        let kek = kek_of(&self.world(&disk), &self.config)?;
        self.tell(Act::Roll, |_| vault.roll_log_key(&kek, &two_people()))?;
        self.open()
    }

    /// Sends events that bear these ids and no number.
    pub(super) fn named(&mut self, vault: &Vault, ids: &[u64]) -> Result<()> {
        let texts: Vec<String> = ids.iter().map(|id| named(*id)).collect();
        let act = Act::Named { ids: ids.to_vec(), receipts: Vec::new() };
        let receipts = self.tell(act, |_| append_json(vault, "app", &texts))?;
        if let Some(Act::Named { receipts: told, .. }) = self.deeds.last_mut().map(|d| &mut d.act) {
            *told = receipts.iter().map(|r| (r.index, r.leaf)).collect();
        }
        Ok(())
    }

    pub(super) fn compact(&mut self, vault: &Vault) -> Result<(u64, u64)> {
        self.tell(Act::Other, |_| vault.compact_keys())
    }

    pub(super) fn pack(&mut self, vault: &Vault) -> Result<u64> {
        self.tell(Act::Other, |_| vault.pack()).map(|packed| packed.files)
    }

    /// Reads everything again, a stretch at a time, so that the place is stored in between.
    pub(super) fn scrub(&mut self, vault: &Vault) -> Result<()> {
        let mut scrub = Scrub::resume(vault, false, Some(4_000));
        let mut now = vault.clock().now();
        self.tell(Act::Other, |_| {
            loop {
                now.0 += 1_000_000_000;
                let progress = scrub.tick(vault, now)?;
                assert_eq!(progress.findings, []);
                if progress.finished.is_some() {
                    return Ok(());
                }
            }
        })
    }

    pub(super) fn disclose(&mut self, vault: &Vault, index: EntryIndex) -> Result<()> {
        let fields = ["actor.id"];
        self.tell(Act::Other, |_| vault.disclose(index, &fields, "order 4", "court", "dana"))
            .map(drop)
    }

    /// Whether the vault was acknowledged at an instant.
    pub(super) fn made(&self, instant: u64) -> bool {
        let mut deeds = self.deeds.iter();
        deeds.any(|d| matches!(d.act, Act::Make) && d.at(instant) == Sure::Certain)
    }

    /// Acts after deed `number` that may have happened at an instant.
    pub(super) fn may_follow(&self, number: usize, instant: u64) -> impl Iterator<Item = &Act> {
        let later = self.deeds[number..].iter();
        later.filter(move |deed| deed.at(instant) != Sure::Never).map(|deed| &deed.act)
    }

    /// The fates every record may have at an instant, by its source's number: what deed sent it,
    /// the visit, and the fates.
    pub(super) fn expected(&self, instant: u64) -> BTreeMap<u64, (usize, Visit, BTreeSet<Fate>)> {
        let mut all = BTreeMap::new();
        for (number, deed) in self.deeds.iter().enumerate() {
            let Act::Append { visits, day, .. } = &deed.act else { continue };
            if deed.at(instant) == Sure::Never {
                continue;
            }
            for visit in visits {
                let fates = self.fates(number, visit, *day, instant);
                all.insert(visit.seq, (number, visit.clone(), fates));
            }
        }
        all
    }

    fn fates(&self, number: usize, visit: &Visit, day: Day, instant: u64) -> BTreeSet<Fate> {
        let (mut erased, mut expired) = (Sure::Never, Sure::Never);
        let class_day = ClassDay { class: ClassId(class_number(visit.class)), day };
        for deed in &self.deeds[number + 1..] {
            let sure = deed.at(instant);
            match &deed.act {
                Act::Erase { names, spared, .. }
                    if names.contains(&visit.patient) && !spared.contains(&visit.class) =>
                {
                    erased = erased.max(sure);
                }
                Act::Complete { names, classes }
                    if names.contains(&visit.patient) && classes.contains(&visit.class) =>
                {
                    erased = erased.max(sure);
                }
                Act::Expire { days } if days.contains(&class_day) => {
                    expired = expired.max(sure);
                }
                _ => {}
            }
        }
        let mut fates = match erased {
            _ if expired == Sure::Certain => return BTreeSet::from([Fate::Expired]),
            Sure::Certain => BTreeSet::from([Fate::Erased]),
            Sure::Maybe => BTreeSet::from([Fate::Erased, Fate::Open]),
            Sure::Never => BTreeSet::from([Fate::Open]),
        };
        if expired == Sure::Maybe {
            fates.insert(Fate::Expired);
        }
        fates
    }

    /// Holds in force, as far as that is certain.
    pub(super) fn holds(&self) -> BTreeMap<CaseId, Option<String>> {
        let mut holds = BTreeMap::new();
        for deed in self.deeds.iter().filter(|deed| deed.at(u64::MAX) == Sure::Certain) {
            match &deed.act {
                Act::Hold { case: Some(case), name } => drop(holds.insert(*case, name.clone())),
                Act::Release { case } => drop(holds.remove(case)),
                _ => {}
            }
        }
        holds
    }

    /// Deeds that were never answered and of which nobody knows yet what became of them.
    pub(super) fn open_ends(&self) -> Vec<usize> {
        let open = |deed: &Deed| deed.answered.is_none() && deed.settled.is_none();
        (0..self.deeds.len()).filter(|n| open(&self.deeds[*n])).collect()
    }

    /// Notes what became of a deed.
    pub(super) fn settle(&mut self, number: usize, happened: bool) {
        let deed = &mut self.deeds[number];
        (deed.settled, deed.learned) = (Some(happened), true);
    }
}

/// The body of a version.
pub(super) fn version_text(version: u64) -> String {
    format!(r#"{{"version":{version}}}"#)
}

/// Number of a class of the clinic in the default policies.
fn class_number(class: &str) -> u16 {
    match class {
        "90d" => 3,
        "1y" => 4,
        _ => 5,
    }
}

pub(super) fn named(id: u64) -> String {
    format!(
        "{{\"id\":\"e{id}\",\"action\":\"record.open\",\"actor\":{{\"id\":\"n1\",\"type\":\"user\"}},\
         \"data\":{{\"note\":\"note {id}\"}}}}"
    )
}

pub(super) fn send(vault: &Vault, sources: &[&str], visits: &[Visit]) -> Result<Vec<Receipt>> {
    let texts: Vec<String> = visits.iter().map(Visit::json).collect();
    if let [source] = sources {
        return append_json(vault, source, &texts);
    }
    let sources = sources.iter().cycle();
    let drafts: Vec<Draft<'_>> = texts
        .iter()
        .zip(sources)
        .map(|(text, source)| Draft { source, json: text.as_bytes() })
        .collect();
    vault.append(&drafts)
}
