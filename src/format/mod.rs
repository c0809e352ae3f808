//! Bytes to values and back: every stored and signed thing, normative in `docs/format.md`.
//! It never touches a file and never panics, whatever the input.

pub mod backup;
pub mod body;
pub mod bundle;
pub mod canon;
pub mod cell;
pub mod checkpoint;
pub mod complete;
pub mod control;
mod der;
pub mod entry;
pub mod export;
pub mod json;
pub mod lines;
pub mod node;
pub mod note;
pub mod outline;
pub mod packed;
pub mod proof;
pub mod roll;
pub mod run;
pub mod seal;
pub mod siem;
pub mod slot;
pub mod snapshot;
pub mod statement;
pub mod tile;
pub mod timestamp;
pub mod trust;
pub mod unit;
pub mod vkey;
pub mod wire;
pub mod witness;
