//! The resources, one file each: a request becomes a call of a verb, its result an answer. They
//! hold no rule of the vault; what a caller may is asked first thing in every handler.

pub mod corrections;
pub mod erasures;
pub mod events;
pub mod hec;
pub mod holds;
pub mod humans;
pub mod identifiers;
pub mod ingest;
pub mod log;
pub mod orders;
pub mod restriction;
pub mod retention;
pub mod reviews;
pub mod schedules;
pub mod session;
pub mod sources;
pub mod subjects;
pub mod system;
pub mod tokens;
pub mod view;
