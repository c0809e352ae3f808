//! Evidence: gathered through the vault's verbs, rendered, signed. It never queries past the vault.

pub mod canvas;
pub mod catalogue;
pub mod evidence;
pub mod inputs;
pub mod manifest;
pub mod model;
pub mod pdf;
pub mod render;
pub mod rules;
pub mod tally;
