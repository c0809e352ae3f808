//! People, tokens and sessions: the parts alone, then stories over a system vault on the simulated
//! disk with a clock set by hand.

mod glass;
mod parts;
mod people;
mod sessions;
pub(crate) mod stage;
mod tokens;
