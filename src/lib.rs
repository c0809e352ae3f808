//! Chancery: an audit log vault.
//!
//! Applications send it audit events; it seals them, chains them, keeps them exactly as long as
//! policy says, forgets a person when the law says so, and proves all of that to people who do
//! not trust it. The order of the modules below is the law of the house: a module may name only
//! the modules above it (`tests/it/layers.rs`). Sockets are opened by `forward`, `server` and
//! `cli` alone, and only when the configuration or the command names a peer.

pub mod base;
pub mod crypto;
pub mod format;
pub mod query;
pub mod policy;
pub mod store;
pub mod vault;
pub mod report;
pub mod client;
pub mod forward;
pub mod server;
pub mod cli;
