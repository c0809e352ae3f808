//! A clinic for stories: nurses who open records of patients, and what a vault says of them.

#![allow(dead_code)]

use chancery::base::event::{Draft, Identifier};
use chancery::base::id::Hash32;
use chancery::base::record::{Fate, Record};
use chancery::base::unit::EntryIndex;
use chancery::crypto::hash::leaf_hash;
use chancery::crypto::lanes::Lanes;
use chancery::crypto::merkle::Compact;
use chancery::format::checkpoint::Checkpoint;
use chancery::vault::Vault;
use chancery::vault::append::Receipt;
use chancery::vault::error::Result;
use chancery::vault::read::Reading;

/// One event of the clinic's source.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) seq: u64,
    pub(crate) nurse: String,
    pub(crate) patient: String,
    pub(crate) secret: String,
    pub(crate) class: &'static str,
}

impl Visit {
    pub(crate) fn new(seq: u64, nurse: &str, patient: &str) -> Visit {
        let secret = format!("secret-{seq}-of-{patient}-end");
        Visit { seq, nurse: nurse.into(), patient: patient.into(), secret, class: "1y" }
    }

    /// Another retention class: `90d`, `1y` or `6y`.
    pub(crate) fn class(self, class: &'static str) -> Visit {
        Visit { class, ..self }
    }

    pub(crate) fn json(&self) -> String {
        let Visit { seq, nurse, patient, secret, .. } = self;
        let (category, more) = match self.class {
            "90d" => ("network", r#""severity":0"#),
            "6y" => ("data", r#""severity":3,"purpose":"treatment""#),
            _ => ("data", r#""severity":3"#),
        };
        format!(
            concat!(
                r#"{{"id":"ehr-{seq}","source_seq":{seq},"action":"record.open","#,
                r#""category":"{category}","verb":"read",{more},"outcome":"success","#,
                r#""actor":{{"id":"{nurse}","type":"user","email":"{nurse}@clinic.example"}},"#,
                r#""subjects":[{{"role":"target","identifiers":"#,
                r#"[{{"kind":"patient_id","value":"{patient}"}}]}}],"data":{{"note":"{secret}"}}}}"#
            ),
            seq = seq,
            category = category,
            more = more,
            nurse = nurse,
            patient = patient,
            secret = secret
        )
    }
}

pub(crate) fn append(vault: &Vault, visits: &[Visit]) -> Result<Vec<Receipt>> {
    let texts: Vec<String> = visits.iter().map(Visit::json).collect();
    append_json(vault, "ehr", &texts)
}

pub(crate) fn append_json(vault: &Vault, source: &str, texts: &[String]) -> Result<Vec<Receipt>> {
    let drafts: Vec<Draft<'_>> =
        texts.iter().map(|text| Draft { source, json: text.as_bytes() }).collect();
    vault.append(&drafts)
}

pub(crate) fn identifier(kind: &str, value: &str) -> Identifier {
    Identifier { kind: kind.into(), value: value.into() }
}

pub(crate) fn patient(id: &str) -> Identifier {
    identifier("patient_id", id)
}

pub(crate) fn read(vault: &Vault, index: EntryIndex) -> Record {
    vault.record(index, Reading::OPEN).unwrap()
}

pub(crate) fn read_all(vault: &Vault) -> Vec<Record> {
    let mut out = Vec::new();
    let reading = Reading::OPEN;
    let whole = EntryIndex(0)..EntryIndex(vault.size().0);
    vault
        .for_each_record(whole, reading, &mut |record| {
            out.push(record);
            Ok(())
        })
        .unwrap();
    out
}

/// Every opened value of a record in one text.
pub(crate) fn text(record: &Record) -> String {
    let values = record.fields.iter().filter_map(|f| f.value.as_deref());
    values.map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n")
}

/// Fate of the group that holds `data`.
pub(crate) fn data_fate(record: &Record) -> Fate {
    let field = record.fields.iter().find(|f| &*f.name == "data").unwrap();
    record.groups[usize::from(field.group)]
}

/// Chain, tree and checkpoint agree, recomputed from the entries alone.
pub(crate) fn assert_sound(vault: &Vault, context: &str) {
    // Seals may still be on their way, so what the checkpoint covers is what is looked at.
    vault.settle();
    let note = vault.checkpoint().unwrap();
    let checkpoint = Checkpoint::open(note.as_bytes(), vault.log_key()).unwrap();
    let mut prev = Hash32::ZERO;
    let mut leaves = Vec::new();
    let mut time = 0;
    for index in 0..checkpoint.size.0 {
        let bytes = vault.entry_bytes(EntryIndex(index)).unwrap();
        let entry = vault.entry(EntryIndex(index)).unwrap();
        assert_eq!((entry.index.0, entry.prev), (index, prev), "{context}: chain at {index}");
        assert!(entry.time_log.0 >= time, "{context}: time falls at {index}");
        time = entry.time_log.0;
        prev = leaf_hash(&bytes);
        assert_eq!(vault.leaf(EntryIndex(index)), Some(prev), "{context}: tile at {index}");
        leaves.push(prev);
    }
    let mut tree = Compact::new();
    tree.extend(&Lanes::detect(), &leaves, &mut |_, _| {});
    assert_eq!(checkpoint.root, tree.root(), "{context}: root");
    let facts = vault.facts_now();
    assert!(facts.erasures.values().all(|e| e.done.is_some()), "{context}: erasure open");
    assert!(facts.prunes.values().all(|p| p.done.is_some()), "{context}: expiry open");
}
