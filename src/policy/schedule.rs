//! When: a cron expression and a time zone to instants. Cron says when to look, never what is due:
//! log time does. It never reads a clock, and it knows zones only through the database it is given.
//!
//! A schedule is a set of local times. Each fires at the first instant at which a clock on the
//! wall of the zone has reached it:
//! - a local time that does not exist (clocks put forward) fires at the first instant after the
//!   gap; all of one gap fire together, once;
//! - a local time that comes twice (clocks put back) fires when it comes first, and only then.
//!
//! A schedule whose hour field admits all 24 hours counts real time instead: it fires whenever a
//! clock on the wall shows one of its times, in the second pass too, and nothing is moved out of a
//! gap. So "every hour" is every real hour where clocks move by whole hours.
//!
//! Refused rather than read in one of the two ways that other programs read it: a weekday by
//! number (1 is Monday in crontab, Sunday in Quartz), and day of month and weekday both restricted
//! (either in crontab, refused in Quartz).

use crate::base::refusal::Refusal;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use cron::{Schedule as Cron, TimeUnitSpec};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use std::fmt;
use std::str::FromStr;

/// Longest expression: every field written out in full as a list has 169 + 169 + 61 + 83 + 26 + 27
/// bytes, and a hundred are left for years.
pub const CRON_BYTES_MAX: usize = 640;
/// The longest name in the database has 30 bytes.
pub const ZONE_BYTES_MAX: usize = 64;
/// 2101-01-03T00:00:00Z: the cron crate knows the years 1970 to 2100.
const LAST_SECOND: i64 = 4_134_153_600;
/// What the fields are called, in the order of seven.
const FIELDS: [&str; 7] = [
    "cron.second",
    "cron.minute",
    "cron.hour",
    "cron.day-of-month",
    "cron.month",
    "cron.weekday",
    "cron.year",
];

/// Time zones by name: what a zone's clocks show is the world's, so it is an argument.
#[derive(Clone, Debug)]
pub struct Zones(TimeZoneDatabase);

impl Zones {
    /// The zones this binary was built with: the same everywhere, as old as the binary.
    pub fn built_in() -> Self {
        Zones(TimeZoneDatabase::bundled())
    }

    /// A database from outside.
    pub fn new(zones: TimeZoneDatabase) -> Self {
        Zones(zones)
    }

    /// A zone of this name. Only UTC and names with a region: `EST` and the like are offsets that
    /// never move, `localtime` is another zone on another machine, and the files below `right`
    /// count leap seconds.
    fn get(&self, name: &str) -> Option<TimeZone> {
        if name == "UTC" {
            return Some(TimeZone::UTC);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_+-".contains(&b);
        let (region, _) = name.split_once('/')?;
        let other = ["right", "posix"].iter().any(|other| region.eq_ignore_ascii_case(other));
        if other || name.len() > ZONE_BYTES_MAX || !name.bytes().all(plain) {
            return None;
        }
        self.0.get(name).ok().filter(|zone| !zone.is_unknown())
    }
}

/// A cron expression in a time zone.
#[derive(Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    /// Real time counts: the hour field admits every hour.
    hourly: bool,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.zone.iana_name().unwrap_or("UTC"))
    }
}

impl Schedule {
    /// Parses a cron expression of five fields (minute first), six (second first) or seven (year
    /// last) for a zone of the IANA database.
    ///
    /// # Errors
    /// `SCHEDULE_SYNTAX`, `SCHEDULE_WEEKDAY`, `SCHEDULE_DAYS`, `SCHEDULE_ZONE`; each names its
    /// field.
    pub fn parse(cron: &str, zone: &str, zones: &Zones) -> Result<Schedule, Refusal> {
        let cron = parsed(cron)?;
        let fix = "no such time zone; write UTC or a name of the IANA database with its region, \
                   e.g. \"Europe/Berlin\"";
        let zone =
            zones.get(zone).ok_or_else(|| Refusal::new("SCHEDULE_ZONE", fix).field("zone"))?;
        let hourly = cron.hours().is_all();
        Ok(Schedule { cron, zone, hourly })
    }

    /// The first instant after `last` at which the schedule fires; none if it never does again.
    /// It fires on whole seconds; no schedule fires after the year 2100.
    pub fn next(&self, last: UtcNanos) -> Option<UtcNanos> {
        let last = i64::try_from(last.seconds()).ok()?;
        let next = if self.hourly { self.next_shown(last) } else { self.next_reached(last) };
        instant(next?)
    }

    /// Whether it fires in one second of a minute only.
    pub fn is_by_the_minute(&self) -> bool {
        self.cron.seconds().count() == 1
    }

    /// The newest instant after `after` and not after `until` at which the schedule fires.
    pub fn latest(&self, after: UtcNanos, until: UtcNanos) -> Option<UtcNanos> {
        let within = |after| self.next(after).filter(|next| *next <= until);
        let mut found = within(after)?;
        let (mut low, mut high) = (found.seconds(), until.seconds());
        while low < high {
            let middle = low + (high - low) / 2;
            match within(UtcNanos(middle.saturating_mul(NANOS_PER_SECOND))) {
                Some(later) => {
                    found = later;
                    low = later.seconds();
                }
                None => high = middle,
            }
        }
        Some(found)
    }

    /// The first instant after `last` at which one of the times is reached. What the clock of
    /// `last` has passed is reached already; in the second pass of a fold so is what comes twice.
    fn next_reached(&self, last: i64) -> Option<i64> {
        let mut local = last + self.offset(last)?;
        loop {
            local = self.time_after(local)?;
            let at = self.first_reach(local)?;
            if at > last {
                return Some(at);
            }
        }
    }

    /// The first instant after `last` whose local time is one of the times.
    fn next_shown(&self, last: i64) -> Option<i64> {
        let mut from = last + 1;
        while from < LAST_SECOND {
            let offset = self.offset(from)?;
            let change = self.change_after(from);
            if let Some(local) = self.time_after(from + offset - 1) {
                let at = local - offset;
                if change.is_none_or(|change| at < change) {
                    return Some(at);
                }
            }
            from = change?;
        }
        None
    }

    /// The first instant at which the zone's clock shows `local` or later.
    fn first_reach(&self, local: i64) -> Option<i64> {
        let civil = Offset::UTC.to_datetime(Timestamp::from_second(local).ok()?);
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(local - i64::from(offset.seconds())),
            AmbiguousOffset::Fold { before, .. } => Some(local - i64::from(before.seconds())),
            AmbiguousOffset::Gap { before, after } => {
                // The clocks moved within these bounds: before it not yet, at the end they have.
                let mut low = local - i64::from(after.seconds());
                let mut high = local - i64::from(before.seconds());
                while low + 1 < high {
                    let middle = low + (high - low) / 2;
                    let reached = middle + self.offset(middle)? >= local;
                    *(if reached { &mut high } else { &mut low }) = middle;
                }
                Some(high)
            }
        }
    }

    /// The first of the times after `local`, on a timeline without zones.
    fn time_after(&self, local: i64) -> Option<i64> {
        // The cron crate speaks chrono; this is the one place that does.
        let after = chrono::DateTime::from_timestamp(local, 0)?;
        self.cron.after(&after).next().map(|next| next.timestamp())
    }

    fn offset(&self, second: i64) -> Option<i64> {
        let at = Timestamp::from_second(second).ok()?;
        Some(i64::from(self.zone.to_offset(at).seconds()))
    }

    fn change_after(&self, second: i64) -> Option<i64> {
        let at = Timestamp::from_second(second).ok()?;
        self.zone.following(at).next().map(|change| change.timestamp().as_second())
    }
}

fn instant(second: i64) -> Option<UtcNanos> {
    u64::try_from(second).ok()?.checked_mul(NANOS_PER_SECOND).map(UtcNanos)
}

fn parsed(text: &str) -> Result<Cron, Refusal> {
    let fix = "write five fields: minute hour day-of-month month weekday, e.g. \"30 2 * * *\"; \
               with seconds six, with a year seven";
    let syntax = || Refusal::new("SCHEDULE_SYNTAX", fix).field("cron");
    if text.len() > CRON_BYTES_MAX {
        return Err(syntax().limit(CRON_BYTES_MAX as u64));
    }
    let mut fields: Vec<&str> = text.split_ascii_whitespace().collect();
    match fields.len() {
        5 => fields.insert(0, "0"),
        6 | 7 => {}
        _ => return Err(syntax()),
    }
    for (place, (field, name)) in fields.iter().zip(FIELDS).enumerate() {
        one_field(place, field, name)?;
    }
    let cron = Cron::from_str(&fields.join(" ")).map_err(|_| syntax())?;
    if !cron.days_of_month().is_all() && !cron.days_of_week().is_all() {
        let fix = "restrict the day of the month or the weekday and leave the other *: programs \
                   disagree on whether both must match; two schedules say either";
        return Err(Refusal::new("SCHEDULE_DAYS", fix).field("cron.weekday"));
    }
    Ok(cron)
}

/// Tries one field alone, so that a refusal names it.
fn one_field(place: usize, field: &str, name: &'static str) -> Result<(), Refusal> {
    let by_number = |item: &str| {
        let days = item.split_once('/').map_or(item, |(days, _)| days);
        days.bytes().any(|b| b.is_ascii_digit())
    };
    if name == "cron.weekday" && field.split(',').any(by_number) {
        let fix = "name weekdays, Sun to Sat: 1 is Monday to some programs and Sunday to others";
        return Err(Refusal::new("SCHEDULE_WEEKDAY", fix).field(name));
    }
    let fix = match name {
        "cron.second" | "cron.minute" => "0 to 59: a number, 5-10, */15, a list of them, or *",
        "cron.hour" => "0 to 23: a number, 8-17, */6, a list of them, or *",
        "cron.day-of-month" => "1 to 31: a number, 1-7, */10, a list of them, or *",
        "cron.month" => "1 to 12 or Jan to Dec: one, Mar-May, */3, a list of them, or *",
        "cron.weekday" => "Sun to Sat: one, Mon-Fri (no range over Saturday), a list, or *",
        _ => "1970 to 2100: a year, 2027-2030, a list of them, or *",
    };
    let mut alone = ["*"; 7];
    if let Some(slot) = alone.get_mut(place) {
        *slot = field;
    }
    match Cron::from_str(&alone.join(" ")) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::new("SCHEDULE_SYNTAX", fix).field(name)),
    }
}
