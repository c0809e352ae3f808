//! The demo's day and the bench's corpus: repeatable, of real shape, naming only invented people.

use chancery::base::event::{Category, Outcome, Verb};
use chancery::base::unit::{Day, UtcNanos};
use chancery::cli::demo::cast::{Cast, Role};
use chancery::cli::demo::{Generated, Scenario, corpus, story};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SCENARIO: Scenario = Scenario { seed: 1, people: 600, events: 30_000, date: Day(20_777) };

fn parsed(day: &[Generated]) -> Vec<Value> {
    day.iter().map(|e| serde_json::from_str(&e.json).expect(&e.json)).collect()
}

/// The identifiers of each person of an event, the actor first.
fn subjects(event: &Value) -> Vec<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let actor = [("user_id", "id"), ("email", "email")]
        .into_iter()
        .filter_map(|(kind, key)| Some((kind.to_owned(), text(&event["actor"][key])?)));
    let named = event["subjects"].as_array().into_iter().flatten().map(|subject| {
        let identifiers = subject["identifiers"].as_array().unwrap().iter();
        identifiers.map(|i| (text(&i["kind"]).unwrap(), text(&i["value"]).unwrap())).collect()
    });
    std::iter::once(actor.collect()).chain(named).collect()
}

/// Identifier as a registry would normalise it: enough for counting people.
fn normal(kind: &str, value: &str) -> String {
    match kind {
        "email" => value.to_lowercase(),
        "phone" => value.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect(),
        _ => value.to_owned(),
    }
}

#[test]
fn one_seed_gives_one_day() {
    let scenario = Scenario { people: 120, events: 3_000, ..SCENARIO };
    let day = scenario.generate();
    assert_eq!(day, scenario.generate());
    assert_ne!(day, Scenario { seed: 2, ..scenario }.generate());
    assert_eq!(corpus::corpus(5, 200), corpus::corpus(5, 200));
    assert_ne!(corpus::corpus(5, 200), corpus::corpus(6, 200));
}

#[test]
fn a_day_has_exactly_the_events_asked_for_in_order_and_numbered() {
    for events in [0, 1, 500, 30_000] {
        let day = Scenario { events, ..SCENARIO }.generate();
        assert_eq!(day.len(), events);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut last, mut ids) = (UtcNanos(0), BTreeSet::new());
        for (generated, event) in day.iter().zip(parsed(&day)) {
            let time = UtcNanos::parse(event["time"].as_str().unwrap()).unwrap();
            assert!(time >= last && time.day() == SCENARIO.date);
            last = time;
            let count = counts.entry(generated.source).or_default();
            *count += 1;
            assert_eq!(event["source_seq"], json!(*count));
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
        }
    }
}

#[test]
fn a_day_speaks_the_closed_words() {
    for event in parsed(&SCENARIO.generate()) {
        let word = |key: &str| event[key].as_str().unwrap().to_owned();
        assert!(Category::from_name(&word("category")).is_some(), "{event}");
        assert!(Verb::from_name(&word("verb")).is_some(), "{event}");
        assert!(Outcome::from_name(&word("outcome")).is_some(), "{event}");
        assert!(event["severity"].as_u64().unwrap() <= 10, "{event}");
        let failed = matches!(word("outcome").as_str(), "failure" | "denied" | "error");
        assert_eq!(failed, event.get("error").is_some(), "{event}");
        for identifiers in subjects(&event) {
            assert!(!identifiers.is_empty(), "{event}");
        }
    }
}

#[test]
fn a_day_has_the_size_and_the_sources_of_a_real_one() {
    let day = SCENARIO.generate();
    let bytes: usize = day.iter().map(|e| e.json.len()).sum();
    let average = bytes / day.len();
    assert!((540..=640).contains(&average), "average event is {average} bytes, aim 589");
    assert!(day.iter().all(|e| e.json.len() < 4_096));

    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &day {
        *sources.entry(event.source).or_default() += 1;
    }
    assert_eq!(sources.keys().copied().collect::<Vec<_>>(), ["crm", "ehr", "idp"]);
    for (source, n) in &sources {
        assert!(*n * 20 > day.len(), "{source} has only {n} of {}", day.len());
    }
    // Work follows shifts: mid-morning is busier than the small hours, which are not empty.
    let mut hours = [0_usize; 24];
    for event in parsed(&day) {
        hours[event["time"].as_str().unwrap()[11..13].parse::<usize>().unwrap()] += 1;
    }
    assert!(hours.iter().all(|n| *n > 100), "{hours:?}");
    assert!(hours[9] > hours[3], "{hours:?}");
}

#[test]
fn everybody_appears_by_several_identifiers() {
    let cast = SCENARIO.cast();
    assert_eq!(cast.people.len(), SCENARIO.people);
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in parsed(&SCENARIO.generate()) {
        for identifiers in subjects(&event) {
            for (kind, value) in identifiers {
                seen.entry(kind.clone()).or_default().insert(normal(&kind, &value));
            }
        }
    }
    for person in &cast.people {
        let mut known = usize::from(seen["email"].contains(&person.email));
        known += usize::from(seen["user_id"].contains(&person.user_id));
        known += usize::from(seen["phone"].contains(&person.phone));
        let number = person.patient_number.as_ref();
        known += usize::from(number.is_some_and(|n| seen["patient_id"].contains(n)));
        let least = if person.role == Role::Patient { 4 } else { 2 };
        assert!(known >= least, "{} is known by {known}", person.number);
    }
    // Nobody else appears: normalisation leads every spelling back to the cast.
    assert_eq!(seen["email"].len(), cast.people.len());
}

#[test]
fn identifiers_of_a_cast_are_unique_and_reserved() {
    let Cast { people, .. } = Cast::new(9, 5_000);
    let unique = |values: Vec<String>| values.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(unique(people.iter().map(|p| p.email.clone()).collect()), people.len());
    assert_eq!(unique(people.iter().map(|p| p.user_id.clone()).collect()), people.len());
    assert_eq!(unique(people.iter().map(|p| p.phone.clone()).collect()), people.len());
    let numbers: Vec<String> = people.iter().filter_map(|p| p.patient_number.clone()).collect();
    assert_eq!(unique(numbers.clone()), numbers.len());
    for person in &people {
        assert!(person.email.is_ascii() && person.email.ends_with(".example"), "{}", person.email);
        assert!(person.phone.len() == 12 && person.phone[5..].starts_with("55501"));
    }
}

#[test]
fn the_leaver_is_known_in_three_sources_none_of_which_knows_all() {
    let cast = SCENARIO.cast();
    let leaver = cast.person(cast.leaver).unwrap();
    let number = leaver.patient_number.clone().unwrap();
    let mine = BTreeMap::from([
        ("email", leaver.email.clone()),
        ("user_id", leaver.user_id.clone()),
        ("phone", leaver.phone.clone()),
        ("patient_id", number),
    ]);
    let day = SCENARIO.generate();
    let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (generated, event) in day.iter().zip(parsed(&day)) {
        for (kind, value) in subjects(&event).into_iter().flatten() {
            if mine.get(kind.as_str()) == Some(&normal(&kind, &value)) {
                kinds.entry(generated.source).or_default().insert(kind);
            }
        }
    }
    let names = |source: &str| kinds[source].iter().cloned().collect::<Vec<_>>();
    assert_eq!(names("idp"), ["email", "user_id"]);
    assert_eq!(names("crm"), ["email", "phone"]);
    assert_eq!(names("ehr"), ["patient_id", "phone"]);
}

#[test]
fn the_story_is_told_whatever_the_seed() {
    for seed in [0, 1, 77, u64::MAX] {
        let scenario = Scenario { seed, people: 24, events: 2_000, ..SCENARIO };
        let events = parsed(&scenario.generate());
        let count = |action: &str, key: &str, value: Value| {
            events.iter().filter(|e| e["action"] == action && e["data"][key] == value).count()
        };
        assert_eq!(count("chart.open", "flag", json!("vip")), story::LOOKS);
        assert_eq!(count("chart.open", "relation", json!("break-glass")), 1);
        assert_eq!(count("user.account.lock", "unlock", json!("manual")), 1);
        assert_eq!(count("contacts.export", "format", json!("csv")), 1);
        assert_eq!(count("record.disclose", "pages", json!(318)), 1);
        assert_eq!(count("consent.withdraw", "version", json!(3)), 1);
        let guesses = events.iter().filter(|e| e["data"]["attempt"].is_u64()).count();
        assert_eq!(guesses, story::GUESSES);
    }
}

#[test]
fn free_text_names_only_people_the_event_is_about() {
    let cast = SCENARIO.cast();
    for event in parsed(&SCENARIO.generate()) {
        let Some(text) = event["data"]["text"].as_str() else { continue };
        let mine: BTreeSet<String> = subjects(&event)
            .into_iter()
            .flatten()
            .map(|(kind, value)| normal(&kind, &value))
            .collect();
        let about: Vec<_> = cast
            .people
            .iter()
            .filter(|p| {
                mine.contains(&p.email)
                    || p.patient_number.as_ref().is_some_and(|n| mine.contains(n))
            })
            .collect();
        assert!(about.iter().any(|p| text.contains(&p.name)), "{event}");
    }
}

#[test]
fn the_corpus_is_what_the_bench_says_it_is() {
    let events = corpus::corpus(1, 20_000);
    let bytes: usize = events.iter().map(String::len).sum();
    let average = bytes as f64 / events.len() as f64;
    assert!((average - corpus::EVENT_BYTES as f64).abs() < 2.0, "average {average}");
    let mut people = BTreeSet::new();
    for event in &events {
        let event: Value = serde_json::from_str(event).expect(event);
        people.insert(event["actor"]["id"].as_str().unwrap().to_owned());
        assert!(UtcNanos::parse(event["time"].as_str().unwrap()).is_some());
        for sealed in [&event["action"], &event["origin"]["ip"], &event["session_id"]] {
            assert!(sealed.is_string());
        }
    }
    assert_eq!(people.len() as u64, corpus::SUBJECTS);
}
