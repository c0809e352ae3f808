//! Out: what leaves the vault. `file` writes records for a SIEM, `http` asks small questions of
//! addresses that the configuration names, `witness` asks witnesses to cosign.

pub mod file;
pub mod http;
pub mod witness;
