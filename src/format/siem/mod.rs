//! What SIEMs read. It never decides what may leave the vault: it renders the record it is given.

pub mod cef;
pub mod leef;
