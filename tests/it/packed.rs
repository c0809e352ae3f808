//! Packed files: the compression dictionary comes from schema text alone, plaintexts come back, and
//! what packs in the background is in nobody's way.

mod background;
mod dictionary;
mod gate;
mod rules;
mod story;
