//! Where it lies: files, units, bodies, tiles, heads, the key tree, its root, the index.
//! It never sees personal plaintext (but for the sealed leaves of the key tree it encrypts).

pub mod bodies;
pub mod disk;
pub mod error;
pub mod heads;
pub mod index;
pub mod kek;
pub mod keytree;
pub mod log;
pub mod packed;
pub mod replica;
pub mod reserve;
pub mod root;
pub mod runs;
pub mod tiles;
