//! Rules of packed body files that hold under right CRCs: lengths that padding allows, blocks that
//! are the ones of their rows, and a plain length beyond which no unit names anything.

use super::story::Site;
use crate::support::sim::SimDisk;
use chancery::base::id::RecordId;
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex};
use chancery::format::body::{self, Frame};
use chancery::format::packed::bodies::{Block, Placed, ROW_BYTES, Rows, TRAILER_BYTES};
use chancery::format::unit::BodySpan;
use chancery::store::bodies::{Frames, Stored};
use chancery::store::disk::{Disk, Mode};
use chancery::store::packed::bodies::{read, rows};
use chancery::vault::verify::{Options, verify_data};
use std::path::Path;
use std::sync::Arc;

fn frame(index: u64, alg: u8, sealed: &[u8]) -> Frame<'_> {
    let (index, record) = (EntryIndex(index), RecordId::ZERO);
    Frame { index, group: 0, alg, record, nonce: [7; 12], sealed, intact: true }
}

#[test]
fn a_body_of_a_length_that_padding_forbids_is_damaged() {
    const TAG: usize = 16;
    for (alg, clear, allowed) in [
        (1, 32, true),
        (1, 64, true),
        (1, 0, false),
        (1, 48, false),
        (1, 63, false),
        (2, 48, true),
        (2, 64, true),
        (2, 32, false),
        (2, 16, false),
        (2, 56, false),
    ] {
        let sealed = vec![9; clear + TAG];
        let mut bytes = Vec::new();
        body::put_packed(&mut bytes, &frame(4, alg, &sealed));
        let frames = Frames::packed(bytes, true);
        let found = frames.find(EntryIndex(4), 0, &RecordId::ZERO);
        assert_eq!(matches!(found, Stored::Body(_)), allowed, "{alg} {clear}: {found:?}");
        assert_eq!(found == Stored::Damaged, !allowed, "{alg} {clear}: {found:?}");
    }
}

/// A packed file of two blocks, its second row moved by so much.
fn two_blocks(moved: u64) -> (SimDisk, Rows) {
    let (disk, path) = (SimDisk::new(), Path::new("/sim/packed.seg"));
    disk.create_dir(Path::new("/sim")).unwrap();
    let sealed = vec![9; 48];
    let mut bytes = vec![0; 32];
    let mut places = Vec::new();
    for (index, offset) in [(1, 32), (2, 200)] {
        let mut block = Block::default();
        block.push(&Placed { offset, frame: frame(index, 1, &sealed) });
        places.push((offset, bytes.len() as u64));
        bytes.extend(block.finish().0);
    }
    places[1].0 += moved;
    let made = Rows { rows: places, plain_len: 400, packed_end: bytes.len() as u64 };
    bytes.extend(made.encode());
    disk.plant(path, &bytes);
    let file = disk.open(path, Mode::Read).unwrap();
    let read = rows(&*file, path).unwrap();
    assert_eq!(read, made);
    (disk, read)
}

#[test]
fn a_block_that_is_not_the_one_its_row_names_is_none() {
    let class_day = ClassDay { class: ClassId(4), day: Day(20_778) };
    let span = BodySpan { class_day, start: 32, end: 400 };
    for (moved, count, sound) in [(0, 2, true), (1, 1, false), (90, 1, false)] {
        let (disk, rows) = two_blocks(moved);
        let file = disk.open(Path::new("/sim/packed.seg"), Mode::Read).unwrap();
        let (bytes, whole) = read(&*file, &rows, &span).unwrap();
        let frames = Frames::packed(bytes, whole);
        assert_eq!((frames.count(), frames.is_sound()), (count, sound), "moved by {moved}");
    }
}

#[test]
fn what_lies_beyond_the_last_span_is_told_by_the_plain_length() {
    let disk = SimDisk::new();
    let site = Site::filled(Arc::new(disk.clone()), Path::new("/sim"));
    site.open().pack().unwrap();
    let uncommitted = || {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let report =
            verify_data(&shared, &site.config.data, None, &Options::default(), &mut |_, _| {});
        let verdicts = report.unwrap().verdicts.into_iter();
        verdicts.filter(|v| v.name == "BODY_UNCOMMITTED").map(|v| v.detail).collect::<Vec<_>>()
    };
    assert_eq!(uncommitted(), [""; 0]);
    let is_packed = |path: &std::path::PathBuf| disk.bytes(path).unwrap().starts_with(b"CHB2");
    let path = disk.files().into_iter().find(is_packed).unwrap();
    let mut bytes = disk.bytes(&path).unwrap();
    let (at, count) = Rows::trailer(&bytes[bytes.len() - TRAILER_BYTES..]).unwrap();
    let at = usize::try_from(at).unwrap();
    assert_eq!(bytes.len(), at + count as usize * ROW_BYTES + TRAILER_BYTES);
    let mut rows = Rows::decode(&bytes[at..]).unwrap();
    rows.plain_len += 7;
    bytes.truncate(at);
    bytes.extend(rows.encode());
    disk.plant(&path, &bytes);
    let found = uncommitted();
    assert!(found.len() == 1 && found[0].starts_with("7 bytes"), "{found:?}");
}
