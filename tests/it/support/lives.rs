//! Evidence of vaults with a longer life: packed, with a rolled log key, with a key directory that
//! was away during an erasure, scrubbed, taking up after another log. Beside `artefacts`, for
//! comparing verifiers. The same seed gives the same bytes; nothing here judges.

use crate::support::artefacts::{Artefact, Files, below, folder, single, trust_of};
use crate::support::clinic::{Visit, append, patient};
use crate::support::sim::SimDisk;
use crate::support::split::Split;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::event::EventCode;
use chancery::base::id::{DocumentId, Hash32};
use chancery::base::unit::{EntryIndex, TreeSize};
use chancery::format::control::{Continues, DocumentKind};
use chancery::vault::Vault;
use chancery::vault::complete::{About, Asked, Handover};
use chancery::vault::config::Config;
use chancery::vault::logkey::kek_of;
use chancery::vault::registry::Put;
use chancery::vault::scrub::Scrub;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every kind of evidence that `artefacts` has not: all with trust pinned from outside.
pub(crate) fn lives(seed: u64) -> Vec<Artefact> {
    let mut made = packed(seed);
    made.extend(rolled(seed));
    made.extend(mirrored(seed + 100));
    made.extend(continued(seed + 200));
    made.extend(documented(seed + 300));
    made
}

/// Packing in small segments: closed ones become `.pak`, body files of past days are packed.
struct Past {
    disk: SimDisk,
    clock: Arc<HandClock>,
    config: Config,
}

impl Past {
    fn new() -> Past {
        let mut config = config(Path::new("/sim"));
        config.tuning.segment_bytes = 6_000;
        Past { disk: SimDisk::new(), clock: HandClock::at("2026-11-21T08:00:00Z"), config }
    }

    fn world(&self, seed: u64) -> chancery::vault::World {
        world(Arc::new(self.disk.clone()), &self.clock, seed)
    }

    /// Four days, three classes, patient p1 erased before the last day.
    fn fill(&self, vault: &Vault) {
        for day in 0..4u64 {
            if day == 3 {
                vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
            }
            let visit = |n: u64| {
                let class = ["90d", "1y", "6y"][(n % 3) as usize];
                let (nurse, patient) = (format!("n{}", n % 2), format!("p{}", n % 4));
                Visit::new(day * 20 + n, &nurse, &patient).class(class)
            };
            append(vault, &(0..7).map(visit).collect::<Vec<_>>()).unwrap();
            append(vault, &[visit(7)]).unwrap();
            vault.settle();
            self.clock.pass_days(1);
        }
    }
}

/// The same vault before and after it was packed, and files that a packed vault writes.
pub(crate) fn packed(seed: u64) -> Vec<Artefact> {
    let past = Past::new();
    let vault = Vault::init(past.world(seed), &past.config, "vault.example").unwrap();
    let trust = trust_of(&vault);
    past.fill(&vault);
    let since = vault.checkpoint().unwrap().to_string();
    vault.settle();
    let plain = folder("data-plain", below(&past.disk, "/sim/data"), &trust, None);
    vault.pack().unwrap();
    vault.settle();
    let files = below(&past.disk, "/sim/data");
    assert!(files.keys().any(|name| name.ends_with(".pak")), "something is packed");
    let mut made = vec![plain, folder("data-packed", files, &trust, Some(since))];
    let mut bytes = Vec::new();
    vault.prove_range(&Asked::Indexes(EntryIndex(2)..EntryIndex(9)), None, &mut bytes).unwrap();
    made.push(single("range", bytes, &trust));
    let mut bytes = Vec::new();
    let code = About::Code(EventCode::parse("data.read").unwrap());
    vault.prove_answer(&code, &Asked::Everything, None, &mut bytes).unwrap();
    made.push(single("answer-code", bytes, &trust));
    let court = Handover { purpose: "order 4 C 118/26".into(), who: "district court".into() };
    let mut bytes = Vec::new();
    let about = About::Person(vec![patient("p2")]);
    vault.prove_answer(&about, &Asked::Everything, Some(&court), &mut bytes).unwrap();
    made.push(single("answer-person", bytes, &trust));
    made
}

/// A log whose key was rolled: trust names the old key alone, or both.
fn rolled(seed: u64) -> Vec<Artefact> {
    let past = Past::new();
    let vault = Vault::init(past.world(seed), &past.config, "vault.example").unwrap();
    let old = trust_of(&vault);
    append(&vault, &[Visit::new(1, "n0", "p1"), Visit::new(2, "n1", "p2")]).unwrap();
    vault.settle();
    let since = vault.checkpoint().unwrap().to_string();
    let size = vault.size();
    let kek = kek_of(&past.world(0), &past.config).unwrap();
    let roll = vault.roll_log_key(&kek, &two_people()).unwrap();
    let vault = Vault::open(past.world(seed + 1), &past.config).unwrap();
    let receipts = append(&vault, &[Visit::new(3, "n0", "p1")]).unwrap();
    vault.settle();
    let (key, until) = (roll.old.to_string(), roll.until.0);
    let id = key.split('+').nth(1).unwrap();
    let both = format!("{}log {key}\nuntil {id} {until}\n", trust_of(&vault));
    let note = vault.checkpoint().unwrap().to_string();
    let growth = vault.prove_growth(size).unwrap();
    let mut grown = single("growth-rolled", growth, &both);
    grown.since = Some(since.clone().into_bytes());
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let proof = vault.prove(receipts[0].index).unwrap();
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    let files = below(&past.disk, "/sim/data");
    vec![
        single("checkpoint-rolled", note.clone(), &both),
        single("checkpoint-rolled-unpinned", note, &old),
        single("proof-rolled", proof, &both),
        single("receipt-rolled", receipt, &both),
        grown,
        folder("data-rolled", files.clone(), &old, Some(since)),
        folder("data-rolled-both", files, &both, None),
    ]
}

/// An erasure while the second key directory was away, before and after it was brought up.
fn mirrored(seed: u64) -> Vec<Artefact> {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let split = Split::new(&disk, "/mirror");
    let config = Config { mirror: Some(PathBuf::from("/mirror")), ..config(Path::new("/sim")) };
    let on = world(Arc::new(split.clone()), &clock, seed);
    let vault = Vault::init(on, &config, "vault.example").unwrap();
    let trust = trust_of(&vault);
    let visits: Vec<Visit> = (1..7).map(|n| Visit::new(n, "n0", &format!("p{}", n % 3))).collect();
    append(&vault, &visits).unwrap();
    vault.settle();
    split.fail_after(1);
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    let partial = vault.erasure_receipt(erased.job).unwrap();
    assert!(partial.contains(" E2-partial\n"), "{partial}");
    vault.settle();
    vault.checkpoint().unwrap();
    let before = below(&disk, "/sim/data");
    split.heal();
    vault.mend_mirror().unwrap();
    let complete = vault.erasure_receipt(erased.job).unwrap();
    assert!(complete.contains("\nfinal "), "{complete}");
    let mut scrub = Scrub::resume(&vault, true, None);
    while scrub.tick(&vault, vault.clock().now()).unwrap().finished.is_none() {}
    vault.settle();
    vault.checkpoint().unwrap();
    vec![
        single("receipt-partial", partial, &trust),
        single("receipt-final", complete, &trust),
        folder("data-partial", before, &trust, None),
        folder("data-final", below(&disk, "/sim/data"), &trust, None),
    ]
}

/// A log that says it takes up after another.
fn continued(seed: u64) -> Vec<Artefact> {
    let past = Past::new();
    let before = Continues {
        origin: format!("old.example/t/{}", "ab".repeat(16)),
        size: TreeSize(77),
        root: Hash32([9; 32]),
    };
    let made = Vault::init_after(past.world(seed), &past.config, "next.example", Some(before));
    let vault = made.unwrap();
    let trust = trust_of(&vault);
    append(&vault, &[Visit::new(1, "n0", "p1")]).unwrap();
    vault.settle();
    let note = vault.checkpoint().unwrap().to_string();
    let genesis = vault.prove(EntryIndex(0)).unwrap();
    let files: Files = below(&past.disk, "/sim/data");
    vec![
        single("checkpoint-continued", note, &trust),
        single("proof-continued", genesis, &trust),
        folder("data-continued", files, &trust, None),
    ]
}

/// A registry: versions of nobody and of two patients, one of whom is erased; then all is packed.
fn documented(seed: u64) -> Vec<Artefact> {
    let past = Past::new();
    let vault = Vault::init(past.world(seed), &past.config, "vault.example").unwrap();
    let trust = trust_of(&vault);
    append(&vault, &[Visit::new(1, "n0", "p1"), Visit::new(2, "n1", "p2")]).unwrap();
    let both = [patient("p1"), patient("p2")];
    let (kind, id) = (DocumentKind::Order, DocumentId([5; 16]));
    let text = |n: u64| format!(r#"{{"n":{n},"order":"{}"}}"#, "packs well, ".repeat(40));
    for (n, subjects) in [&[][..], &both[1..], &both[..], &both[..1], &[]].into_iter().enumerate() {
        let (expect, text) = (n as u64, text(n as u64));
        let put = Put { kind, id, expect, gone: n == 3, body: text.as_bytes(), subjects };
        vault.put_document(&put).unwrap();
    }
    vault.erase(&both[..1], "gdpr-17-1", &two_people()).unwrap();
    past.clock.pass_days(3);
    append(&vault, &[Visit::new(3, "n0", "p2")]).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    vault.settle();
    let plain = folder("data-documents", below(&past.disk, "/sim/data"), &trust, None);
    assert!(vault.pack().unwrap().files > 0, "something is packed");
    vault.settle();
    let history = vault.document_history(kind, id).unwrap();
    for (n, document) in (0..5).zip(&history) {
        let erased = n == 2 || n == 3;
        let body = document.body.as_ref().map(|body| body.to_vec());
        assert_eq!(body, (!erased).then(|| text(n).into_bytes()), "{document:?}");
    }
    let packed = folder("data-documents-packed", below(&past.disk, "/sim/data"), &trust, None);
    let court = Handover { purpose: "order 4 C 118/26".into(), who: "district court".into() };
    let mut bytes = Vec::new();
    let about = About::Person(both[1..].to_vec());
    vault.prove_answer(&about, &Asked::Everything, Some(&court), &mut bytes).unwrap();
    vec![plain, packed, single("answer-documents", bytes, &trust)]
}
