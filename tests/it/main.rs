//! The one integration test binary: laws of the house, promises, attacks, conformance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]
// A list of one range is what a table of cases may hold.
#![allow(clippy::single_range_in_vec_init)]
// A random test prints its seed.
#![allow(clippy::print_stdout)]

mod support;

mod access;
mod attacks;
mod backup;
mod bad_input;
mod bare_paths;
mod canon;
mod certificates;
mod client;
mod cli;
mod complete;
mod conformance;
mod crash;
mod dedupe;
mod demo;
mod deploy;
mod evidence;
mod every_route;
mod faults;
mod fuzz_corpora;
mod golden;
mod hec;
mod holds;
mod idempotency;
mod identity;
mod index;
mod intake;
mod keys_attacks;
mod keytree;
mod lanes;
mod laws;
mod lines;
mod logkey;
mod mappings;
mod merkle;
mod midnight;
mod mirror;
mod mutated;
mod note;
mod old;
mod orders;
mod observe;
mod packed;
mod persons;
mod policy;
mod promises;
mod registry;
mod report;
mod reserve;
mod retries;
mod review_access;
mod review_recovery;
mod review_service;
mod review_store;
mod review_upkeep;
mod review_govern;
mod schedule;
mod scheduler;
mod scrub;
mod second;
mod server_config;
mod service;
mod siem;
mod snapshot;
mod timestamp;
mod units;
mod vault;
mod soak;
mod sources;
mod statement;
mod verify;
mod witness;
