//! `chancery serve`: opens the vaults of all tenants, binds the listeners, and ends in order: no
//! new connection, requests finished within the drain, then the vaults closed. It holds no rule
//! of the service.

mod begin;
mod listeners;
mod reload;
mod ticker;
mod vaults;

use crate::base::unit::UtcNanos;
use crate::cli::args::serve::Serve;
use crate::cli::cmd::done;
use crate::cli::config::Config;
use crate::cli::config::server::{Profile, ServerFlags};
use crate::cli::error::Failure;
use crate::cli::run::Context;
use crate::cli::world::{reserve, world_with};
use crate::server::app::{App, SYSTEM, Settings};
use crate::server::audit::{Act, Deed};
use crate::server::body::Budget;
use crate::server::identity::token::Env;
use crate::server::log::{self, Style};
use crate::store::disk::free_bytes;
use crate::store::reserve::Reserve;
use anyhow::Result;
use serde_json::json;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How often the loop looks whether somebody pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);
/// How long threads of the runtime may go on after the drain: a commit under way takes that long
/// on a slow disk, and what it answers nobody waits for any more.
const LAST: Duration = Duration::from_secs(30);

/// What a start found, for whoever reads the first lines.
struct Started {
    public: SocketAddr,
    admin: SocketAddr,
    ca: Option<PathBuf>,
    scheme: &'static str,
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Serve) -> Result<ExitCode> {
    let flags = ServerFlags {
        listen: args.listen,
        admin_listen: args.admin_listen,
        cooling_off: args.cooling_off,
        generated_anywhere: args.generated_certificate,
    };
    let env = |name: &str| std::env::var(name).ok();
    let config = Config::load_to_serve(&context.global, &flags, &env)?;
    listeners::check(args, &config.server)?;
    log::install(if std::io::stderr().is_terminal() { Style::Plain } else { Style::Json });
    let reserve = reserve(&config, true);
    let world = world_with(&reserve);
    let opened = vaults::open(context, &config, &world)?;
    // A first start has made the directories only now.
    ticker::look(&reserve);
    let settings = settings(&config, &reserve);
    let vaults::Opened { tenants, system } = opened;
    let made = App::new(tenants, system, &world, settings);
    let mut app = made.map_err(begin::failed)?;
    app.bodies = Budget::default().within(config.server.read_seconds);
    let app = Arc::new(app);
    let begun = begin::begin(context, &app, args, &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::failed("SERVE_THREADS", e.to_string()))?;
    let now: UtcNanos = world.clock.wall();
    let (stop, stopped) = watch::channel(false);
    let connections = listeners::connections(context, &config.server);
    let bound = runtime.block_on(listeners::bind(args, &config, &app, (now, connections)))?;
    say(context, &app, &bound.started)?;
    begin::say(context, &begun)?;
    audit(&app, Deed::Started)?;
    app.schedule(Some(begin::scheduler(&app)?));
    let ticker = ticker::start(app.clone(), reserve, bound.watch, context.stop.clone())?;
    let flag = context.stop.clone();
    runtime.block_on(async move {
        let public = tokio::spawn(bound.public.run(stopped.clone()));
        let admin = tokio::spawn(bound.admin.run(stopped));
        while !flag.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
        let _ = stop.send(true);
        let _ = (public.await, admin.await);
    });
    let _ = ticker.join();
    app.schedule(None);
    audit(&app, Deed::Stopped)?;
    // The last handle of each vault closes it: no thread of the runtime may hold one any more.
    runtime.shutdown_timeout(LAST);
    drop(app);
    context.out.say("stopped; everything acknowledged is durable")?;
    done()
}

/// What the service is set to.
fn settings(config: &Config, reserve: &Arc<Reserve>) -> Settings {
    let reserve = reserve.clone();
    let server = &config.server;
    let proxies = server.trusted_proxies.clone();
    let mut places = vec![("data", config.data.clone()), ("keys", config.keys.clone())];
    places.extend(config.keys_mirror.iter().map(|mirror| ("mirror", mirror.clone())));
    Settings {
        hosts: server.hosts.clone(),
        origins: Vec::new(),
        trusted: Arc::new(move |at| proxies.iter().any(|network| network.holds(at))),
        body_bytes_max: usize::try_from(server.max_body_bytes).unwrap_or(usize::MAX),
        free: Arc::new(move || {
            let free = |(name, dir): &(&'static str, PathBuf)| Some((*name, free_bytes(dir)?));
            places.iter().filter_map(free).collect()
        }),
        reserves: Arc::new(move || reserve.kept()),
        metrics_by_tenant: server.metrics_by_tenant,
        env: match server.profile {
            Profile::Production => Env::Live,
            Profile::Dev => Env::Dev,
        },
    }
}

/// Writes down that the service began or ended.
fn audit(app: &App, deed: Deed) -> Result<()> {
    let done = crate::server::audit::record(app.system(), &Act::by_service(deed));
    done.map_err(|error| begin::failed(error.into()))
}

/// The first lines: where it listens and what comes next.
fn say(context: &mut Context, app: &App, started: &Started) -> Result<()> {
    let Started { public, admin, ca, scheme } = started;
    let names: Vec<&str> =
        app.tenants().map(|(name, _)| name).filter(|name| *name != SYSTEM).collect();
    context.out.object(&json!({
        "listen": public.to_string(),
        "admin_listen": admin.to_string(),
        "scheme": scheme,
        "ca": ca.as_ref().map(|ca| ca.display().to_string()),
        "tenants": names,
    }))?;
    context.out.say(&format!(
        "tenants {}\nevents  {scheme}://{public}\nadmin   {scheme}://{admin}",
        names.join(", ")
    ))?;
    if let Some(ca) = ca {
        context.out.say(&format!(
            "ca      {}\n        made here, for loopback: curl --cacert {} \
             {scheme}://localhost:{}/livez",
            ca.display(),
            ca.display(),
            public.port(),
        ))?;
    }
    context.out.say("Ctrl-C ends it")?;
    Ok(context.out.flush()?)
}
