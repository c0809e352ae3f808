//! The cursor: how far the spool is settled, and how long the two ledgers were at that moment.
//! One line of one file, replaced as a whole. A damaged one is no cursor: events are sent again
//! rather than passed over. The byte table is in `clients/SPOOL.md`.

use std::fmt;

const MAGIC: &str = "chancery-cursor-v1";

/// A place in the spool, and the lengths of the ledgers that go with it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Everything before this position has a receipt or a refusal in the ledgers.
    pub position: u64,
    /// Bytes of `receipts.ndjson`.
    pub receipts: u64,
    /// Bytes of `dead.ndjson`.
    pub dead: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { position, receipts, dead } = self;
        let text = format!("{MAGIC} {position:020} {receipts:020} {dead:020}");
        writeln!(f, "{text} {:08x}", crc32fast::hash(text.as_bytes()))
    }
}

impl Cursor {
    /// Reads the line: exactly what `to_string` writes.
    pub fn parse(bytes: &[u8]) -> Option<Cursor> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split(' ').skip(1);
        let mut number = || words.next()?.parse::<u64>().ok();
        let cursor = Cursor { position: number()?, receipts: number()?, dead: number()? };
        (cursor.to_string() == text).then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let cursor = Cursor { position: 7, receipts: u64::MAX, dead: 0 };
        let text = cursor.to_string();
        assert_eq!(Cursor::parse(text.as_bytes()), Some(cursor));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Cursor::parse(&bytes), None, "{bit}");
        }
        for cut in 0..text.len() {
            assert_eq!(Cursor::parse(&text.as_bytes()[..cut]), None);
        }
    }
}
