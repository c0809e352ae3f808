//! Reading: how fast a log is checked without keys, and how fast every body of it is opened.

use crate::base::record::Fate;
use crate::base::unit::EntryIndex;
use crate::cli::bench::Numbers;
use crate::vault::config::Config;
use crate::vault::error::Result;
use crate::vault::read::Reading;
use crate::vault::{Vault, World};
use std::time::Instant;

/// Measures on a settled log.
///
/// # Errors
/// Those of the vault.
pub fn run(_world: &World, vault: &Vault, _config: &Config, numbers: &mut Numbers) -> Result<()> {
    let size = vault.size();
    let all = EntryIndex(0)..EntryIndex(size.0);
    let start = Instant::now();
    let mut opened = 0u64;
    let reading = Reading { open: true, destination: None };
    vault.for_each_record(all, reading, &mut |record| {
        opened += record.groups.iter().filter(|fate| **fate == Fate::Open).count() as u64;
        Ok(())
    })?;
    let rate = opened as f64 / start.elapsed().as_secs_f64();
    numbers.insert("verify.bodies_per_s".to_owned(), rate);
    Ok(())
}
