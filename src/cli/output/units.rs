//! Numbers for people: sizes, durations, counts, shares. Exact values belong in `--json`.

use std::time::Duration;

/// Bytes in binary units, three significant digits: `589 B`, `1.20 KiB`, `64.0 MiB`.
pub fn bytes(value: u64) -> String {
    let mut size = value as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // 1023.5 and more would round to "1024".
        if size < 999.5 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{value} B") } else { format!("{} {unit}", digits(size)) }
}

/// A duration, three significant digits below a minute: `88 us`, `4.20 ms`, `1 h 02 m`.
pub fn duration(value: Duration) -> String {
    let nanos = value.as_nanos();
    let seconds = value.as_secs();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..999_500 => format!("{} us", digits(nanos as f64 / 1e3)),
        999_500..999_500_000 => format!("{} ms", digits(nanos as f64 / 1e6)),
        999_500_000..59_950_000_000 => format!("{} s", digits(nanos as f64 / 1e9)),
        _ if seconds < 3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A count with a comma every three digits: `107,696`.
pub fn count(value: u64) -> String {
    let plain = value.to_string();
    let mut text = String::with_capacity(plain.len() * 4 / 3 + 1);
    for (position, digit) in plain.chars().enumerate() {
        if position > 0 && (plain.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Events in a time as a rate: `148,201/s`; `-` when no time has passed.
pub fn rate(events: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    format!("{}/s", count((events as f64 / seconds) as u64))
}

/// Three significant digits without an exponent.
fn digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (value, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_024, "1.00 KiB"),
            (1_229, "1.20 KiB"),
            (64 << 20, "64.0 MiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn durations() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (88_000, "88.0 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (4_204_000, "4.20 ms"),
            (999_500_000, "1.00 s"),
            (59_949_999_999, "59.9 s"),
            (61_000_000_000, "1 m 01 s"),
            (3_720_000_000_000, "1 h 02 m"),
            (90_000_000_000_000, "1 d 01 h"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn counts_and_rates() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (107_696, "107,696")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(rate(10, Duration::ZERO), "-");
        assert_eq!(rate(3_000, Duration::from_millis(1_500)), "2,000/s");
    }
}
