//! `chancery witness`: makes and runs a witness. It never touches a vault; its directory holds a
//! sealed key, `witness.toml` and what it cosigned.

use crate::base::secret::Key;
use crate::base::world::random;
use crate::cli::args::witness::WitnessCommand;
use crate::cli::cmd::done;
use crate::cli::error::Failure;
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::cli::world::{read_text, world};
use crate::crypto::sign::SigningKey;
use crate::format::vkey::{Algorithm, Signer, Verifier, is_key_name};
use crate::server::http::Server;
use crate::server::witness::Witness;
use crate::store::kek::{Kek, open_secret, seal_secret};
use crate::vault::World;
use anyhow::Result;
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Label of a witness's key at rest.
const WITNESS_KEY: &str = "chancery/v1/signing/witness";
/// Its configuration.
const FILE: &str = "witness.toml";

/// `witness.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    listen: SocketAddr,
    #[serde(default)]
    logs: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &WitnessCommand) -> Result<ExitCode> {
    let whole = |dir: &Path| std::path::absolute(dir).map_err(|e| Failure::file(dir, &e));
    match command {
        WitnessCommand::Init { dir, name, logs, listen } => {
            init(context, &whole(dir)?, name, logs, *listen)
        }
        WitnessCommand::Run { dir, listen } => serve(context, &whole(dir)?, *listen),
        WitnessCommand::Show { dir } => show(context, &whole(dir)?),
    }
}

fn init(
    context: &mut Context,
    dir: &Path,
    name: &str,
    logs: &[String],
    listen: SocketAddr,
) -> Result<ExitCode> {
    let file = dir.join(FILE);
    if file.exists() {
        let message = format!("{} is there already; nothing was done", file.display());
        return Err(Failure::usage("FILE_EXISTS", message).into());
    }
    if !is_key_name(name) || name.contains(['\"', '\\']) {
        let message = "--name: 1 to 255 bytes without space, plus, quote or control character";
        return Err(Failure::usage("USAGE", message).into());
    }
    parse_logs(logs)?;
    let world = world();
    let keys = dir.join("keys");
    world.disk.create_dir(&keys)?;
    let kek = Kek::create(&*world.disk, &keys, None, &*world.entropy)?;
    let seed: [u8; 32] = random(&*world.entropy);
    let path = keys.join("witness.key");
    seal_secret(&*world.disk, &path, &kek, WITNESS_KEY, &seed, &*world.entropy)?;
    let list: String = logs.iter().map(|log| format!("  \"{log}\",\n")).collect();
    let text = format!(
        "# A witness (chancery witness run). Add a log by its vkey, then start it again.\n\
         name = \"{name}\"\nlisten = \"{listen}\"\nlogs = [\n{list}]\n"
    );
    // Last: whoever finds this file finds a whole witness.
    world.disk.replace(&file, text.as_bytes())?;
    let vkey = signer(&world, dir, name)?.verifier().to_string();
    context.out.object(&json!({
        "dir": dir.display().to_string(), "vkey": vkey, "listen": listen.to_string(),
        "logs": logs,
    }))?;
    context.out.say(&format!(
        "Witness {name} in {}\nvkey    {vkey}\nlogs    {} watched; add more in {}\n\
         The vkey goes into [[witness]] of each vault and into the trust policies of auditors.",
        dir.display(),
        logs.len(),
        file.display(),
    ))?;
    done()
}

fn serve(context: &mut Context, dir: &Path, listen: Option<SocketAddr>) -> Result<ExitCode> {
    let world = world();
    let (file, witness) = open(&world, dir)?;
    let listen = listen.unwrap_or(file.listen);
    let vkey = witness.key().to_string();
    let count = witness.watched().len();
    let alarm = Arc::new(|text: &str| {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr().lock(),
            format_args!("chancery: alarm: {}\n", crate::cli::output::escape::escape(text)),
        );
    });
    let server = Server::bind(listen, witness, world.clock.clone(), alarm)
        .map_err(|e| Failure::failed("WITNESS_LISTEN", format!("{listen}: {e}")))?;
    let address = server.address().map_err(|e| Failure::failed("WITNESS_LISTEN", e.to_string()))?;
    context.out.object(&json!({"vkey": vkey, "listen": address.to_string(), "logs": count}))?;
    context
        .out
        .say(&format!("{vkey}\nwatches {count} logs on http://{address}; Ctrl-C ends it"))?;
    context.out.flush()?;
    let stop = context.stop.clone();
    server
        .run(move || stop.load(Ordering::Relaxed))
        .map_err(|e| Failure::failed("WITNESS_LISTEN", e.to_string()))?;
    done()
}

fn show(context: &mut Context, dir: &Path) -> Result<ExitCode> {
    let (_, witness) = open(&world(), dir)?;
    let watched = witness.watched();
    let list: Vec<_> =
        watched.iter().map(|(origin, size)| json!({"origin": origin, "size": size.0})).collect();
    context.out.object(&json!({"vkey": witness.key().to_string(), "logs": list}))?;
    let mut table = Table::new(&[("log", Align::Left), ("cosigned up to", Align::Right)]);
    watched.iter().for_each(|(origin, size)| table.row(&[origin, &size.to_string()]));
    context.out.say(&witness.key().to_string())?;
    context.out.table(&table)?;
    done()
}

fn open(world: &World, dir: &Path) -> Result<(File, Witness)> {
    let path = dir.join(FILE);
    let text = read_text(&path)?;
    let file: File = toml::from_str(&text).map_err(|e| {
        let message = format!("{}: {}", path.display(), e.message());
        Failure::usage("WITNESS_FILE", message)
    })?;
    let logs = parse_logs(&file.logs)?;
    let signer = signer(world, dir, &file.name)?;
    let witness = Witness::open(world.disk.clone(), dir, signer, &logs)?;
    Ok((file, witness))
}

fn signer(world: &World, dir: &Path, name: &str) -> Result<Signer> {
    let keys = dir.join("keys");
    let kek = Kek::open(&*world.disk, &keys, None)?;
    let seed = open_secret(&*world.disk, &keys.join("witness.key"), &kek, WITNESS_KEY)?;
    let bad = || Failure::failed("WITNESS_KEY", "the key file holds no key".to_owned());
    let seed = Key::from_slice(&seed).ok_or_else(bad)?;
    Ok(Signer::new(name, Algorithm::CosignatureV1, SigningKey::new(&seed))
        .map_err(|e| Failure::usage("WITNESS_FILE", format!("name: {e}")))?)
}

fn parse_logs(logs: &[String]) -> Result<Vec<Verifier>> {
    let parse = |text: &String| {
        let key = Verifier::parse(text).ok();
        let key = key.filter(|key| key.algorithm() == Algorithm::Ed25519);
        let message = "a log is named by a vkey of type 0x01, as `chancery keys show` prints it";
        key.ok_or_else(|| Failure::usage("WITNESS_FILE", message).into())
    };
    logs.iter().map(parse).collect()
}
