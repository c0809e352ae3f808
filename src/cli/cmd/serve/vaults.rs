//! The vaults of a service: `main`, and `system` with people and settings. What is not there yet is
//! made. It never opens one without the other: one that cannot be opened ends the start, and names
//! itself.

use crate::cli::cmd::init::make;
use crate::cli::config::{Config, FILE_NAME, MAIN};
use crate::cli::run::Context;
use crate::cli::world::vault_config;
use crate::server::app::SYSTEM;
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
    let config = config.for_tenant(name);
    let mut files: VaultConfig = vault_config(&config, &context.global)?;
    files.tuning.pack = true;
    let there = world.disk.exists(&files.data.join("vault.toml"))?;
    let vault = match there {
        true => Vault::open(world.clone(), &files).map_err(anyhow::Error::from),
        false => {
            let file = context.global.config.clone();
            let file = file.unwrap_or_else(|| config.home.join(FILE_NAME));
            make(&config, &file, || Vault::init(world.clone(), &files, &config.name))
        }
    };
    let vault = vault.with_context(|| format!("tenant {name}"))?;
    for notice in vault.notices().iter().filter(|_| name == MAIN) {
        context.note(notice.code, &notice.text);
    }
    Ok(vault)
}
