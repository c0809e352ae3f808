//! What the mapping language can say: paths through arrays, times as numbers, parts of values.

use crate::policy::{assert_lossless, groups, persons};
use chancery::base::event::{Draft, Event};
use chancery::base::refusal::Refusal;
use chancery::policy::classify::{Policies, Scratch};
use chancery::policy::default_files;

const HEAD: &str = r#"
source = "test"
[code]
action = "action"
default = "other.other"
[outcome]
default = "unknown"
[severity]
default = 1
"#;

fn policies(text: &str) -> Result<Policies, String> {
    let mut files = default_files();
    files.insert("sources/test.toml".into(), format!("{HEAD}{text}"));
    Policies::parse(&files).map_err(|error| error.to_string())
}

fn read<'a>(policies: &Policies, json: &'a str) -> Result<Event<'a>, Refusal> {
    let draft = Draft { source: "test", json: json.as_bytes() };
    let event = policies.event(draft, &mut Scratch::default())?;
    assert_lossless(json, &event);
    Ok(event)
}

#[test]
fn paths_go_through_arrays_and_dotted_names() {
    let policies = policies(
        r#"[map]
        "list[0].name" = "actor.name"
        "list[kind=b].name" = "target.name"
        "list[flag=true].name" = "reason"
        'top."a.b/c"' = "message"
        "pairs[0][0]" = "host""#,
    )
    .unwrap();
    let json = r#"{"list":[{"kind":"a","name":"first"},{"kind":"b","name":"second"},
        {"kind":"b","flag":true,"name":"third"}],"top":{"a.b/c":"dotted"},"pairs":[["x"],"y"]}"#;
    assert_eq!(
        groups(&read(&policies, json).unwrap()),
        [concat!(
            r#"[] actor.name="first" data={"list":[{"kind":"a","name":"first"},"#,
            r#"{"kind":"b","name":"second"},"#,
            "\n        ",
            r#"{"kind":"b","flag":true,"name":"third"}],"pairs":[["x"],"y"]} host="x" "#,
            r#"message="dotted" reason="third" target.name="second""#
        )]
    );
    // What is no array has no elements, and an empty one neither.
    for json in [r#"{"list":{"0":{"name":"x"}}}"#, r#"{"list":[]}"#, r#"{"list":["x",1,null]}"#] {
        assert_eq!(groups(&read(&policies, json).unwrap()), [format!("[] data={json}")]);
    }
}

#[test]
fn times_are_texts_or_milliseconds() {
    let policies = policies(
        r#"[time]
        assume_utc = ["a"]
        epoch_ms = ["a", "b"]"#,
    )
    .unwrap();
    for (json, time) in [
        (r#"{"a":1621305118553}"#, "2021-05-18T02:31:58.553Z"),
        (r#"{"b":1621305118553.5}"#, "2021-05-18T02:31:58.5535Z"),
        (r#"{"a":"2021-05-18 02:31:58"}"#, "2021-05-18T02:31:58Z"),
        (r#"{"a":null,"b":1000}"#, "1970-01-01T00:00:01Z"),
        (r#"{}"#, "-"),
    ] {
        assert_eq!(read(&policies, json).unwrap().time.to_string(), time, "{json}");
    }
    for json in [
        r#"{"b":"2021-05-18T02:31:58Z"}"#,
        r#"{"b":"1621305118553"}"#,
        r#"{"a":-1}"#,
        r#"{"a":1e12}"#,
        r#"{"a":18446744073709551615}"#,
        r#"{"a":true}"#,
        r#"{"a":[1621305118553]}"#,
    ] {
        let refusal = read(&policies, json).map(|event| groups(&event)).unwrap_err();
        assert_eq!((refusal.code, refusal.field.as_str()), ("TIME_INVALID", "time"), "{json}");
    }
}

#[test]
fn actions_are_refined_and_say_their_category() {
    let mut files = default_files();
    let text = r#"
        source = "test"
        [code]
        action = "verb"
        refine = "sub"
        by = "kind"
        fold_case = true
        default = "other.other"
        verbs = [["*/exec", "process.execute"], ["get*", "read"]]
        categories = [["pods", "data"]]
        [outcome]
        default = "unknown"
        [severity]
        default = 1"#;
    files.insert("sources/test.toml".into(), text.into());
    let policies = Policies::parse(&files).unwrap();
    for (json, code) in [
        (r#"{"verb":"Create","sub":"EXEC","kind":"pods"}"#, "process.execute"),
        (r#"{"verb":"GET","sub":"log","kind":"Pods"}"#, "data.read"),
        (r#"{"verb":"get"}"#, "other.read"),
        (r#"{"verb":"put","kind":"pods"}"#, "data.other"),
        (r#"{"sub":"exec"}"#, "other.other"),
    ] {
        assert_eq!(read(&policies, json).unwrap().code.to_string(), code, "{json}");
    }
}

#[test]
fn persons_are_found_in_nested_arrays_and_parts_of_values() {
    let policies = policies(
        r#"[[subject]]
        role = "target"
        each = ["a[*].b[*].who", "c[*]"]
        blank = ["user:nobody@x"]
        [[subject.identifier]]
        path = "."
        kind = "email"
        only = ["user:*@*", "*@*"]
        strip = ["user:"]
        until = "?uid="
        [[subject]]
        role = "actor"
        each = "agents[*]"
        when = [{ path = "acts", values = ["true"] },
                { path = "roles[*].code", values = ["x", "y"] }]
        unless = [{ path = "kind", values = ["bot"] }, { path = "off", values = ["*"] }]
        [[subject.identifier]]
        join = ["system?", "value"]
        with = "|"
        kind = "user_id"
        [[subject.identifier]]
        path = "mails[*]"
        kind = "email""#,
    )
    .unwrap();
    let check = |json: &str, expect: &[&str]| {
        assert_eq!(persons(&read(&policies, json).unwrap()), expect, "{json}");
    };
    check(
        r#"{"a":[{"b":[{"who":"user:A@x?uid=7"},{"who":"b@x"}]},{"b":[{"who":"c@x"}]}]}"#,
        &["email:a@x", "email:b@x", "email:c@x"],
    );
    // The first alternative that is there decides, whatever it holds.
    check(r#"{"a":[{"b":[{"who":"group:g"}]}],"c":["d@x"]}"#, &[]);
    check(
        r#"{"a":[{"b":[{"how":1}]}],"c":["d@x","user:nobody@x",5,null,{"e":"f@x"}]}"#,
        &["email:d@x"],
    );
    check(
        r#"{"agents":[{"acts":true,"roles":[{"code":"n"},{"code":"y"}],"value":1,
            "mails":["m@x","n@x"]}]}"#,
        &["email:m@x email:n@x user_id:|1"],
    );
    check(
        r#"{"agents":[{"acts":"true","roles":[{"code":"x"}],"system":"s","value":"v"}]}"#,
        &["user_id:s|v"],
    );
    for nobody in [
        r#"{"acts":false,"roles":[{"code":"x"}],"value":1}"#,
        r#"{"acts":true,"roles":[{"code":"n"}],"value":1}"#,
        r#"{"acts":true,"roles":{"code":"x"},"value":1}"#,
        r#"{"acts":true,"roles":[{"code":"x"}],"value":1,"kind":"bot"}"#,
        r#"{"acts":true,"roles":[{"code":"x"}],"value":1,"off":false}"#,
        r#"{"acts":true,"roles":[{"code":"x"}],"system":"s"}"#,
    ] {
        check(&format!(r#"{{"agents":[{nobody}]}}"#), &[]);
    }
    let json = r#"{"agents":[{"acts":true,"roles":[{"code":"x"}],"mails":[["m@x"]]}]}"#;
    assert_eq!(read(&policies, json).map(|e| groups(&e)).unwrap_err().code, "FIELD_TYPE");
}

/// A thousand elements that are nobody cost no more than a walk; a hundred persons are refused.
#[test]
fn many_elements_are_bounded() {
    let policies = policies(
        r#"[[subject]]
        role = "target"
        each = "a[*].b[*]"
        when = { path = "c[*].d", values = ["yes"] }
        [[subject.identifier]]
        path = "id"
        kind = "user_id""#,
    )
    .unwrap();
    let element = |n: usize, d: &str| format!(r#"{{"id":{n},"c":[{{"d":"no"}},{{"d":"{d}"}}]}}"#);
    let record = |d: &str| {
        let elements: Vec<String> = (0..10_000).map(|n| element(n, d)).collect();
        format!(r#"{{"a":[{{"b":[{}]}}]}}"#, elements.join(","))
    };
    let started = std::time::Instant::now();
    let (no, yes) = (record("no"), record("yes"));
    assert!(persons(&read(&policies, &no).unwrap()).is_empty());
    let refusal = read(&policies, &yes).map(|event| groups(&event)).unwrap_err();
    assert_eq!(refusal.code, "TOO_MANY_SUBJECTS");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

#[test]
fn wrong_mappings_are_refused() {
    let subject = |text: &str| format!("[[subject]]\nrole = \"target\"\n{text}");
    let identifier = |text: &str| {
        subject(&format!("each = \"a[*]\"\n[[subject.identifier]]\nkind = \"email\"\n{text}"))
    };
    for (text, words) in [
        ("[map]\n\"a[*].b\" = \"reason\"".to_owned(), "POLICY_PATH"),
        ("[map]\n\"a[1]\" = \"reason\"".to_owned(), "POLICY_PATH"),
        ("[map]\n'\"a' = \"reason\"".to_owned(), "POLICY_PATH"),
        ("[time]\nepoch_ms = [\"a[*]\"]".to_owned(), "POLICY_PATH"),
        (subject("each = \"a\"\n[[subject.identifier]]\npath = \"b\"\nkind = \"email\""), "[*]"),
        (subject("each = []\n[[subject.identifier]]\npath = \"b\"\nkind = \"email\""), "[*]"),
        (
            subject(
                "when = { path = \"a\", values = [] }\n[[subject.identifier]]\n\
                 path = \"b\"\nkind = \"email\"",
            ),
            "condition",
        ),
        (identifier("path = \"a..b\""), "POLICY_PATH"),
        (identifier("join = [\"a\", \"b\"]\nonly = [\"x\"]"), "go with `path`"),
        (identifier("join = [\"a?\", \"b?\"]"), "needs a path"),
        (identifier("path = []"), "needs a path"),
    ] {
        let error = policies(&text).map(drop).unwrap_err();
        assert!(error.contains(words) && error.contains("test.toml line"), "{error} for {text}");
    }
    let mut files = default_files();
    let okta = files.get_mut("sources/okta.toml").unwrap();
    *okta = okta.replacen("[\"*.sso\", \"login\"]", "[\"*.SSO\", \"login\"]", 1);
    let error = Policies::parse(&files).unwrap_err();
    assert_eq!((error.code, error.file.as_str()), ("POLICY_WORD", "sources/okta.toml"));
    let mut files = default_files();
    let okta = files.get_mut("sources/okta.toml").unwrap();
    *okta = okta.replacen("required = [[\"eventType\", \"eventtype\"]]", "required = [[]]", 1);
    assert_eq!(Policies::parse(&files).unwrap_err().code, "POLICY_PATH");
}
