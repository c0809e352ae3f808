//! Schedules and zones: named days on which clocks moved, one by one; what is refused; and random
//! schedules against a reference that walks instants and looks at the clock of each.

use crate::support::sim::Rng;
use chancery::base::unit::UtcNanos;
use chancery::policy::schedule::{Schedule, Zones};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::parse(cron, zone, &Zones::built_in()).unwrap()
}

fn at(text: &str) -> UtcNanos {
    UtcNanos::parse(text).unwrap()
}

/// The firings after `from` are exactly these, in order.
#[track_caller]
fn fires(cron: &str, zone: &str, from: &str, expected: &[&str]) {
    let schedule = schedule(cron, zone);
    let mut last = at(from);
    for want in expected {
        let next = schedule.next(last).unwrap();
        assert_eq!(next.to_string(), *want, "{cron} in {zone} after {last}");
        last = next;
    }
}

#[test]
fn utc_never_moves() {
    fires(
        "30 2 * * *",
        "UTC",
        "2026-03-28T02:30:00Z",
        &["2026-03-29T02:30:00Z", "2026-03-30T02:30:00Z"],
    );
    fires("0 30 2 * * *", "UTC", "2026-11-21T02:29:59.999Z", &["2026-11-21T02:30:00Z"]);
    fires("0 0 0 29 2 * 2028", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    assert_eq!(schedule("0 0 0 29 2 * 2028", "UTC").next(at("2028-02-29T00:00:00Z")), None);
    assert_eq!(schedule("0 0 30 2 *", "UTC").next(at("2026-01-01T00:00:00Z")), None);
    assert_eq!(schedule("0 * 30 2 *", "Europe/Berlin").next(at("2026-01-01T00:00:00Z")), None);
    for zone in ["UTC", "Europe/Berlin"] {
        for cron in ["0 0 1 1 *", "0 * * * *"] {
            assert_eq!(schedule(cron, zone).next(UtcNanos(u64::MAX)), None);
            assert_eq!(schedule(cron, zone).next(at("2101-01-01T00:00:00Z")), None);
        }
    }
}

#[test]
fn berlin_puts_its_clocks_forward() {
    let zone = "Europe/Berlin";
    // 02:30 on 2026-03-29 and 2027-03-28 does not exist: 03:00 CEST instead, once.
    for (before, change, after) in [
        ("2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
        ("2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"),
    ] {
        fires("30 2 * * *", zone, before, &[change, after]);
        fires("0,15,30,45 2 * * *", zone, &before.replace("01:30", "01:45"), &[change]);
    }
    // What is due at 03:00 anyway does not fire twice for it.
    fires(
        "0,30 2,3 * * *",
        zone,
        "2026-03-29T00:59:59Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"],
    );
    // Every hour is every real hour, and nothing is moved.
    fires(
        "30 * * * *",
        zone,
        "2026-03-28T23:30:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"],
    );
}

#[test]
fn berlin_puts_its_clocks_back() {
    let zone = "Europe/Berlin";
    // 02:30 on 2026-10-25 and 2027-10-31 comes twice: the first one counts.
    for (before, first, after) in [
        ("2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("2027-10-30T00:30:00Z", "2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"),
    ] {
        fires("30 2 * * *", zone, before, &[first, after]);
    }
    // From within the second pass nothing of the first comes again.
    fires("*/20 2 * * *", zone, "2026-10-25T01:05:00Z", &["2026-10-26T01:00:00Z"]);
    // Every two hours leaves out the second 02:00: three real hours once a year.
    fires(
        "0 */2 * * *",
        zone,
        "2026-10-24T22:00:00Z",
        &["2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z"],
    );
    fires(
        "0 * * * *",
        zone,
        "2026-10-24T23:00:00Z",
        &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
    );
    // However it is written, what admits every hour counts real time.
    fires("0 0-23 * * *", zone, "2026-10-25T00:00:00Z", &["2026-10-25T01:00:00Z"]);
    fires("* * * * *", zone, "2026-10-25T00:59:00Z", &["2026-10-25T01:00:00Z"]);
}

#[test]
fn new_york_moves_both_ways() {
    let zone = "America/New_York";
    for (before, change, after) in [
        ("2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"),
        ("2027-03-13T07:30:00Z", "2027-03-14T07:00:00Z", "2027-03-15T06:30:00Z"),
    ] {
        fires("30 2 * * *", zone, before, &[change, after]);
    }
    for (before, first, after) in [
        ("2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"),
        ("2027-11-06T05:30:00Z", "2027-11-07T05:30:00Z", "2027-11-08T06:30:00Z"),
    ] {
        fires("30 1 * * *", zone, before, &[first, after]);
    }
    fires(
        "15 * * * *",
        zone,
        "2026-11-01T04:15:00Z",
        &["2026-11-01T05:15:00Z", "2026-11-01T06:15:00Z", "2026-11-01T07:15:00Z"],
    );
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    // 2026-10-04 02:00 +10:30 becomes 02:30 +11: 02:15 fires at 02:30.
    fires(
        "15 2 * * *",
        zone,
        "2026-10-02T15:45:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    );
    // 2027-04-04 02:00 +11 becomes 01:30 +10:30: 01:45 fires in its first pass.
    fires(
        "45 1 * * *",
        zone,
        "2027-04-02T14:45:00Z",
        &["2027-04-03T14:45:00Z", "2027-04-04T15:15:00Z"],
    );
    // A clock that moves by half an hour shows minute 0 after 90 minutes, minute 45 after 30.
    fires("0 * * * *", zone, "2026-10-03T14:30:00Z", &["2026-10-03T16:00:00Z"]);
    fires("45 * * * *", zone, "2027-04-03T14:45:00Z", &["2027-04-03T15:15:00Z"]);
}

#[test]
fn apia_skipped_a_day() {
    let zone = "Pacific/Apia";
    // 2011-12-30 did not exist: 24:00 of the 29th at -10 was 00:00 of the 31st at +14.
    fires(
        "30 2 * * *",
        zone,
        "2011-12-29T12:30:00Z",
        &["2011-12-30T10:00:00Z", "2011-12-30T12:30:00Z", "2011-12-31T12:30:00Z"],
    );
    fires(
        "0 * * * *",
        zone,
        "2011-12-30T08:30:00Z",
        &["2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z"],
    );
    // What is meant for that day alone: a fixed time after the gap, every hour not at all.
    fires(
        "0 12 30 12 *",
        zone,
        "2011-12-30T08:30:00Z",
        &["2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"],
    );
    fires("0 * 30 12 *", zone, "2011-12-30T08:30:00Z", &["2012-12-29T10:00:00Z"]);
}

#[test]
fn the_newest_firing_is_found_without_walking() {
    let daily = schedule("30 2 * * *", "Europe/Berlin");
    let (after, until) = (at("2020-01-01T00:00:00Z"), at("2026-03-29T00:59:59Z"));
    assert_eq!(daily.latest(after, until), Some(at("2026-03-28T01:30:00Z")));
    assert_eq!(daily.latest(after, at("2026-03-29T01:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(daily.latest(at("2026-03-28T01:30:00Z"), until), None);
    let seconds = schedule("* * * * * *", "UTC");
    assert_eq!(seconds.latest(after, until), Some(until));
    assert_eq!(seconds.latest(after, UtcNanos(until.0 + 7)), Some(until));
}

#[test]
fn what_cannot_be_meant_is_refused_by_field() {
    let zones = Zones::built_in();
    let refused = |cron: &str, zone: &str| {
        let refusal = Schedule::parse(cron, zone, &zones).unwrap_err();
        (refusal.code, refusal.field)
    };
    let syntax = |field: &str| ("SCHEDULE_SYNTAX", field.to_owned());
    for text in ["", "every day", "@daily", "* * * *", "* * * * * * * *", &"* ".repeat(200)] {
        assert_eq!(refused(text, "UTC"), syntax("cron"), "{text}");
    }
    for (text, field) in [
        ("60 2 * * *", "cron.minute"),
        ("61 0 2 * * *", "cron.second"),
        ("0 24 * * *", "cron.hour"),
        ("0 2 0 * *", "cron.day-of-month"),
        ("0 2 1,,2 * *", "cron.day-of-month"),
        ("0 2 * 13 *", "cron.month"),
        ("0 2 * * Fri-Mon", "cron.weekday"),
        ("0 2 * * Someday", "cron.weekday"),
        ("0 0 2 * * * 2101", "cron.year"),
        ("*/0 2 * * *", "cron.minute"),
        ("0-99999999999 2 * * *", "cron.minute"),
        ("1, 2 * * * *", "cron.second"),
    ] {
        assert_eq!(refused(text, "UTC"), syntax(field), "{text}");
    }
    for text in ["0 2 * * 1", "0 2 * * 0-4", "0 2 * * Mon,5", "0 0 2 * * 1/2"] {
        assert_eq!(refused(text, "UTC"), ("SCHEDULE_WEEKDAY", "cron.weekday".to_owned()));
    }
    assert_eq!(refused("0 2 1 * Mon", "UTC"), ("SCHEDULE_DAYS", "cron.weekday".to_owned()));
    for zone in [
        "",
        "utc",
        "CET",
        "EST",
        "Local",
        "localtime",
        "Europe",
        "Europe/",
        "Europe/Atlantis",
        "../Europe/Berlin",
        "right/UTC",
        "posix/Europe/Berlin",
        "Etc/Unknown",
        "/etc/localtime",
        "Europe/Berlin\0",
        "+01:00",
    ] {
        assert_eq!(refused("0 2 * * *", zone), ("SCHEDULE_ZONE", "zone".to_owned()), "{zone}");
    }
    for text in ["0 2 * * Mon-Fri", "0 2 * * Mon-Fri/2", "0 2 * * Sat,Sun", "0 2 ? * Tue"] {
        assert!(Schedule::parse(text, "Asia/Kolkata", &zones).is_ok(), "{text}");
    }
}

/// A schedule as sets of numbers, and the text that says it.
#[derive(Debug)]
struct Sets {
    second: Vec<i64>,
    minute: Vec<i64>,
    hour: Vec<i64>,
    /// Every day, some days of the month, or some weekdays from Sunday = 0.
    month_day: Option<Vec<i64>>,
    weekday: Option<Vec<i64>>,
}

impl Sets {
    fn draw(random: &mut Rng, seconds: bool) -> Sets {
        let second = if seconds { some(random, 0, 59) } else { vec![0] };
        let days = random.below(4);
        Sets {
            second,
            minute: some(random, 0, 59),
            hour: if random.below(3) == 0 { (0..24).collect() } else { some(random, 0, 23) },
            month_day: (days == 0).then(|| some(random, 1, 31)),
            weekday: (days == 1).then(|| some(random, 0, 6)),
        }
    }

    fn text(&self) -> String {
        let list = |set: &[i64]| set.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let hour = if self.hour.len() == 24 { "*".to_owned() } else { list(&self.hour) };
        let day = self.month_day.as_deref().map_or("*".to_owned(), list);
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        let named = |set: &[i64]| set.iter().map(|d| DAYS[*d as usize]).collect::<Vec<_>>();
        let weekday = self.weekday.as_deref().map_or("*".to_owned(), |set| named(set).join(","));
        format!("{} {} {hour} {day} * {weekday}", list(&self.second), list(&self.minute))
    }

    /// Whether this local time, in seconds of a timeline without zones, is one of the times.
    fn hold(&self, local: i64) -> bool {
        let (day, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        if !self.second.contains(&(second % 60))
            || !self.minute.contains(&(second / 60 % 60))
            || !self.hour.contains(&(second / 3_600))
        {
            return false;
        }
        let date = Offset::UTC.to_datetime(Timestamp::from_second(local).unwrap());
        let month_day = i64::from(date.day());
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        self.month_day.as_ref().is_none_or(|set| set.contains(&month_day))
            && self.weekday.as_ref().is_none_or(|set| set.contains(&weekday))
    }
}

/// A few numbers of a range, ascending, at least one.
fn some(random: &mut Rng, low: i64, high: i64) -> Vec<i64> {
    let one_in = 1 + random.below(8);
    let mut set: Vec<i64> = (low..=high).filter(|_| random.below(one_in) == 0).collect();
    if set.is_empty() {
        set.push(low + random.below((high - low + 1) as usize) as i64);
    }
    set
}

fn offset(zone: &TimeZone, second: i64) -> i64 {
    i64::from(zone.to_offset(Timestamp::from_second(second).unwrap()).seconds())
}

/// What fires after `last` and up to `end`, by looking at the clock every `step` seconds. A fixed
/// time fires when the clock shows it or a later one for the first time ever.
fn walked(sets: &Sets, zone: &TimeZone, last: i64, end: i64, step: i64) -> Vec<i64> {
    let hourly = sets.hour.len() == 24;
    // Two days before, so that what the clock has shown at `last` is known also in a fold.
    let mut second = (last - 2 * 86_400).div_euclid(step) * step;
    let mut shown = second + offset(zone, second);
    let mut fired = Vec::new();
    while second < end {
        second += step;
        let local = second + offset(zone, second);
        let fires = match hourly {
            true => sets.hold(local),
            false => (shown + 1..=local).filter(|n| n % step == 0).any(|n| sets.hold(n)),
        };
        shown = shown.max(local);
        if fires && second > last {
            fired.push(second);
        }
    }
    fired
}

fn stamp(second: i64) -> UtcNanos {
    UtcNanos(second as u64 * 1_000_000_000)
}

/// `next` from instant to instant says what the walk found, and from anywhere between two firings
/// it says the second.
fn compare(random: &mut Rng, sets: &Sets, name: &str, zone: &TimeZone, at: [i64; 3]) -> usize {
    let [last, end, step] = at;
    let text = sets.text();
    let schedule = schedule(&text, name);
    let expected = walked(sets, zone, last, end, step);
    let mut now = last;
    for want in &expected {
        let from = now + random.below((want - now) as usize) as i64;
        let next = schedule.next(stamp(from)).unwrap();
        assert_eq!(next, stamp(*want), "{text} in {name} after {}", stamp(from));
        now = *want;
    }
    let beyond = schedule.next(stamp(now));
    assert!(beyond.is_none_or(|next| next > stamp(end)), "{text} in {name}: {beyond:?}");
    let newest = schedule.latest(stamp(last), stamp(end));
    assert_eq!(newest, expected.last().map(|s| stamp(*s)), "{text} in {name}");
    expected.len()
}

/// Instants near a change of the zone's clocks, if it has one within a year of a random instant.
fn near_a_change(random: &mut Rng, zone: &TimeZone) -> i64 {
    let anywhere = 100_000_000 + (random.next() % 2_000_000_000) as i64;
    let change = zone.following(Timestamp::from_second(anywhere).unwrap()).next();
    change.map_or(anywhere, |change| change.timestamp().as_second()).min(4_000_000_000)
}

#[test]
fn random_schedules_fire_when_a_walk_through_time_says() {
    let seed = 4;
    println!("seed {seed}");
    let mut random = Rng::new(seed);
    let zones = TimeZoneDatabase::bundled();
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    let names: Vec<&String> = names
        .iter()
        .filter(|name| Schedule::parse("0 0 * * *", name, &Zones::built_in()).is_ok())
        .collect();
    assert!(names.len() > 400, "{}", names.len());
    let mut fired = 0;
    for round in 0..240 {
        let name = names[random.below(names.len())];
        let zone = zones.get(name).unwrap();
        let change = near_a_change(&mut random, &zone);
        // Minutes over days; every fourth time seconds over the hours around the change.
        let seconds = round % 4 == 0;
        let sets = Sets::draw(&mut random, seconds);
        let (back, span, step) = if seconds { (3_600, 9_000, 1) } else { (172_800, 432_000, 60) };
        // Old offsets with seconds can only be walked by the second.
        let odd = offset(&zone, change - 1) % 60 != 0 || offset(&zone, change) % 60 != 0;
        if odd && !seconds {
            continue;
        }
        let last = change - random.below(back) as i64;
        let end = (last + span).div_euclid(step) * step;
        fired += compare(&mut random, &sets, name, &zone, [last, end, step]);
    }
    assert!(fired > 10_000, "{fired}");
}

#[test]
fn a_change_by_odd_seconds_is_found_to_the_second() {
    // Monrovia left -00:44:30 at 1972-01-07T00:44:30Z: 00:00:00 to 00:44:29 did not exist.
    let zone = "Africa/Monrovia";
    fires("10 0 * * *", zone, "1972-01-06T12:00:00Z", &["1972-01-07T00:44:30Z"]);
    let mut random = Rng::new(9);
    let monrovia = TimeZoneDatabase::bundled().get(zone).unwrap();
    for _ in 0..8 {
        let mut sets = Sets::draw(&mut random, true);
        (sets.month_day, sets.weekday) = (None, None);
        let last = 63_593_070 - 1_800 - random.below(3_600) as i64;
        compare(&mut random, &sets, zone, &monrovia, [last, last + 9_000, 1]);
    }
}
