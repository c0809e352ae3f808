//! Sources that should be heard and are not: one event when a registered source was quiet for
//! longer than its heartbeat, one when it is heard again, both in its tenant's own log. It never
//! says why, and after a restart it counts anew: a source that is quiet still is said to be silent
//! again.

use crate::base::event::Draft;
use crate::base::unit::UtcNanos;
use crate::server::app::App;
use crate::server::audit::SOURCE;
use crate::server::problem::Problem;
use crate::server::sources::{Registered, Sources, heartbeat};
use crate::vault::Vault;
use serde_json::json;

/// Says of each source that fell silent or is heard again that it did; once for each change.
///
/// # Errors
/// The first that failed; the others were looked at all the same, and what was not said is tried
/// again by the next call.
pub fn tick_silence(app: &App) -> Result<(), Problem> {
    let mut failed = None;
    for (tenant, vault) in app.tenants() {
        let Some(sources) = app.sources.get(tenant) else { continue };
        for source in sources.all() {
            // By the clock of the log in which the source was heard.
            failed = failed.or(tick(vault, &source, vault.clock().now()).err());
        }
    }
    failed.map_or(Ok(()), Err)
}

/// How many sources are said to be silent now.
pub fn silent_sources(app: &App) -> u64 {
    let all = app.sources.values().flat_map(Sources::all);
    all.filter(|source| source.pulse.silent().is_some()).count() as u64
}

fn tick(vault: &Vault, registered: &Registered, now: UtcNanos) -> Result<(), Problem> {
    let (pulse, allowed) = (&registered.pulse, heartbeat(&registered.source));
    let quiet = now.0.saturating_sub(pulse.quiet_since().0);
    let (said, is_silent) = (pulse.silent(), allowed.is_some_and(|allowed| quiet > allowed));
    match (said, is_silent) {
        (None, true) => {
            say(vault, registered, "source.silent", now)?;
            pulse.said(Some(now));
        }
        // A heartbeat that was made longer, or taken away, is no sign of life.
        (Some(since), false) if pulse.last().is_some_and(|last| last >= since) => {
            say(vault, registered, "source.resumed", now)?;
            pulse.said(None);
        }
        (Some(_), false) if allowed.is_none() => pulse.said(None),
        _ => {}
    }
    Ok(())
}

fn say(vault: &Vault, registered: &Registered, action: &str, now: UtcNanos) -> Result<(), Problem> {
    let resumed = action == "source.resumed";
    let last = registered.pulse.last().map(|last| last.to_string());
    let event = json!({
        "time": now.to_string(),
        "action": action,
        "category": "system",
        "verb": if resumed { "start" } else { "alert" },
        "outcome": if resumed { "success" } else { "unknown" },
        "severity": if resumed { 3 } else { 6 },
        "actor": {"type": "system"},
        "data": {
            "source": registered.source.name,
            "heartbeat_seconds": registered.source.heartbeat_seconds,
            "last_seen": last,
        },
    });
    let json = event.to_string();
    vault.append_own(&[Draft { source: SOURCE, json: json.as_bytes() }])?;
    Ok(())
}
