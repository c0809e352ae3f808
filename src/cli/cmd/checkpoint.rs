//! `chancery checkpoint`: the newest signed checkpoint, and the log as static tiles (C2SP
//! tlog-tiles) that any web server can publish. Tiles come first and the checkpoint last, so that
//! whoever sees a checkpoint finds its tiles.

use crate::base::unit::TreeSize;
use crate::cli::args::record::Checkpoint as Args;
use crate::cli::cmd::{done, write_out};
use crate::cli::error::{EXIT_INTERRUPTED, Failure};
use crate::cli::output::Progress;
use crate::cli::run::Context;
use crate::format::checkpoint::Checkpoint;
use crate::format::tile::{TILE_WIDTH, TileLevel, TilePath};
use crate::vault::Vault;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Args) -> Result<ExitCode> {
    let vault = context.open()?;
    let witnessing = vault.seek_witnesses()?;
    // What is handed out to be kept is the cosigned one, unless somebody wants the newest.
    let note = match &witnessing.note {
        Some(note) if witnessing.is_met() && !args.newest => note.clone(),
        _ => vault.checkpoint()?,
    };
    let checkpoint = Checkpoint::open(note.as_bytes(), vault.log_key())
        .map_err(|e| Failure::refused("BAD_SIGNATURE", e.to_string()))?;
    let mut written = None;
    if let Some(dir) = &args.tiles {
        let Some(count) = tiles(context, &vault, dir, checkpoint.size)? else {
            context.out.say("interrupted; run it again to complete the tiles")?;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        place(&dir.join("checkpoint"), note.as_bytes())?;
        written = Some(count);
    }
    if let Some(out) = &args.out {
        write_out(Some(out), note.as_bytes())?;
    }
    context.out.object(&json!({
        "origin": vault.origin(),
        "size": checkpoint.size.0,
        "root": checkpoint.root.to_string(),
        "checkpoint": &*note,
        "witnessing": witnessing.to_string(),
        "witnesses": witnessing.by.iter().map(|(name, time)| json!({
            "name": name, "time": time.to_string(),
        })).collect::<Vec<_>>(),
        "tiles_written": written,
    }))?;
    if context.out.style.json {
        return done();
    }
    // Standard output is the note alone, so that it can be piped into a file.
    context.note("WITNESSES", &witnessing.to_string());
    match (&args.out, written) {
        (None, None) => write_out(None, note.as_bytes())?,
        (_, Some(count)) => {
            let text = format!("{} entries: {count} files written", checkpoint.size);
            context.out.say(&text)?;
        }
        (Some(out), None) => {
            context.out.say(&format!("{} entries: {}", checkpoint.size, out.display()))?;
        }
    }
    done()
}

/// Writes what is not there yet. Returns how many files, or nothing when interrupted.
fn tiles(context: &Context, vault: &Vault, dir: &Path, size: TreeSize) -> Result<Option<u64>> {
    let width = u64::from(TILE_WIDTH);
    let bundles = size.0.div_ceil(width);
    let progress = Progress::new(&context.out.style, "writing tiles", bundles);
    let mut written = 0;
    for number in 0..bundles {
        let first = number * width;
        let wide = u16::try_from(size.0.saturating_sub(first)).unwrap_or(TILE_WIDTH);
        let wide = wide.min(TILE_WIDTH);
        let path = TilePath { level: TileLevel::Entries, number, width: wide };
        written += u64::from(fresh(dir, path, || Ok(vault.tile(path)?))?);
        progress.add(1);
        if context.stopped() {
            return Ok(None);
        }
    }
    for level in 0..8_u8 {
        let Some(last) = TilePath::last(TileLevel::Hashes(level), size) else { break };
        for number in 0..=last.number {
            let wide = if number == last.number { last.width } else { TILE_WIDTH };
            let path = TilePath { level: TileLevel::Hashes(level), number, width: wide };
            written += u64::from(fresh(dir, path, || Ok(vault.tile(path)?))?);
        }
    }
    progress.done();
    Ok(Some(written))
}

/// Writes a tile that is not there; a tile never changes once written.
fn fresh(dir: &Path, tile: TilePath, bytes: impl FnOnce() -> Result<Vec<u8>>) -> Result<bool> {
    let path = dir.join(tile.to_string());
    if path.exists() {
        return Ok(false);
    }
    place(&path, &bytes()?)?;
    Ok(true)
}

/// Writes a file in a directory that is made if it is not there.
fn place(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| Failure::file(path, &e))?;
    }
    crate::cli::cmd::place(path, bytes)
}
