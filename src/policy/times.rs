//! Instants as sources write them. RFC 3339 and nothing looser, so that two readers never see
//! two times; a local time without zone is read as UTC only where a mapping says so.
//! It never reads a clock.

use crate::base::unit::{NANOS_PER_DAY, NANOS_PER_SECOND, UtcNanos};

/// An instant and whether printing it in UTC says the same as the text did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instant {
    /// The instant.
    pub time: UtcNanos,
    /// False when the text said more: an offset, a leap second, another form.
    pub whole: bool,
}

/// Reads an RFC 3339 instant from 1970 on; with `assume_utc` also a time without zone.
pub fn parse(text: &str, assume_utc: bool) -> Option<Instant> {
    let bytes = text.as_bytes();
    let date: &[u8; 19] = bytes.first_chunk()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, split, _, _, b':', _, _, b':', _, _] = date else {
        return None;
    };
    if !matches!(split, b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (number(date, 0, 4)?, number(date, 5, 2)?, number(date, 8, 2)?);
    let (hour, minute, second) = (number(date, 11, 2)?, number(date, 14, 2)?, number(date, 17, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let (nanos, zone) = fraction(bytes.get(19..)?)?;
    let (offset, utc) = zone_seconds(zone, assume_utc)?;
    let leap = second == 60;
    let clock = hour * 3600 + minute * 60 + second.min(59);
    let nanos = if leap { NANOS_PER_SECOND - 1 } else { nanos };
    let local = u64::try_from(days).ok()?.checked_mul(NANOS_PER_DAY)?;
    let local = local.checked_add(u64::from(clock) * NANOS_PER_SECOND + nanos)?;
    let time = local.checked_add_signed(-offset * NANOS_PER_SECOND as i64)?;
    let whole = utc && *split == b'T' && !leap && time != 0;
    Some(Instant { time: UtcNanos(time), whole })
}

/// Reads milliseconds since 1970 as JSON writes a number, at most six digits after the point. It is
/// never whole: the number stays with the record.
pub fn epoch_ms(text: &str) -> Option<Instant> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let scale = 10u64.pow(6 - u32::try_from(fraction.len()).ok()?);
    let nanos = whole.parse::<u64>().ok()?.checked_mul(NANOS_PER_SECOND / 1000)?;
    let time = nanos.checked_add(fraction.parse::<u64>().ok()? * scale)?;
    Some(Instant { time: UtcNanos(time), whole: false })
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    bytes
        .get(at..at + len)?
        .iter()
        .try_fold(0, |n, byte| byte.is_ascii_digit().then(|| n * 10 + u32::from(byte - b'0')))
}

/// Days since 1970 of a proleptic Gregorian date (Howard Hinnant's algorithm); none if the date
/// does not exist.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > length || year == 0 {
        return None;
    }
    let shifted = i64::from(year) - i64::from(month <= 2);
    let era = shifted / 400;
    let year_of_era = shifted - era * 400;
    let month = i64::from((month + 9) % 12);
    let day_of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Nanoseconds of a fraction of at most nine digits, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let [b'.', rest @ ..] = bytes else { return Some((0, bytes)) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    let value = u64::from(number(rest, 0, digits)?);
    let scale = 10u64.pow(9 - u32::try_from(digits).ok()?);
    Some((value * scale, rest.get(digits..)?))
}

/// Seconds east of UTC, and whether the zone was written `Z`.
fn zone_seconds(zone: &[u8], assume_utc: bool) -> Option<(i64, bool)> {
    match zone {
        b"Z" => Some((0, true)),
        b"z" => Some((0, false)),
        [] => assume_utc.then_some((0, false)),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone, 1, 2)?, number(zone, 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 3600 + minutes * 60);
            Some((if *sign == b'-' { -seconds } else { seconds }, false))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expect: Option<(&str, bool)>) {
        let found = parse(text, false).map(|i| (i.time.to_string(), i.whole));
        assert_eq!(found, expect.map(|(t, whole)| (t.to_owned(), whole)), "{text}");
    }

    #[test]
    fn instants() {
        check("2023-07-10T11:42:36Z", Some(("2023-07-10T11:42:36Z", true)));
        check("2020-06-10T02:50:56.540Z", Some(("2020-06-10T02:50:56.54Z", true)));
        check("2026-11-21T05:47:18.25+01:00", Some(("2026-11-21T04:47:18.25Z", false)));
        check("2026-01-01T00:30:00-00:30", Some(("2026-01-01T01:00:00Z", false)));
        check("2016-12-31T23:59:60Z", Some(("2016-12-31T23:59:59.999999999Z", false)));
        check("1970-01-01T00:00:00Z", Some(("-", false)));
        for bad in [
            "",
            "2020-06-09 22:50:54",
            "2020-06-09",
            "2021-02-29T00:00:00Z",
            "2020-13-01T00:00:00Z",
            "2020-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2020-01-01T00:00:00",
            "9999-01-01T00:00:00Z",
            "2020-01-01T00:00:00.Z",
            "2020-01-01T00:00:00.1234567890Z",
            "2020-01-01T00:00:00+2:00",
            "1970-01-01T00:00:00+01:00",
            "0000-01-01T00:00:00Z",
            "2020-01-01X00:00:00Z",
        ] {
            check(bad, None);
        }
        let local = parse("2020-10-18 10:56:18.799", true);
        assert_eq!(local.map(|i| i.time.to_string()).as_deref(), Some("2020-10-18T10:56:18.799Z"));
    }

    #[test]
    fn milliseconds() {
        let check = |text: &str, expect: Option<&str>| {
            let found = epoch_ms(text).map(|i| i.time.to_string());
            assert_eq!(found.as_deref(), expect, "{text}");
        };
        check("1621305118553", Some("2021-05-18T02:31:58.553Z"));
        check("1621305118553.0", Some("2021-05-18T02:31:58.553Z"));
        check("1621305118553.25", Some("2021-05-18T02:31:58.55325Z"));
        check("0", Some("-"));
        for bad in ["", "-1", "1.", ".5", "1e12", "1.1234567", "18446744073710", "1 "] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn prints_and_reads_the_same(nanos in 1u64..18_000_000_000_000_000_000) {
            let time = UtcNanos(nanos);
            prop_assert_eq!(parse(&time.to_string(), false), Some(Instant { time, whole: true }));
            prop_assert_eq!(UtcNanos::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9TZ:. +-]{0,32}", any in ".{0,32}") {
            parse(&text, true);
            parse(&any, true);
            epoch_ms(&text);
            epoch_ms(&any);
        }
    }
}
