//! Helpers shared by the tests: simulated world, shared data, checks.

pub mod sim;
