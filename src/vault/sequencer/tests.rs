//! What the sequencer refuses before anything is written.

use super::*;
use crate::base::id::{EventIdTag, SourceHandle};
use crate::base::unit::{ClassId, Day};
use crate::crypto::hash::State;
use crate::vault::seal::SealedRecord;
use crate::vault::sequencer::admission::readable;

#[test]
fn an_act_that_nobody_could_read_gets_no_place() {
    let sealed = |kind, clear: &str| Sealed {
        day: Day(1),
        entries: Vec::new(),
        files: Vec::new(),
        records: vec![SealedRecord {
            kind,
            entry: 0..0,
            midstate: State::IV,
            source: SourceHandle::ZERO,
            source_seq: None,
            event_id: EventIdTag::ZERO,
            class: ClassId(10),
            frames: 0..0,
            clear: clear.as_bytes().to_vec(),
        }],
        persons: Vec::new(),
        frames: Vec::new(),
    };
    let check = |kind, clear, expect: Option<&str>| {
        let got = readable(&[sealed(Kind::Event, ""), sealed(kind, clear)]);
        let code = got.err().map(|why| match why {
            Rejected::Failed(error) => error.code(),
            _ => "another reason",
        });
        assert_eq!(code, expect, "{clear}");
    };
    check(Kind::Conflict, r#"{"first":3}"#, None);
    check(Kind::Conflict, r#"{"first":-3}"#, Some("PAYLOAD_UNREADABLE"));
    check(Kind::Conflict, r#"{"first": 3}"#, Some("PAYLOAD_UNREADABLE"));
    check(Kind::DaySeal, r#"{"first":3}"#, Some("PAYLOAD_UNREADABLE"));
}
