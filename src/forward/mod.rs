//! Out: what leaves the vault. `file` writes records for a SIEM, `http` asks small questions of
//! addresses that the configuration names: `witness` has checkpoints cosigned, `timestamp` stamped.
//! `events` carries the client's batches to a vault elsewhere.
//! It never loses anything and never widens what the vault lets out.

pub mod events;
pub mod file;
pub mod http;
pub mod timestamp;
pub mod witness;
