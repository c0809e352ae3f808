//! The thread that does what is due without a request: orders whose pause is over, refusals to be
//! written down. What fails is said and tried again; it never ends the service.

use crate::cli::cmd::serve::reload::Watch;
use crate::cli::error::Failure;
use crate::cli::output::escape::escape;
use crate::server::app::App;
use crate::server::audit::{Act, Deed, record};
use crate::server::problem::Problem;
use crate::server::silence::tick_silence;
use crate::store::reserve::Reserve;
use anyhow::Result;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks; a look that finds nothing costs a few locks.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two times that refusals are written down: a minute.
const LOOKS_A_MINUTE: u32 = 300;

/// Starts it; it ends soon after `stop` turns true.
pub(crate) fn start(
    app: Arc<App>,
    reserve: Arc<Reserve>,
    mut watch: Option<Watch>,
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("ticker".to_owned()).spawn(move || {
        let mut looks = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            look(&reserve);
            say(app.settle_all().err());
            if let Some(watch) = &mut watch {
                certificates(&app, watch);
            }
            say(tick_silence(&app).err());
            looks += 1;
            if looks.is_multiple_of(LOOKS_A_MINUTE) {
                say(app.write_refusals().err());
            }
            std::thread::sleep(LOOK);
        }
        say(app.write_refusals().err());
    });
    let thread = thread.map_err(|e| Failure::failed("SERVE_THREADS", e.to_string()))?;
    Ok(thread)
}

/// Looks whether other certificates are there.
fn certificates(app: &App, watch: &mut Watch) {
    match watch.look(app.clock.wall()) {
        None => {}
        Some(Ok(until)) => {
            app.observer.metrics.certified_until(until);
            let act = Act::by_service(Deed::CertificateReplaced);
            say(record(app.system(), &act).err().map(Problem::from));
        }
        Some(Err(why)) => {
            app.observer.metrics.reload_failed();
            let mut sink = std::io::stderr().lock();
            let _ = writeln!(sink, "chancery: the certificates in use stay: {}", escape(&why));
        }
    }
}

/// Whether there is room again, and the reserve whole. That it cannot be made is said once: then
/// the mark alone counts.
pub(crate) fn look(reserve: &Reserve) {
    if let Err(error) = reserve.look() {
        let mut sink = std::io::stderr().lock();
        let said = format!("the reserve of the disk cannot be made: {error}");
        let _ = writeln!(sink, "chancery: {}", escape(&said));
    }
}

/// What failed, on standard error; nobody there to read it is no failure.
fn say(problem: Option<Problem>) {
    if let Some(problem) = problem {
        let mut sink = std::io::stderr().lock();
        let _ = writeln!(sink, "chancery: {}", escape(&problem.to_string()));
    }
}
