//! The attacks of the design that aim at data, each made on real files, and the verdict each must
//! get at its place. The attacker puts right whatever needs no key; what he did not touch must
//! come out clean. Attacks on keys and erasure stand in `keys_attacks.rs`.

mod bodies;
mod claims;
pub(crate) mod forge;
mod history;
mod log;
mod outside;
pub(crate) mod raw;
mod table;
