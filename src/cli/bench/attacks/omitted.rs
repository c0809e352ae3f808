//! Attacks on completeness: files that prove what was not left out, with something left out.

use crate::base::unit::{EntryIndex, NANOS_PER_SECOND, UtcNanos};
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{Ground, event};
use crate::cli::judge::{Judgement, judge};
use crate::format::complete::scope::Window;
use crate::vault::complete::{About, Asked};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// Bytes before the first index of a range file: its first line, the kind of scope, two times.
const FIRST_INDEX: usize = 18 + 1 + 8 + 8;

/// Judges a file as an auditor with the trust file does.
fn judged(ground: &Ground, bytes: &[u8]) -> Result<Judgement> {
    let (file, trust) = (ground.dir.join("shown"), ground.dir.join("trust.policy"));
    fs::write(&file, bytes)?;
    fs::write(&trust, ground.trust.to_string())?;
    Ok(judge(&file, Some(&trust), None))
}

/// Whether none of the forged files is believed.
fn refused(ground: &Ground, forged: &[Vec<u8>]) -> Result<Found> {
    for (number, file) in forged.iter().enumerate() {
        let found = judged(ground, file)?;
        ensure!(found.exit == 1, "forgery {number}: {} {}", found.verdict, found.text);
    }
    ensure!(!forged.is_empty(), "nothing was forged");
    Ok(Found("refused".to_owned()))
}

/// A file without the frame of an entry.
fn without(file: &[u8], entry: &[u8]) -> Result<Vec<u8>> {
    let at = file.windows(entry.len()).position(|w| w == entry).context("the entry is shown")?;
    let before = file.get(..at.checked_sub(2).context("its length")?).context("a file")?;
    Ok([before, file.get(at + entry.len()..).context("a file")?].concat())
}

/// 30: an answer about a source that leaves out one of its entries.
pub(crate) fn posting(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let vault = ground.open()?;
    let mut file = Vec::new();
    let about = About::Source("ehr".to_owned());
    vault.prove_answer(&about, &Asked::Everything, None, &mut file)?;
    let honest = judged(&ground, &file)?;
    ensure!(honest.exit == 0, "as it is: {} {}", honest.verdict, honest.text);
    let mut forged = Vec::new();
    for number in [1, 4, 10] {
        let entry = vault.entry_bytes(event(&vault, number)?)?;
        forged.push(without(&file, &entry)?);
        // The same length, another entry in its place.
        let other = vault.entry_bytes(event(&vault, number % 10 + 1)?)?;
        if other.len() == entry.len() {
            let at = file.windows(entry.len()).position(|w| w == entry).context("shown")?;
            let mut swapped = file.clone();
            let place = swapped.get_mut(at..at + entry.len()).context("its place")?;
            place.copy_from_slice(&other);
            forged.push(swapped);
        }
    }
    refused(&ground, &forged)
}

/// 32: a window of time cut between entries of one time, or without its neighbour.
pub(crate) fn window(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 3)?;
    let vault = ground.open()?;
    let first = event(&vault, 6)?;
    let from = vault.entry(first)?.time_log;
    ensure!(vault.entry(EntryIndex(first.0 + 1))?.time_log == from, "one time, five entries");
    let to = UtcNanos(from.0 + NANOS_PER_SECOND / 2);
    let asked = Asked::Window(Window { from, to });
    let mut file = Vec::new();
    vault.prove_range(&asked, None, &mut file)?;
    let honest = judged(&ground, &file)?;
    ensure!(honest.exit == 0, "as it is: {} {}", honest.verdict, honest.text);
    let moved = |at: usize, by: i64| -> Result<Vec<u8>> {
        let mut bad = file.clone();
        let place = bad.get_mut(at..at + 8).context("an index")?;
        let number: [u8; 8] = (&*place).try_into()?;
        let number = u64::from_be_bytes(number).checked_add_signed(by).context("an index")?;
        place.copy_from_slice(&number.to_be_bytes());
        Ok(bad)
    };
    let neighbour = vault.entry_bytes(EntryIndex(first.0.saturating_sub(1)))?;
    let forged = [
        moved(FIRST_INDEX, 1)?,
        moved(FIRST_INDEX + 8, -1)?,
        without(&file, &neighbour)?,
        without(&file, &vault.entry_bytes(first)?)?,
    ];
    refused(&ground, &forged)
}
