//! The vaults of a service: `main`, and `system` with people and settings. What is not there yet is
//! made. It never opens one without the other: one that cannot be opened ends the start, and names
//! itself.

use crate::cli::cmd::init::make;
use crate::cli::config::{Config, FILE_NAME, MAIN};
use crate::cli::error::Failure;
use crate::cli::run::Context;
use crate::cli::world::vault_config;
use crate::server::app::SYSTEM;
use crate::store::replica::{self, Paired};
use crate::vault::config::Config as VaultConfig;
use crate::vault::{Vault, World};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Opened vaults.
pub(crate) struct Opened {
    /// By the names of their tenants.
    pub(crate) tenants: BTreeMap<String, Arc<Vault>>,
    /// The one with people and settings, which is among them.
    pub(crate) system: Arc<Vault>,
}

/// Opens every vault there is, and makes `main` and `system` where they are not.
pub(crate) fn open(context: &Context, config: &Config, world: &World) -> Result<Opened> {
    let main = Arc::new(tenant(context, config, world, MAIN)?);
    let system = Arc::new(tenant(context, config, world, SYSTEM)?);
    let tenants = [(MAIN, &main), (SYSTEM, &system)];
    let tenants = tenants.map(|(name, vault)| (name.to_owned(), vault.clone())).into();
    Ok(Opened { tenants, system })
}

fn tenant(context: &Context, config: &Config, world: &World, name: &str) -> Result<Vault> {
    let (main, config) = (config, config.for_tenant(name));
    let mut files: VaultConfig = vault_config(&config, &context.global)?;
    files.tuning.pack = true;
    let there = world.disk.exists(&files.data.join("vault.toml"))?;
    if !there && name != MAIN {
        let mirrored = is_mirrored(main, world)?;
        files.mirror = files.mirror.take().filter(|_| mirrored);
    }
    let vault = match there {
        true => Vault::open(world.clone(), &files).map_err(anyhow::Error::from),
        false => {
            let file = context.global.config.clone();
            let file = file.unwrap_or_else(|| config.home.join(FILE_NAME));
            make(&config, &file, || Vault::init(world.clone(), &files, &config.name))
        }
    };
    let vault = vault.with_context(|| format!("tenant {name}"))?;
    // Without a mirror in the configuration, one copy is what everybody has.
    let known = |code| code == "KEYS_SINGLE_COPY" && config.keys_mirror.is_none();
    for notice in vault.notices().iter().filter(|n| name == MAIN || !known(n.code)) {
        let of = if name == MAIN { String::new() } else { format!("tenant {name}: ") };
        context.note(notice.code, &format!("{of}{}", notice.text));
    }
    Ok(vault)
}

/// Whether a tenant that is made now gets a mirror of its own: as the keys of `main` have. A
/// directory that is not theirs is an empty mount point, and nothing is written to it.
fn is_mirrored(main: &Config, world: &World) -> Result<bool> {
    match replica::paired(&*world.disk, &main.keys, main.keys_mirror.as_deref())? {
        None => Ok(false),
        Some(Paired { away: None, .. }) => Ok(true),
        Some(Paired { away: Some(why), .. }) => {
            let message = format!(
                "the mirror of the keys cannot be reached: {why}; a tenant is to be made, and \
                 both copies of its keys with it; nothing was made; mount it and start again"
            );
            Err(Failure::failed("KEYS_MIRROR_AWAY", message).into())
        }
    }
}
