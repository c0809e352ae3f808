//! The benchmark's input: canonical events of one shape, 589 bytes each on average, one person
//! per event, four values to seal and the rest under `data`. Seeded, so runs compare.

use crate::cli::demo::prng::Dice;

/// People the corpus speaks of; each event names one of them by one identifier.
pub const SUBJECTS: u64 = 10_000;
/// Average length the corpus aims at: that of the real events measured for the design.
pub const EVENT_BYTES: usize = 589;

/// `n` events of the corpus, without line ends.
pub fn corpus(seed: u64, n: usize) -> Vec<String> {
    let mut dice = Dice::new(seed, "corpus");
    (0..n as u64).map(|number| event(number, &mut dice)).collect()
}

/// One event. `action`, `actor.id`, `origin.ip` and `session_id` are the four sealed values
/// beside `data`; duplicates are told by `source_seq`.
fn event(number: u64, dice: &mut Dice) -> String {
    // Every person appears within the first 10,000 events; later ones are drawn.
    let person = if number < SUBJECTS { number } else { dice.below(SUBJECTS) };
    let second = number / 1_000 % 86_400;
    let (verb, action) = match dice.below(4) {
        0 => ("create", "document.create"),
        1 => ("update", "document.update"),
        _ => ("read", "document.read"),
    };
    let mut text = format!(
        concat!(
            r#"{{"time":"2026-11-20T{h:02}:{m:02}:{s:02}.{ms:03}Z","#,
            r#""source_seq":{seq},"#,
            r#""actor":{{"id":"u-{person:06}"}},"action":"{action}","category":"data","#,
            r#""verb":"{verb}","outcome":"success","severity":{severity},"#,
            r#""origin":{{"ip":"10.{a}.{b}.{c}"}},"session_id":"{session}","#,
            r#""data":{{"request":"{request}","status":200,"#,
            r#""path":"/v1/projects/{project}/documents/{document}","#,
            r#""bytes":{bytes},"duration_us":{duration},"region":"eu-north-1","#,
            r#""node":"{node}","note":""#
        ),
        person = person,
        action = action,
        verb = verb,
        h = second / 3_600,
        m = second / 60 % 60,
        s = second % 60,
        ms = number % 1_000,
        seq = number + 1,
        severity = dice.below(4),
        a = dice.below(256),
        b = dice.below(256),
        c = dice.below(256),
        session = dice.hex(24),
        request = dice.uuid(),
        project = dice.between(1_000, 9_999),
        document = dice.between(100_000, 999_999),
        bytes = dice.between(100, 90_000),
        duration = dice.between(200, 90_000),
        node = dice.hex(6),
    );
    // Lengths spread evenly around the average, as free text makes them.
    let length = EVENT_BYTES as u64 - 60 + dice.below(121);
    while (text.len() as u64) < length.saturating_sub(3) {
        let left = (length.saturating_sub(3) - text.len() as u64).min(16);
        text.push_str(&dice.hex(left as usize));
    }
    text.push_str(r#""}}"#);
    text
}
