//! The hands: what is shown, the configuration, the command line, the pages; `demo` below.

mod binary;
mod pages;
mod demo;
mod keys;
mod operate;
mod orders;
mod pipeline;
mod proofs;
mod registry;
mod traces;
mod upkeep;
mod witness;

use chancery::base::unit::Day;
use chancery::cli::args::values::{IdentifierArg, identifier, instant, micros};
use chancery::cli::args::{Cli, Global};
use chancery::cli::config::{Config, Mode, Origin, Passphrase, Policies};
use chancery::cli::output::escape::{cut, escape, is_unsafe, json_line, width};
use chancery::cli::output::{Align, Output, Style, Surroundings, Table, Tone, Wishes};
use clap::{CommandFactory, Parser};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

// ---- What is shown ----

#[test]
fn what_steers_a_terminal_is_made_visible() {
    for (input, expect) in [
        ("plain text, \u{e4}\u{f6} \u{4e2d}\u{6587}", "plain text, \u{e4}\u{f6} \u{4e2d}\u{6587}"),
        ("\u{1b}[2J\u{1b}[31mred", "\\u{1b}[2J\\u{1b}[31mred"),
        ("a\tb\nc\rd\0", "a\\u{9}b\\u{a}c\\u{d}d\\u{0}"),
        ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
        ("evil\u{202e}fdp.exe\u{202c}", "evil\\u{202e}fdp.exe\\u{202c}"),
        ("\u{2066}x\u{2069}\u{200e}\u{200f}", "\\u{2066}x\\u{2069}\\u{200e}\\u{200f}"),
        ("a\u{200b}b\u{2028}c\u{feff}", "a\\u{200b}b\\u{2028}c\\u{feff}"),
        // A text that imitates an escape can be told from one.
        ("\\u{1b}", "\\u{5c}u{1b}"),
        ("C:\\users\\u", "C:\\users\\u"),
    ] {
        assert_eq!(escape(input), expect);
    }
}

proptest! {
    #[test]
    fn nothing_unsafe_survives_and_no_two_texts_look_alike(a in ".{0,40}", b in ".{0,40}") {
        let shown = escape(&a);
        prop_assert!(!shown.contains(is_unsafe));
        prop_assert_eq!(a == b, shown == escape(&b));
        prop_assert!(width(&cut(&shown, 7)) <= 7);
        // As JSON the value itself survives.
        let line = json_line(&json!({"text": a.as_str()}));
        prop_assert!(!line.contains(is_unsafe));
        let back: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(back["text"].as_str(), Some(a.as_str()));
    }
}

fn sample() -> Table {
    let mut table = Table::new(&[("index", Align::Right), ("action", Align::Left)]);
    table.row(&["7", "chart.open"]);
    table.row(&["107696", "a\tb\u{1b}[0m and a very long tail that no narrow terminal can hold"]);
    table
}

#[test]
fn a_terminal_gets_columns_and_a_pipe_gets_tabs() {
    let tail = "a\\u{9}b\\u{1b}[0m and a very long tail that no narrow terminal can hold";
    let tabs = format!("index\taction\n7\tchart.open\n107696\t{tail}\n");
    assert_eq!(sample().render(None), tabs);
    let aligned = "\x20index  action
------  --------------------------------
     7  chart.open
107696  a\\u{9}b\\u{1b}[0m and a very l...
";
    assert_eq!(sample().render(Some(40)), aligned);
    for line in sample().render(Some(40)).lines() {
        assert!(width(line) <= 40, "{line}");
    }
    // A row of another length neither shifts nor panics.
    let mut table = Table::new(&[("a", Align::Left), ("b", Align::Left)]);
    table.row(&["1"]);
    table.row(&["1", "2", "3"]);
    assert_eq!(table.render(None), "a\tb\n1\t\n1\t2\n");
}

#[test]
fn surroundings_and_wishes_decide_the_style() {
    let terminal = Surroundings {
        stdout_terminal: true,
        stderr_terminal: true,
        columns: Some(72),
        ..Surroundings::default()
    };
    let style = Style::new(Wishes::default(), &terminal);
    assert!(style.color && style.terminal && style.progress && style.width == 72);
    let json = Style::new(Wishes { json: true, ..Wishes::default() }, &terminal);
    assert!(!json.color && !json.terminal && !json.progress);
    let quiet = Style::new(Wishes { quiet: true, ..Wishes::default() }, &terminal);
    assert!(quiet.color && !quiet.progress);
    for around in [
        Surroundings { no_color: true, ..terminal.clone() },
        Surroundings { dumb: true, ..terminal.clone() },
        Surroundings { stdout_terminal: false, ..terminal.clone() },
    ] {
        assert!(!Style::new(Wishes::default(), &around).color, "{around:?}");
    }
    let dumb = Surroundings { dumb: true, ..terminal.clone() };
    assert!(!Style::new(Wishes::default(), &dumb).progress);
    let flag = Style::new(Wishes { no_color: true, ..Wishes::default() }, &terminal);
    assert!(!flag.color && flag.terminal);
    let narrow = Surroundings { columns: Some(3), ..terminal };
    assert_eq!(Style::new(Wishes::default(), &narrow).width, 40);
}

fn printed(style: Style) -> String {
    let mut out = Output::new(style, Vec::new());
    out.say("first\nsecond \u{1b}[2J").unwrap();
    out.status(Tone::Good, "VERIFIED", "30,000 entries").unwrap();
    out.table(&sample()).unwrap();
    out.object(&json!({"verdict": "verified", "text": "\u{202e}"})).unwrap();
    String::from_utf8(out.into_sink()).unwrap()
}

#[test]
fn json_prints_objects_only_and_text_prints_none() {
    let plain = Style {
        json: false,
        quiet: false,
        color: false,
        terminal: false,
        progress: false,
        width: 80,
    };
    let text = printed(plain);
    assert!(text.starts_with("first\nsecond \\u{1b}[2J\nVERIFIED 30,000 entries\nindex\taction\n"));
    assert!(!text.contains('{') || !text.contains("verdict"));
    assert!(!text.contains('\u{1b}'));
    let colored = printed(Style { color: true, ..plain });
    assert!(colored.contains("\u{1b}[32mVERIFIED\u{1b}[0m 30,000 entries\n"));
    let quiet = printed(Style { quiet: true, ..plain });
    assert!(quiet.starts_with("VERIFIED"));
    let json = printed(Style { json: true, ..plain });
    assert_eq!(json, "{\"text\":\"\\u202e\",\"verdict\":\"verified\"}\n");
}

// ---- The configuration ----

fn checked(text: &str, flags: &Global, env: &[(&str, &str)]) -> Result<Config, String> {
    let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    Config::check(text, Path::new("chancery.toml"), flags, &env).map_err(|e| e.to_string())
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = checked("", &Global::default(), &[]).unwrap();
    assert_eq!((config.name.as_str(), config.tenant.as_str()), ("chancery.local", "main"));
    assert_eq!(config.data, Path::new("./chancery-data"));
    assert_eq!(config.keys, Path::new("./keys"));
    assert_eq!(config.policies, Policies::FolderOrBuiltIn("./policies".into()));
    assert_eq!(config.passphrase, Passphrase::None);
    assert_eq!(config.mode, Mode::TwoPerson);
    assert_eq!((config.commit.unit_bytes, config.commit.delay_us), (1 << 20, 500));
    assert!(config.keys_mirror.is_none() && config.pack_background);
    assert!(config.shown.iter().all(|s| s.origin == Origin::Default));
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let text = "\
name = \"vault.clinic.example\"
tenant = \"file\"
mode = \"single-operator\"
data = \"/srv/data\"
policies = \"rules\"
[keys]
path = \"/srv/keys\"
mirror = \"/mnt/keys\"
passphrase_env = \"VAULT_PASS\"
[commit]
delay_us = 0
";
    let env = [("CHANCERY_TENANT", "env"), ("CHANCERY_HOME", "/env")];
    let flags = Global { tenant: Some("flag".into()), ..Global::default() };
    let config = checked(text, &flags, &env).unwrap();
    let origin = |key: &str| config.shown.iter().find(|s| s.key == key).unwrap().origin;
    assert_eq!((config.tenant.as_str(), origin("tenant")), ("flag", Origin::Flag));
    assert_eq!((config.home.as_path(), origin("home")), (Path::new("/env"), Origin::Environment));
    assert_eq!(config.data, Path::new("/srv/data"));
    assert_eq!(config.policies, Policies::Folder("/env/rules".into()));
    assert_eq!(config.passphrase, Passphrase::Environment("VAULT_PASS".into()));
    assert_eq!((config.mode, config.commit.delay_us), (Mode::SingleOperator, 0));
    assert_eq!(config.keys_mirror.as_deref(), Some(Path::new("/mnt/keys")));
    assert_eq!(checked(text, &Global::default(), &env).unwrap().tenant, "env");
    assert_eq!(checked(text, &Global::default(), &[]).unwrap().tenant, "file");
}

#[test]
fn a_refused_configuration_names_file_line_key_and_what_is_allowed() {
    for (text, code, parts) in [
        ("nmae = 1", "CONFIG_UNKNOWN_KEY", &["chancery.toml line 1", "key nmae", "tenant"][..]),
        ("\n[keys]\nfoo = 1", "CONFIG_UNKNOWN_KEY", &["line 3", "key keys.foo", "mirror"]),
        ("[keys]\npassphrase = \"hunter2\"", "CONFIG_UNKNOWN_KEY", &["keys.passphrase_file"]),
        ("[commit]\ndelay_us = \"hunter2\"", "CONFIG_VALUE", &["commit.delay_us", "line 2"]),
        ("[commit]\ndelay_us = 100001", "CONFIG_VALUE", &["commit.delay_us", "0 to 100000"]),
        ("[commit]\nunit_bytes = -1", "CONFIG_VALUE", &["commit.unit_bytes", "line 2"]),
        ("[pack]\nbackground = \"hunter2\"", "CONFIG_VALUE", &["pack.background", "line 2"]),
        ("mode = \"hunter2\"", "CONFIG_VALUE", &["key mode", "two-person or single-operator"]),
        ("name = \"hunter2 x\"", "CONFIG_VALUE", &["key name", "a-z 0-9 . -"]),
        ("tenant = \"\"", "CONFIG_VALUE", &["key tenant", "1 to 32 characters"]),
        ("tenant = \"../hunter2\"", "CONFIG_VALUE", &["key tenant", "a-z 0-9 -"]),
        ("data = \"d\"\n[keys]\npath = \"d/k\"", "CONFIG_VALUE", &["keys.path", "line 3"]),
        ("data = \"keys/d\"", "CONFIG_VALUE", &["keys.path", "data directory"]),
        ("[keys]\nmirror = \"keys/m\"", "CONFIG_VALUE", &["keys.mirror", "apart"]),
        ("[keys]\npassphrase_env = \"hunter2\"", "CONFIG_VALUE", &["environment variable"]),
        (
            "[keys]\npassphrase_file = \"f\"\npassphrase_env = \"F\"",
            "CONFIG_VALUE",
            &["either passphrase_file or passphrase_env"],
        ),
        ("name = hunter2", "CONFIG_SYNTAX", &["line 1", "not TOML"]),
        ("name = \"hunter2", "CONFIG_SYNTAX", &["line 1", "not TOML"]),
        ("name = \"a\"\nname = \"hunter2\"", "CONFIG_SYNTAX", &["line 2"]),
    ] {
        let error = checked(text, &Global::default(), &[]).expect_err(text);
        assert!(error.starts_with(code), "{text}: {error}");
        for part in parts {
            assert!(error.contains(part), "{text}: {error} lacks {part}");
        }
        assert!(!error.contains("hunter2"), "a value leaks: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_file_is_found_in_home_and_a_named_one_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let none = |_: &str| None;
    let flags = Global { home: Some(dir.path().into()), ..Global::default() };
    assert_eq!(Config::load(&flags, &none).unwrap().tenant, "main");
    std::fs::write(dir.path().join("chancery.toml"), "tenant = \"north\"").unwrap();
    assert_eq!(Config::load(&flags, &none).unwrap().tenant, "north");
    let flags = Global { config: Some(dir.path().join("other.toml")), ..flags };
    assert_eq!(Config::load(&flags, &none).unwrap_err().code, "CONFIG_UNREADABLE");
}

#[cfg(unix)]
#[test]
fn a_passphrase_file_must_be_private_and_not_empty() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pass");
    let write = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Passphrase::File(path.clone()).read()
    };
    let read = write("correct horse \n", 0o600).unwrap().unwrap();
    assert_eq!(read.as_slice(), b"correct horse ");
    for (text, mode, part) in [
        ("hunter2", 0o644, "chmod 600"),
        ("hunter2", 0o640, "chmod 600"),
        ("\n", 0o600, "empty"),
        (&"hunter2".repeat(1_000), 0o600, "4,096 bytes"),
    ] {
        let error = write(text, mode).unwrap_err().to_string();
        assert!(error.starts_with("CONFIG_PASSPHRASE") && error.contains(part), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let unset = Passphrase::Environment("CHANCERY_TEST_UNSET_VARIABLE".into()).read();
    assert!(unset.unwrap_err().to_string().contains("not set"));
    assert!(Passphrase::None.read().unwrap().is_none());
}

// ---- The command line ----

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// Every command below `command` with its full name, groups left out.
fn leaves(command: &clap::Command, path: &str, out: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            leaves(sub, &path, out);
        } else {
            out.push((path, sub.clone()));
        }
    }
}

#[test]
fn every_command_shows_an_example_that_parses() {
    let mut commands = Vec::new();
    leaves(&Cli::command(), "chancery", &mut commands);
    assert!(commands.len() >= 28, "{}", commands.len());
    for (path, command) in commands {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let joined = help.replace("\\\n      ", "");
        let examples: Vec<&str> =
            joined.lines().map(str::trim).filter(|l| l.contains("chancery ")).collect();
        assert!(help.contains("Example"), "{path} has no example");
        let own = path.trim_start_matches("chancery ");
        assert!(examples.iter().any(|e| e.contains(own)), "{path} is not in its own examples");
        for example in examples {
            let words = shell_words(example);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{example}\n{error}");
            }
        }
        assert!(command.get_about().is_some(), "{path} has no description");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
        }
    }
}

/// The words of an example from `chancery` on, without comment, pipe or redirection.
fn shell_words(example: &str) -> Vec<String> {
    let (_, from) = example.split_at(example.find("chancery ").unwrap());
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut blanks = 0;
    for c in from.chars() {
        blanks = if c == ' ' { blanks + 1 } else { 0 };
        match c {
            '\'' => quoted = !quoted,
            // Three blanks outside quotes begin a remark when more words follow in prose.
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if blanks == 4 {
                    break;
                }
            }
            '>' | '|' if !quoted => break,
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn acts_that_could_weaken_the_log_ask_for_two_people() {
    let parse = |line: &str| Cli::try_parse_from(line.split_whitespace()).is_ok();
    let erase = "chancery subject erase email:a@b.example --basis r";
    assert!(!parse(erase));
    assert!(!parse(&format!("{erase} --requested-by dana")));
    assert!(parse(&format!("{erase} --requested-by dana --approved-by omar")));
    assert!(parse(&format!("{erase} --requested-by dana --single-operator")));
    assert!(!parse(&format!("{erase} --requested-by dana --approved-by omar --single-operator")));
    assert!(!parse("chancery hold release --case c --requested-by dana"));
    assert!(!parse("chancery config apply"));
}

#[test]
fn words_of_the_command_line_parse_or_are_refused() {
    let day = Day::parse("2026-11-21").unwrap();
    assert_eq!(instant("2026-11-21"), Ok(day.start()));
    assert_eq!(instant("2026-11-21T01:00:00+01:00"), Ok(day.start()));
    assert!(instant("yesterday").is_err());
    assert_eq!(micros("5ms"), Ok(5_000));
    for bad in ["5", "ms", "5 ms", "-1s", "99999999999999999999s", "18446744073709551615s"] {
        assert!(micros(bad).is_err(), "{bad}");
    }
    for bad in ["", "@", ":", "email:", "email: ", ":a", "anna"] {
        assert!(identifier(bad).is_err(), "{bad}");
    }
    assert_eq!(identifier("@ids"), Ok(IdentifierArg::File("ids".into())));
    let given = identifier("email:anna@mail.example").unwrap();
    assert_eq!(format!("{given:?}"), "Given(email:..)");
}

// ---- The pages ----

/// Upper-case words in quotes that are no codes.
const NOT_CODES: &[&str] = &[
    "CARGO_PKG_VERSION",
    "CHANCERY_ADMIN_LISTEN",
    "CHANCERY_CLIENT_CA",
    "CHANCERY_COOLING_OFF",
    "CHANCERY_HOME",
    "CHANCERY_HOSTS",
    "CHANCERY_LISTEN",
    "CHANCERY_PROFILE",
    "CHANCERY_TENANT",
    "CHANCERY_TLS_CERT",
    "CHANCERY_TLS_KEY",
    "COLUMNS",
    "CREDENTIALS_DIRECTORY",
    "NO_COLOR",
];

#[test]
fn every_code_in_the_source_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let (mut files, mut codes) = (vec![root.join("src")], BTreeSet::new());
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("src/cli/demo") {
            if path.to_string_lossy().contains("cli/demo/") {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            codes.extend(text.split('"').filter_map(code_of).map(str::to_owned));
            codes.extend(one_word_codes(&text));
        }
    }
    let missing: Vec<_> = codes
        .iter()
        .filter(|c| !NOT_CODES.contains(&c.as_str()) && !page.contains(&format!("| `{c}` |")))
        .collect();
    for known in ["KEY_NODE_MISSING", "EXPORT_EXISTS", "EQUIVOCATION", "STORE_FULL"] {
        assert!(codes.contains(known), "the scan misses {known}: {codes:?}");
    }
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
}

/// The other way round: nothing is explained that nobody says. Comments do not count.
#[test]
fn every_code_on_the_page_is_in_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/errors.md")).unwrap();
    // Some only the second verifier says.
    let (mut files, mut words) = (vec![root.join("src"), root.join("verify/src")], BTreeSet::new());
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs" || e == "mjs") {
            let text = std::fs::read_to_string(path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let split = code.flat_map(|line| line.split(|c: char| !is_code_letter(c)));
            words.extend(split.filter(|word| word.len() >= 5).map(str::to_owned));
        }
    }
    let rows = page.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    let unsaid: Vec<&str> = rows.filter(|code| !words.contains(*code)).collect();
    assert!(unsaid.is_empty(), "docs/errors.md explains {unsaid:?}, which nobody says");
}

/// The code a literal is, or begins with before a colon or ` at `.
fn code_of(literal: &str) -> Option<&str> {
    let end = literal.find(|c: char| !is_code_letter(c)).unwrap_or(literal.len());
    let (code, rest) = literal.split_at(end);
    let ends = rest.is_empty() || rest.starts_with(": ") || rest.starts_with(" at ");
    let is = ends && code.len() >= 5 && code.contains('_');
    (is && code.starts_with(|c: char| c.is_ascii_uppercase())).then_some(code)
}

/// Codes without `_`, where they are raised.
fn one_word_codes(text: &str) -> Vec<String> {
    ["evidence(\"", "usage(\"", "refused(\"", "failed(\""]
        .iter()
        .flat_map(|call| text.split(call).skip(1))
        .map(|rest| rest.chars().take_while(|c| is_code_letter(*c)).collect::<String>())
        .filter(|code| code.len() >= 5)
        .collect()
}

fn is_code_letter(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

#[test]
fn every_code_stands_once_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut seen = BTreeSet::new();
    let codes = page.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    let twice: Vec<&str> = codes.filter(|code| !seen.insert(*code)).collect();
    assert!(seen.len() > 200, "{}", seen.len());
    assert!(twice.is_empty(), "{twice:?}");
}
