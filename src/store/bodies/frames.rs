//! The frames of one commit in one body file, as they were read, and the search for one among them.
//! It never opens one.

use crate::base::id::RecordId;
use crate::base::unit::EntryIndex;
use crate::format::body::{self, Frame};
use crate::format::wire::Reader;

/// What is found where a body must lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored<B> {
    /// There: its CRC and algorithm are right.
    Body(B),
    /// Not there, and everything around it is in order.
    Missing,
    /// There and damaged, or lost in a damaged stretch.
    Damaged,
}

/// The frames of one span, and where each starts.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Ascending as far as the span is sound.
    places: Vec<(EntryIndex, u8, usize)>,
    /// Every byte of the span belongs to a frame.
    sound: bool,
    /// Frames have neither record id nor CRC of their own; their block's CRC was right.
    packed: bool,
}

impl Frames {
    /// Takes the bytes of a span apart; `whole` tells whether they are all of it.
    pub fn new(bytes: Vec<u8>, whole: bool) -> Self {
        let mut reader = Reader::new(&bytes);
        let mut places: Vec<(EntryIndex, u8, usize)> = Vec::new();
        let mut sound = whole;
        while !reader.rest().is_empty() {
            let start = reader.offset();
            let Ok(frame) = body::read_frame(&mut reader) else {
                sound = false;
                break;
            };
            let place = (frame.index, frame.group, start);
            let rises = places.last().is_none_or(|(i, g, _)| (*i, *g) < (frame.index, frame.group));
            if !rises {
                sound = false;
                break;
            }
            places.push(place);
        }
        Frames { bytes, places, sound, packed: false }
    }

    /// Takes the frames of a packed file apart.
    pub fn packed(bytes: Vec<u8>, sound: bool) -> Self {
        Frames { packed: true, ..Frames::new(bytes, sound) }
    }

    /// Whether every byte of the span belongs to a frame.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// How many frames were found.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The body of group `group` of entry `index`, whose record id is `record`.
    pub fn find(&self, index: EntryIndex, group: u8, record: &RecordId) -> Stored<Frame<'_>> {
        let at = self.places.binary_search_by_key(&(index, group), |(i, g, _)| (*i, *g));
        let start = at.ok().and_then(|at| self.places.get(at)).map(|(_, _, start)| *start);
        let start = start.or_else(|| match self.packed {
            true => None,
            false => self.search(record, group),
        });
        let rest = start.and_then(|start| self.bytes.get(start..));
        let Some(rest) = rest else {
            return if self.sound { Stored::Missing } else { Stored::Damaged };
        };
        match body::read_frame(&mut Reader::new(rest)) {
            Ok(frame) if !body::padded(frame.alg, frame.sealed.len()) => Stored::Damaged,
            Ok(frame) if self.packed && body::known(frame.alg) => {
                Stored::Body(Frame { record: *record, intact: true, ..frame })
            }
            Ok(frame)
                if frame.intact
                    && (frame.index, frame.group, frame.record) == (index, group, *record) =>
            {
                Stored::Body(frame)
            }
            _ => Stored::Damaged,
        }
    }

    /// Start of the frame that bears a record id, past damage that hides where frames start.
    fn search(&self, record: &RecordId, group: u8) -> Option<usize> {
        let record_at = body::FRAME_HEAD_BYTES - body::NONCE_BYTES - RecordId::LEN;
        let mut found = self.bytes.windows(RecordId::LEN).enumerate();
        found.find_map(|(at, window)| {
            let start = at.checked_sub(record_at).filter(|_| window == record.0)?;
            (self.bytes.get(start + 16) == Some(&group)).then_some(start)
        })
    }
}
