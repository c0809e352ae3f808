//! One scene for every operation that changes the disk: what comes before it, and the operation
//! itself. Everything before is acknowledged and synced; the crash falls into the operation.

use super::told::Teller;
use super::upkeep::upkeep;
use crate::support::clinic::Visit;
use chancery::base::entry::Kind;
use chancery::base::id::DocumentId;
use chancery::base::unit::{ClassId, EntryIndex};
use chancery::format::control::{DocumentKind, Scope};
use chancery::vault::Vault;
use chancery::vault::error::Result;

/// An operation under test.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// Sets the vault up: its mirror, its sizes.
    pub(super) setup: fn(&mut Teller),
    /// Makes the state the operation starts from.
    pub(super) before: fn(&mut Teller, &Vault) -> Result<()>,
    /// The operation.
    pub(super) act: fn(&mut Teller, &Vault) -> Result<()>,
    /// What follows it and closes the vault meanwhile.
    pub(super) then: fn(&mut Teller, Vault) -> Result<Vault>,
    /// Whether the operation really did what the scene is named after.
    pub(super) done: fn(&Teller, &Vault) -> bool,
    /// Whether what an attacker could reach is worth computing.
    pub(super) forgets: bool,
}

/// A small clinic: two nurses, some patients in all classes, one pair linked.
pub(super) fn clinic(told: &mut Teller, vault: &Vault) -> Result<()> {
    let mut visits = Vec::new();
    for n in 0..6 {
        visits.push(told.visit(["n1", "n2"][n % 2], &format!("p{}", n % 4)));
    }
    told.append(vault, &visits)?;
    let mut more = vec![told.visit("n1", "living"), told.visit("n2", "p0").class("90d")];
    more.push(told.visit("n1", "p3").class("6y"));
    told.append(vault, &more)?;
    told.link(vault, "p0", "p0-too")?;
    let visit = told.visit("n2", "p0-too");
    told.append(vault, &[visit])
}

pub(super) fn nothing(_: &mut Teller, _: &Vault) -> Result<()> {
    Ok(())
}

fn stays(_: &mut Teller, vault: Vault) -> Result<Vault> {
    Ok(vault)
}

fn always(_: &Teller, _: &Vault) -> bool {
    true
}

pub(super) fn has(vault: &Vault, kind: Kind) -> bool {
    let mut all = (0..vault.size().0).map(EntryIndex);
    all.any(|index| vault.entry(index).is_ok_and(|entry| entry.head.kind == kind))
}

pub(super) fn many(told: &mut Teller, names: &str, count: usize) -> Vec<Visit> {
    (0..count).map(|n| told.visit("n1", &format!("{names}{n}"))).collect()
}

/// A day passes, and the first entry of the new day is there.
pub(super) fn tomorrow(told: &mut Teller, vault: &Vault, days: u64) -> Result<()> {
    told.clock.pass_days(days);
    let visit = told.visit("n1", "living");
    told.append(vault, &[visit])?;
    calm(vault)
}

/// Waits until nothing is on its way: the housekeeper's seals are in the log, all is published.
pub(super) fn calm(vault: &Vault) -> Result<()> {
    vault.settle();
    vault.checkpoint()?;
    vault.settle();
    Ok(())
}

pub(super) fn plain(name: &'static str, act: fn(&mut Teller, &Vault) -> Result<()>) -> Scene {
    let (setup, then): (fn(&mut Teller), _) = (|_| {}, stays as fn(&mut Teller, Vault) -> _);
    Scene { name, setup, before: clinic, act, then, done: always, forgets: false }
}

fn appends() -> Vec<Scene> {
    let one = plain("append one", |told, vault| {
        let visit = told.visit("n1", "living");
        told.append(vault, &[visit])
    });
    let batch = plain("append a batch", |told, vault| {
        let mut visits = many(told, "p", 4);
        visits.push(told.visit("n2", "p1").class("90d"));
        visits.push(told.visit("n2", "p2").class("6y"));
        told.append(vault, &visits)
    });
    let sources = plain("append from known and new sources", |told, vault| {
        let visits = many(told, "p", 3);
        told.append_from(vault, &["ehr", "lab", "ward"], &visits)?;
        let visits = many(told, "p", 2);
        told.append_from(vault, &["lab", "radiology"], &visits)
    });
    let persons = plain("insert new persons", |told, vault| {
        let visits = many(told, "new", 3);
        told.append(vault, &visits)?;
        let visit = told.visit("n-new", "new1").class("90d");
        told.append(vault, &[visit])
    });
    let growth = Scene {
        done: |told, vault| told.nodes() >= 3 && has(vault, Kind::KeyRoll),
        ..plain("growth of the key tree", |told, vault| {
            let visits = many(told, "grown", 24);
            told.append(vault, &visits)
        })
    };
    let split = Scene {
        before: |told, vault| {
            clinic(told, vault)?;
            let visits = many(told, "grown", 40);
            told.append(vault, &visits)
        },
        done: |told, _| told.nodes() >= 6,
        ..plain("split of a leaf", |told, vault| {
            let visits = many(told, "split", 24);
            told.append(vault, &visits)
        })
    };
    vec![one, batch, sources, persons, growth, split]
}

fn erasures() -> Vec<Scene> {
    let forget = |name, act| Scene { forgets: true, ..plain(name, act) };
    let one = forget("erase one", |told, vault| told.erase(vault, "p1", &[]));
    let several = forget("erase several one by one", |told, vault| {
        told.erase(vault, "p1", &[])?;
        told.erase(vault, "p2", &[])
    });
    let linked = forget("erase linked peers", |told, vault| told.erase(vault, "p0-too", &[]));
    let many_linked = Scene {
        before: |told, vault| {
            clinic(told, vault)?;
            let visits = many(told, "twin", 6);
            told.append(vault, &visits)?;
            (1..6).try_for_each(|n| told.link(vault, "twin0", &format!("twin{n}")))
        },
        ..forget("erase six who are one", |told, vault| told.erase(vault, "twin3", &[]))
    };
    let deferred =
        forget("erase with a class a floor defers", |told, vault| told.erase(vault, "p3", &["6y"]));
    let completed = Scene {
        before: |told, vault| {
            clinic(told, vault)?;
            let visit = told.visit("n1", "p2").class("90d");
            told.append(vault, &[visit])?;
            let today = vault.clock().now().day();
            let scope = Scope::ClassDays { class: ClassId(3), from: today, to: today };
            let case = told.hold_scope(vault, scope, None)?;
            told.erase(vault, "p2", &["90d"])?;
            told.release(vault, case)
        },
        ..forget("expire completes a deferred erasure", |told, vault| {
            told.expire(vault, &[("p2", &["90d"])])
        })
    };
    vec![one, several, linked, many_linked, deferred, completed]
}

fn governance() -> Vec<Scene> {
    let link = plain("link", |told, vault| {
        told.link(vault, "p1", "p2")?;
        told.link(vault, "p2", "unheard-of")
    });
    let expire = Scene {
        before: |told, vault| {
            clinic(told, vault)?;
            tomorrow(told, vault, 1)?;
            let visit = told.visit("n1", "p1").class("90d");
            told.append(vault, &[visit])?;
            tomorrow(told, vault, 100)
        },
        done: |_, vault| vault.facts_now().expired.len() == 2,
        ..plain("expire two days", |told, vault| told.expire(vault, &[]))
    };
    let hold = plain("set and release a hold", |told, vault| {
        let case = told.hold(vault, "p1")?;
        told.release(vault, case)
    });
    let policies = plain("change of policies", |told, vault| told.policies(vault));
    let checkpoint = plain("publish the checkpoint", |told, vault| {
        let visits = many(told, "p", 2);
        told.append(vault, &visits)?;
        told.checkpoint(vault)
    });
    let disclose = plain("disclose", |told, vault| {
        let index = (0..vault.size().0).map(EntryIndex);
        let event = |i: &EntryIndex| vault.entry(*i).is_ok_and(|e| e.head.source_seq == Some(1));
        let index = index.filter(event).last().expect("an event");
        told.disclose(vault, index)
    });
    let day = Scene {
        done: |_, vault| has(vault, Kind::DaySeal),
        ..plain("seal of a day", |told, vault| tomorrow(told, vault, 1))
    };
    let open = plain("open and close", nothing);
    vec![link, expire, hold, policies, checkpoint, disclose, day, open]
}

/// Versions of documents, and whom they are about.
pub(super) fn documents() -> Vec<Scene> {
    const RULE: (DocumentKind, DocumentId) = (DocumentKind::Rule, DocumentId([1; 16]));
    const ORDER: (DocumentKind, DocumentId) = (DocumentKind::Order, DocumentId([2; 16]));
    let put = Scene {
        before: |told, vault| {
            clinic(told, vault)?;
            told.document(vault, RULE, None)
        },
        done: |_, vault| vault.facts_now().documents.len() == 2,
        ..plain("put versions of documents", |told, vault| {
            told.document(vault, RULE, None)?;
            told.document(vault, ORDER, Some("p1"))?;
            told.document(vault, ORDER, Some("unheard-of"))
        })
    };
    let erase = Scene {
        before: |told, vault| {
            clinic(told, vault)?;
            told.document(vault, ORDER, Some("p1"))?;
            told.document(vault, ORDER, None)?;
            told.document(vault, ORDER, Some("p0"))
        },
        forgets: true,
        ..plain("erase whom a document is about", |told, vault| {
            told.erase(vault, "p1", &[])?;
            told.document(vault, ORDER, None)
        })
    };
    vec![put, erase]
}

/// All of them.
pub(super) fn all() -> Vec<Scene> {
    [appends(), erasures(), governance(), documents(), upkeep()].into_iter().flatten().collect()
}
