//! Seals: what an epoch holds, as totals and roots that anyone can replay from its entries alone,
//! without a key. It never opens a body and never decides what is sealed when.
//!
//! Epoch `k` is the entries `[65536 k, 65536 (k + 1))`. Four tables are derived from them. Rows
//! have a fixed width, are big-endian, sorted bytewise and unique:
//!
//! | table | row | leaf |
//! |---|---|---|
//! | count, 14 bytes | code u16, outcome u8, class u16, kind u8, count u64 | one row |
//! | source, 49 bytes | source\[16\], count, numbered, low, high u64, gapless u8 | one row |
//! | class, 14 bytes | class u16, bucket u32, groups u64 | one row |
//! | index, 25 bytes | row kind u8, key\[16\], entry index u64 | up to 163 rows (4,075 bytes) |
//!
//! The root of a table is the RFC 6962 root over its leaves: leaf hash SHA-256(0x00 || leaf), node
//! hash SHA-256(0x01 || left || right), SHA-256 of nothing for an empty table. The index table is
//! cut into leaves of 163 rows from its beginning; only the last leaf may be shorter.
//!
//! Source rows: every entry counts, the vault's own acts under the zero handle, so the counts sum
//! to the entries of the epoch; so do the counts of the count table. `numbered` is how many
//! entries of kind event carry a source sequence, `low` and `high` their least and greatest (0 if
//! none), and `gapless` is 1 when there is one and every number from low to high occurs once.
//!
//! Keys of index rows (shorter values stand first, then zeros):
//!
//! | kind | key | rows of an entry |
//! |---|---|---|
//! | 1 | subject tag | one per tag |
//! | 2 | event code u16 | one |
//! | 3 | source handle | one |
//! | 4 | class u16, bucket u32 | one per distinct class-day of its groups |
//! | 5 | event id tag | one, none if zero |
//! | 6 | outcome u8 | one |
//! | 7 | first 8 bytes of the source handle, source sequence u64 | one if it has a sequence |
//! | 8 | record id | one |
//! | 9 | entry kind u8 | one, none for events |
//!
//! Kind 7 is not hashed: handles are random and hits are re-read from the log anyhow, and so a
//! range of numbers is a range of rows.
//!
//! A root proves nothing about an entry that was never submitted.

pub mod epoch;
pub mod payload;
pub mod replay;
pub mod row;
pub mod sample;
pub mod table;
