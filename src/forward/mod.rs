//! Out: files for SIEMs. It never loses anything and never widens what the vault lets out.

pub mod file;
