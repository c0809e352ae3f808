//! The words: ids, units, limits, events, entries, secrets. Everything above is said in them.
//! This layer never does I/O, reads a clock or draws randomness; it only names the traits
//! through which the hands pass those in.

pub mod word;

pub mod entry;
pub mod event;
pub mod id;
pub mod limits;
pub mod record;
pub mod refusal;
pub mod secret;
pub mod subjects;
pub mod unit;
pub mod world;
