//! The schedule: when the vault looks for what is due. Cron says when to look; log time says what
//! is due; the plan says what goes. A tick is idempotent: looking twice does nothing twice.

use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::vault::Vault;
use crate::vault::error::Result;
use crate::vault::retain::Expired;
use cron::Schedule as Cron;
use std::str::FromStr;

/// A cron expression with seconds, in UTC: `sec min hour day-of-month month day-of-week`.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
}

impl Schedule {
    /// Parses a cron expression of six or seven fields.
    ///
    /// # Errors
    /// `Invalid` `SCHEDULE_SYNTAX`.
    pub fn parse(text: &str) -> Result<Schedule> {
        let fix = "write six fields in UTC: second minute hour day month weekday, e.g. \
                   \"0 30 2 * * *\"";
        let cron = Cron::from_str(text)
            .map_err(|_| Refusal::new("SCHEDULE_SYNTAX", fix).field("schedule"))?;
        Ok(Schedule { cron })
    }

    /// The first instant after `last` at which the schedule fires; none if it never does again.
    pub fn next(&self, last: UtcNanos) -> Option<UtcNanos> {
        let seconds = i64::try_from(last.seconds()).ok()?;
        let after = cron_instant(seconds)?;
        let next = self.cron.after(&after).next()?;
        u64::try_from(next.timestamp()).ok().map(|s| UtcNanos(s * 1_000_000_000))
    }
}

/// The cron crate speaks chrono; this is the one place that does.
fn cron_instant(seconds: i64) -> Option<chrono::DateTime<chrono::Utc>> {
    chrono::DateTime::from_timestamp(seconds, 0)
}

impl Vault {
    /// Runs retention if the schedule fired since the last run; `looked` is when the caller last
    /// looked, for runs that found nothing and so left no entry.
    ///
    /// # Errors
    /// As `expire`.
    pub fn tick(&self, schedule: &Schedule, looked: Option<UtcNanos>) -> Result<Option<Expired>> {
        let last = {
            let facts = self.facts();
            let ran = facts.prunes.values().map(|prune| prune.asked).max();
            ran.max(looked).unwrap_or_default()
        };
        let now = self.clock().now();
        match schedule.next(last).filter(|next| *next <= now) {
            Some(_) => self.expire(None).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_fires_once_a_day_in_utc() {
        let schedule = Schedule::parse("0 30 2 * * *").unwrap();
        let last = UtcNanos::parse("2026-11-21T02:30:00Z").unwrap();
        let next = schedule.next(last).unwrap();
        assert_eq!(next.to_string(), "2026-11-22T02:30:00Z");
        assert_eq!(Schedule::parse("every day").unwrap_err().code(), "SCHEDULE_SYNTAX");
    }
}
