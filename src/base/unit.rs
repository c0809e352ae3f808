//! Units of measure as types: positions, times, days, classes. Two integers of one type never
//! sit side by side in a signature. It never reads a clock: `now` is always an argument.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Nanoseconds of one second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Nanoseconds of one UTC day (leap seconds are smeared, as in POSIX time).
pub const NANOS_PER_DAY: u64 = 86_400 * NANOS_PER_SECOND;

/// Position of an entry in its tenant's log, from 0.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EntryIndex(pub u64);

/// Number of entries in a log: the size of its tree.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TreeSize(pub u64);

/// Nanoseconds since 1970-01-01T00:00:00Z; 0 means "none". Reaches to the year 2554.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UtcNanos(pub u64);

/// Whole UTC days since 1970-01-01: a retention bucket.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Day(pub u32);

/// Calendar months since January 1970: the scope of a subject tag.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Month(pub u32);

/// Number of a retention class, as `policies/classes.toml` states it.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ClassId(pub u16);

/// Generation of a key tree: how often its root key was replaced.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// One retention class on one day: the grain of expiry, and of a body file.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct ClassDay {
    /// The retention class.
    pub class: ClassId,
    /// The day on which the groups were sealed.
    pub day: Day,
}

impl UtcNanos {
    /// The UTC day this instant lies in.
    pub fn day(self) -> Day {
        Day(u32::try_from(self.0 / NANOS_PER_DAY).unwrap_or(u32::MAX))
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0 / NANOS_PER_SECOND
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Parses an RFC 3339 instant (any offset); refuses instants before 1970 and after 2554.
    pub fn parse(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(instant.as_nanosecond()).ok().map(UtcNanos)
    }
}

impl fmt::Display for UtcNanos {
    /// RFC 3339 in UTC with as many sub-second digits as are not zero; `-` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Day {
    /// The last day there is, 2554-07-21: the last one whose first instant is a time, and so the
    /// last one whose text is read back. What has no end ends here.
    pub const LAST: Day = Day((u64::MAX / NANOS_PER_DAY) as u32);

    /// First instant of the day.
    pub fn start(self) -> UtcNanos {
        UtcNanos(u64::from(self.0).saturating_mul(NANOS_PER_DAY))
    }

    /// First instant after the day.
    pub fn end(self) -> UtcNanos {
        UtcNanos((u64::from(self.0) + 1).saturating_mul(NANOS_PER_DAY))
    }

    /// Year, month (1-12) and day of month (1-31), proleptic Gregorian.
    pub fn civil(self) -> (u32, u32, u32) {
        // Howard Hinnant's days-to-civil, for days since 1970 only (never negative).
        let z = u64::from(self.0) + 719_468;
        let era = z / 146_097;
        let doe = z - era * 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        (year as u32, month as u32, day as u32)
    }

    /// The calendar month the day lies in.
    pub fn month(self) -> Month {
        let (year, month, _) = self.civil();
        Month((year - 1970) * 12 + month - 1)
    }

    /// Parses `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 10 {
            return None;
        }
        UtcNanos::parse(&format!("{text}T00:00:00Z")).map(UtcNanos::day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

macro_rules! text_serde {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = String::deserialize(input)?;
                $name::parse(&text).ok_or_else(|| serde::de::Error::custom("not a UTC time"))
            }
        }
    )*};
}
text_serde!(UtcNanos, Day);

macro_rules! number_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
number_display!(EntryIndex, TreeSize, ClassId, Generation);

impl fmt::Display for ClassDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.class, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_print_and_parse() {
        for (text, day) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-21", 20_778)] {
            assert_eq!(Day(day).to_string(), text);
            assert_eq!(Day::parse(text), Some(Day(day)));
        }
        assert_eq!(Day(20_778).month(), Month(56 * 12 + 10));
        assert_eq!(Day::LAST.to_string(), "2554-07-21");
        assert_eq!(Day::parse("2554-07-21"), Some(Day::LAST));
        assert_eq!(Day::parse(&Day(Day::LAST.0 + 1).to_string()), None);
    }

    #[test]
    fn instants_round_trip() {
        let now = UtcNanos::parse("2026-11-21T05:47:18.25+01:00");
        assert_eq!(now.map(|t| t.to_string()).as_deref(), Some("2026-11-21T04:47:18.25Z"));
        assert_eq!(UtcNanos::parse("1969-12-31T23:59:59Z"), None);
    }
}
