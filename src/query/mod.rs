//! The filter language: a pure predicate over entries. It never knows the store.

pub mod filter;
