//! One table of text out of the numbers: the same columns for every row, a dash where a column
//! says nothing about it.

use serde_json::Value;

const HEAD: [&str; 12] = [
    "measured", "system", "per s", "low-high", "x base", "ns each", "CPU ns", "p50 ms", "p99 ms",
    "B each", "peak MiB", "lag s",
];

type Row = [String; HEAD.len()];

/// The table, the machine above it.
pub(crate) fn print(found: &Value) -> String {
    let mut rows: Vec<Row> = vec![HEAD.map(str::to_owned)];
    for group in ["cells", "hashing", "http"] {
        rows.extend(list(found, group).iter().map(|row| cell(row)));
    }
    for part in list(found, "parts") {
        rows.extend(parts(part));
    }
    let mut text = String::new();
    for (key, value) in found.get("machine").and_then(Value::as_object).into_iter().flatten() {
        text += &format!("{key}: {value}\n");
    }
    let plain = |key: &str| found.get(key).map(Value::to_string).unwrap_or_default();
    text += &format!(
        "seed {}, medians of {} runs of {} s each; x base: times {}, for hashing times stock\n\n",
        plain("seed"),
        plain("runs"),
        plain("seconds"),
        plain("baseline"),
    );
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let mut line = String::new();
        for (at, (value, width)) in row.iter().zip(&widths).enumerate() {
            line += &match at {
                0 | 1 => format!("{value:width$}  "),
                _ => format!("{value:>width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn list<'a>(found: &'a Value, key: &str) -> &'a [Value] {
    found.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn cell(row: &Value) -> Row {
    let of = |key: &str| row.get(key).and_then(Value::as_f64);
    let plain = |key: &str| row.get(key).map(Value::to_string).unwrap_or_default();
    let system = row.get("system").and_then(Value::as_str).unwrap_or_default();
    let on_way = match of("on_way") {
        Some(on_way) if on_way > 1.0 => format!(", {on_way} on the way"),
        _ => String::new(),
    };
    let spread = (of("events_per_s_low"), of("events_per_s_high"));
    let spread = match spread {
        (Some(low), Some(high)) => format!("{}-{}", whole(low), whole(high)),
        _ => "-".to_owned(),
    };
    [
        format!("append, {} x {} clients{on_way}", plain("batch"), plain("clients")),
        system.to_owned(),
        show(of("events_per_s"), whole),
        spread,
        show(of("times_base"), |v| format!("{v:.2}")),
        show(of("ns_per_event"), whole),
        show(of("cpu_ns_per_event"), whole),
        show(of("p50_us"), millis),
        show(of("p99_us"), millis),
        show(of("bytes_per_event"), whole),
        show(of("peak_mib"), whole),
        show(of("index_catch_up_s").filter(|_| system.starts_with("chancery")), |v| {
            format!("{v:.3}")
        }),
    ]
}

fn show(value: Option<f64>, how: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), how)
}

fn millis(micros: f64) -> String {
    format!("{:.3}", micros / 1e3)
}

/// A whole number with its thousands apart.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows of one further measurement.
fn parts(part: &Value) -> Vec<Row> {
    let numbers = part.get("numbers");
    let of = |key: &str| numbers.and_then(|n| n.get(key)).and_then(Value::as_f64);
    let subjects = part.get("subjects").and_then(Value::as_f64).unwrap_or(0.0);
    let row = |what: &str, rate: Option<f64>, p50: Option<f64>, p99: Option<f64>, bytes| {
        let dash = || "-".to_owned();
        [
            what.to_owned(),
            "chancery".to_owned(),
            show(rate, whole),
            dash(),
            dash(),
            show(rate.map(|rate| 1e9 / rate.max(1e-9)), whole),
            dash(),
            show(p50, millis),
            show(p99, millis),
            show(bytes, whole),
            show(of("memory.peak_mib"), whole),
            dash(),
        ]
    };
    let rate = |what: &str, key: &str| row(what, of(key), None, None, None);
    let proof = |what: &str, name: &str| {
        let key = |end: &str| of(&format!("prove.{name}.{end}"));
        row(what, key("per_s"), key("p50_us"), key("p99_us"), key("bytes"))
    };
    let disk = |what: &str, key: &str| row(what, None, None, None, of(key));
    match part.get("part").and_then(Value::as_str).unwrap_or_default() {
        "verify" => vec![
            rate("verify, entries without keys", "verify.entries_per_s"),
            rate("verify, bodies opened", "verify.bodies_per_s"),
        ],
        "prove" => vec![
            proof("prove one entry", "inclusion"),
            proof("check that proof", "check"),
            proof("prove a range of 1,000", "range_1000"),
        ],
        "disk" => vec![
            disk("disk, as written", "disk.plain.bytes_per_event"),
            disk("disk, packed, with the open tail", "disk.packed.bytes_per_event"),
            rate("packing, events", "disk.pack_events_per_s"),
        ],
        "erase" => {
            let micros = |key: &str| of(key).map(|ms| ms * 1e3);
            let (p50, p99) = (micros("erase.p50_ms"), micros("erase.p99_ms"));
            let what = format!("erase one of {} subjects", whole(subjects));
            vec![row(&what, p50.map(|us| 1e6 / us.max(1e-9)), p50, p99, of("erase.bytes_written"))]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let found: Vec<String> = [0.0, 999.4, 1_000.0, 1_234_567.0].map(whole).into();
        assert_eq!(found, ["0", "999", "1,000", "1,234,567"]);
    }
}
