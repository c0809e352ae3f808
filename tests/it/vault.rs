//! The verbs end to end, on the real and the simulated disk.

use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::event::{Draft, Identifier};
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::Vault;
use chancery::vault::read::Reading;
use std::path::Path;
use std::sync::Arc;

/// Runs a story on both disks.
fn on_both_disks(story: impl Fn(Arc<dyn Disk>, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    story(Arc::new(OsDisk), dir.path());
    story(Arc::new(SimDisk::new()), Path::new("/sim"));
}

fn visit(seq: u64, nurse: &str, patient: &str) -> String {
    let actor = format!(r#"{{"id":"{nurse}","type":"user","email":"{nurse}@clinic.example"}}"#);
    let target = format!(r#"{{"type":"patient","id":"{patient}","name":"Patient {patient}"}}"#);
    let subject = format!(
        r#"{{"role":"target","identifiers":[{{"kind":"patient_id","value":"{patient}"}}]}}"#
    );
    [
        format!(r#"{{"id":"ehr-{seq}","time":"2026-11-21T08:00:00Z","source_seq":{seq},"#),
        format!(r#""actor":{actor},"action":"record.open","category":"data","verb":"read","#),
        format!(r#""outcome":"success","severity":3,"targets":[{target}],"#),
        format!(r#""subjects":[{subject}],"origin":{{"ip":"192.0.2.7"}},"#),
        format!(r#""reason":"ward round","data":{{"ward":"3b","note":"bed {patient}"}}}}"#),
    ]
    .concat()
}

fn drafts(texts: &[String]) -> Vec<Draft<'_>> {
    texts.iter().map(|t| Draft { source: "ehr", json: t.as_bytes() }).collect()
}

fn open_all(vault: &Vault) -> Vec<(String, Vec<Fate>)> {
    let mut out = Vec::new();
    let reading = Reading::OPEN;
    vault
        .for_each_record(EntryIndex(0)..EntryIndex(vault.size().0), reading, &mut |record| {
            let text = record
                .fields
                .iter()
                .map(|f| {
                    let value = f.value.as_deref().map(String::from_utf8_lossy);
                    format!("{}={};", f.name, value.unwrap_or_default())
                })
                .collect();
            out.push((text, record.groups.clone()));
            Ok(())
        })
        .unwrap();
    out
}

#[test]
fn append_read_erase_reopen() {
    on_both_disks(|disk, home| {
        let clock = HandClock::at("2026-11-21T08:00:00Z");
        let config = config(home);
        let vault = Vault::init(world(disk.clone(), &clock, 1), &config, "vault.example").unwrap();
        let texts: Vec<String> =
            (1..=20).map(|n| visit(n, &format!("n{}", n % 3), &format!("p{}", n % 5))).collect();
        let receipts = vault.append(&drafts(&texts)).unwrap();
        assert_eq!(receipts.len(), 20);
        let again = vault.append(&drafts(&texts[3..5])).unwrap();
        assert!(again.iter().all(|r| r.duplicate));
        assert_eq!(again[0].index, receipts[3].index);
        let before = open_all(&vault);
        let fates: Vec<Fate> = before.iter().flat_map(|(_, f)| f.clone()).collect();
        assert!(fates.iter().all(|f| *f == Fate::Open), "{fates:?}");
        assert!(before.iter().any(|(t, _)| t.contains("Patient p3")), "{before:?}");

        let p3 = Identifier { kind: "patient_id".into(), value: "p3".into() };
        let preview = vault.preview_erasure(std::slice::from_ref(&p3)).unwrap();
        assert_eq!(preview.records.values().sum::<u64>(), 4);
        let erased = vault.erase(std::slice::from_ref(&p3), "gdpr-17-1", &two_people()).unwrap();
        let receipt = vault.erasure_receipt(erased.job).unwrap();
        assert!(receipt.contains("mode two-person"), "{receipt}");
        let check = |vault: &Vault| {
            let after = open_all(vault);
            assert!(!after.iter().any(|(t, _)| t.contains("Patient p3") || t.contains("bed p3")));
            assert!(after.iter().any(|(t, _)| t.contains("Patient p2")));
            let n0 = after.iter().filter(|(t, _)| t.contains("n0@clinic.example")).count();
            assert_eq!(n0, 6, "the nurse's own fields stay");
            let fates: Vec<Fate> = after.iter().flat_map(|(_, f)| f.clone()).collect();
            assert!(fates.iter().all(|f| matches!(f, Fate::Open | Fate::Erased)), "{fates:?}");
        };
        check(&vault);
        assert_eq!(
            vault.erase(&[p3], "gdpr-17-1", &two_people()).unwrap_err().code(),
            "SUBJECT_UNKNOWN"
        );
        let size = vault.size();
        drop(vault);
        let vault = Vault::open(world(disk.clone(), &clock, 2), &config).unwrap();
        assert_eq!(vault.size(), size);
        check(&vault);
        let more = visit(21, "n1", "p3");
        vault.append(&drafts(&[more])).unwrap();
        assert!(open_all(&vault).iter().any(|(t, _)| t.contains("Patient p3")), "a new subject");
    });
}

#[test]
fn a_stored_hash_that_is_not_the_entrys_is_made_again_by_opening() {
    let (disk, home) = (SimDisk::new(), Path::new("/sim"));
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let (config, shared) = (config(home), Arc::new(disk.clone()));
    let vault = Vault::init(world(shared.clone(), &clock, 1), &config, "vault.example").unwrap();
    let texts: Vec<String> = (1..=20).map(|n| visit(n, "n1", &format!("p{n}"))).collect();
    let receipts = vault.append(&drafts(&texts)).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    let tile = disk.files().into_iter().find(|path| path.ends_with("tile/0")).unwrap();
    let before = disk.bytes(&tile).unwrap();
    for at in [0, before.len() / 2, before.len() - 1] {
        disk.flip(&tile, at, 0x10);
        assert_ne!(disk.bytes(&tile).unwrap(), before);
        let vault = Vault::open(world(shared.clone(), &clock, 2), &config).unwrap();
        // It lies within what is signed; the signature tells, and the entries give it back.
        let now = disk.bytes(&tile).unwrap();
        assert_eq!(now.get(..before.len()), Some(&before[..]), "byte {at}");
        for receipt in &receipts {
            vault.prove(receipt.index).unwrap();
        }
    }
}
