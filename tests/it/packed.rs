//! Packed files: the compression dictionary comes from schema text alone, and plaintexts come back.

mod dictionary;
mod story;
