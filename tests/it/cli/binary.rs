//! The built program, as a person or a script meets it: the whole story from the shell, then
//! everything that can be wrong. Each test has its own directory; nothing is shared.

use chancery::cli::world::{policies, world};
use chancery::vault::Vault;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const EVENTS: &str = r#"{"id":"e1","time":"2026-11-21T05:00:00Z","source_seq":1,"actor":{"id":"n1","type":"user","email":"N1@clinic.example"},"action":"record.open","category":"data","verb":"read","outcome":"success","severity":3,"subjects":[{"role":"target","identifiers":[{"kind":"patient_id","value":"P1"}]}],"data":{"note":"bed of Quellmalz"}}
{"id":"e2","time":"2026-11-21T05:00:01Z","source_seq":2,"actor":{"id":"n2","type":"user"},"action":"user.login","outcome":"denied","severity":5}

{"id":"e3","time":"2026-11-21T05:00:02Z","source_seq":3,"actor":{"id":"n2","type":"user"},"action":"user.login","outcome":"success","message":"\u202eevil\u001b[2J"}
"#;
const BAD: &str = r#"{"id":"e4","time":"2026-11-21T05:00:03Z","source_seq":4,"actor":{"id":"n2","type":"user"},"action":"user.login"}
{"id":"e5","time":"yesterday","source_seq":5,"action":"user.login"}
rubbish Quellmalz
{"id":"e2","time":"2026-11-21T05:00:01Z","source_seq":2,"actor":{"id":"n2","type":"user"},"action":"user.logout"}
"#;

/// A directory with the program in it.
pub(crate) struct Home {
    dir: TempDir,
}

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let text = self.out.lines().next().unwrap_or_default();
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    /// With a vault and three events.
    pub(crate) fn filled() -> Self {
        let home = Home::new();
        home.ok(&["init", "--name", "vault.example"]);
        home.write("events", EVENTS);
        home.ok(&["append", "events", "--source", "ehr"]);
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let ran = Ran::of(self.command(args).output().unwrap());
        let text = format!("{}{}", ran.out, ran.err);
        assert!(!text.contains("panicked"), "{args:?}: {text}");
        assert!(!text.contains('\u{1b}'), "{args:?} steers a terminal: {text:?}");
        ran
    }

    /// Runs where no file may grow beyond so many KiB: the shell's limit makes the kernel write a
    /// part and refuse the rest, as on a full disk.
    pub(crate) fn run_limited(&self, kib: u32, args: &[&str]) -> Ran {
        let shell = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
        let mut command = Command::new("bash");
        command.current_dir(self.path()).stdin(Stdio::null()).args(["-c", &shell, "-"]);
        command.arg(env!("CARGO_BIN_EXE_chancery")).args(args);
        Ran::of(command.output().unwrap())
    }

    pub(crate) fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
        ran
    }

    /// Runs and expects a failure of one line with this code.
    pub(crate) fn fails(&self, args: &[&str], exit: i32, code: &str) -> String {
        let ran = self.run(args);
        let line = format!("chancery: {code}: ");
        assert!(ran.err.starts_with(&line), "{args:?}: {}{}", ran.out, ran.err);
        assert_eq!((ran.code, ran.err.lines().count()), (exit, 1), "{args:?}: {}", ran.err);
        ran.err
    }
}

pub(crate) const BY_TWO: [&str; 4] = ["--requested-by", "dana", "--approved-by", "omar"];

pub(crate) fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    args.iter().chain(more).copied().collect()
}

#[test]
fn a_person_is_held_released_and_forgotten() {
    let home = Home::filled();
    home.ok(&[
        "subject",
        "link",
        "patient_id:P1",
        "email:A@b.example",
        "--requested-by",
        "dana",
        "--approved-by",
        "omar",
    ]);
    let preview = home.ok(&["--json", "subject", "preview", "email: a@B.example "]).json();
    assert_eq!(preview["identifiers"].as_array().unwrap().len(), 2);
    assert_eq!(preview["records"][0]["records"], 1);
    home.ok(&[
        "hold",
        "set",
        "--case",
        "4 C 1",
        "--subject",
        "patient_id:P1",
        "--requested-by",
        "d",
    ]);
    let erase = ["subject", "erase", "patient_id:P1", "--receipt", "receipt"];
    let held = home.fails(&with(&erase, &BY_TWO), 1, "HOLD_BLOCKED");
    assert!(held.contains("4 C 1") && !home.path().join("receipt").exists(), "{held}");
    assert_eq!(home.ok(&["--json", "hold", "list"]).json()["name"], "4 C 1");
    home.fails(&with(&["hold", "release", "--case", "none"], &BY_TWO), 1, "HOLD_UNKNOWN");
    home.ok(&with(&["hold", "release", "--case", "4 C 1"], &BY_TWO));
    let before = home.ok(&["show", "3", "--open", "--purpose", "test", "--by", "dana"]).out;
    assert!(before.contains("bed of Quellmalz"), "{before}");
    let erased = home.ok(&with(&with(&["--json"], &erase), &BY_TWO)).json();
    assert_eq!(erased["records"], 1);
    assert!(home.read("receipt").contains("mode two-person"));
    home.fails(&with(&erase, &BY_TWO), 2, "FILE_EXISTS");
    home.fails(&with(&["subject", "erase", "patient_id:P1"], &BY_TWO), 1, "SUBJECT_UNKNOWN");
    let after = home.ok(&["show", "3", "--open", "--purpose", "test", "--by", "dana"]).out;
    assert!(after.contains("erased") && after.contains("n1@clinic") || after.contains("N1@"));
    assert!(!after.contains("Quellmalz"), "{after}");
    let job = erased["job"].as_str().unwrap();
    assert_eq!(home.ok(&["subject", "receipt", job]).out, home.read("receipt"));
    assert_eq!(home.ok(&["--json", "subject", "status", job]).json()["state"], "done");
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "receipt", "--trust", "trust"]);
    let verified = home.ok(&["--json", "verify", "--trust", "trust"]).json();
    assert_eq!((&verified["verdict"], &verified["exit"]), (&"verified".into(), &0.into()));
    assert_eq!(verified["bodies"]["fates"]["erased"], 1);
}

#[test]
fn one_person_alone_needs_the_vault_to_be_set_so() {
    let home = Home::filled();
    let erase = ["subject", "erase", "patient_id:P1", "--requested-by", "dana"];
    home.fails(&with(&erase, &["--single-operator"]), 1, "TWO_PEOPLE");
    home.fails(&with(&erase, &["--approved-by", " DANA "]), 1, "TWO_PEOPLE");
    home.fails(&erase, 2, "USAGE");
    let config = home.read("chancery.toml").replace("two-person", "single-operator");
    home.write("chancery.toml", &config);
    let ran = home.ok(&with(&erase, &["--single-operator"]));
    assert!(ran.out.contains("mode single-operator"), "{}", ran.out);
}

#[test]
fn values_leave_with_two_people_behind_them_and_the_log_says_who() {
    let home = Home::filled();
    let export = |out: &'static str| {
        let named = ["export", "cef", "--preset", "named", "--grant", "actor.email", "--out", out];
        with(&named, &["--requested-by", "dana"])
    };
    let alone = with(&export("a.cef"), &["--single-operator"]);
    home.fails(&alone, 1, "TWO_PEOPLE");
    home.fails(&export("a.cef"), 1, "TWO_PEOPLE");
    assert!(!home.path().join("a.cef").exists());
    let show = |entry: u64| {
        let entry = entry.to_string();
        home.ok(&["--json", "show", &entry, "--open", "--purpose", "test", "--by", "dana"]).json()
    };
    let recorded = |args: &[&str]| {
        let made = home.ok(&with(&["--json"], args)).json();
        show(made["recorded"].as_u64().unwrap())
    };
    let two = recorded(&with(&export("b.cef"), &["--approved-by", "omar"]));
    assert_eq!(two["clear"]["mode"], "two-person", "{two}");
    let said = two.to_string();
    assert!(said.contains("order.requested_by") && said.contains("omar"), "{said}");
    let tokens = recorded(&["export", "cef", "--out", "c.cef"]);
    assert!(tokens["clear"]["mode"].is_null() && !tokens.to_string().contains("order."));
    let config = home.read("chancery.toml").replace("two-person", "single-operator");
    home.write("chancery.toml", &config);
    assert_eq!(recorded(&alone)["clear"]["mode"], "single-operator");
}

#[test]
fn events_are_counted_to_the_last_line() {
    let home = Home::filled();
    let again = home.ok(&["--json", "append", "events", "--source", "ehr"]).json();
    assert_eq!((&again["accepted"], &again["duplicate"]), (&0.into(), &3.into()));
    home.write("bad", BAD);
    let whole = home.run(&["append", "bad", "--source", "ehr"]);
    assert_eq!(whole.code, 1);
    assert!(whole.out.contains("accepted 0, duplicate 0, refused 4"), "{}", whole.out);
    assert!(whole.err.contains("line 2: TIME_INVALID"), "{}", whole.err);
    assert!(whole.err.contains("line 3: JSON_SYNTAX"), "{}", whole.err);
    assert!(!whole.err.contains("Quellmalz") && !whole.out.contains("Quellmalz"));
    let args = ["--json", "append", "bad", "--source", "ehr", "--partial", "--receipts", "r"];
    let part = home.run(&args);
    let counts = part.json();
    assert_eq!((part.code, &counts["accepted"]), (1, &1.into()), "{counts}");
    assert_eq!(counts["refused_by_code"]["DUPLICATE_DIFFERS"], 1, "{counts}");
    let receipt: Value = serde_json::from_str(home.read("r").trim()).unwrap();
    assert_eq!((&receipt["line"], &receipt["duplicate"]), (&1.into(), &false.into()));
    for line in part.err.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    home.write("array", "{\"Records\": [\n{\"id\":\"a1\",\"action\":\"x.read\"},{\"id\":\"a2\",\"action\":\"x.read\"}]}");
    let array = home.ok(&["--json", "append", "array", "--source", "app"]).json();
    assert_eq!(array["accepted"], 2);
    home.fails(&["append", "events", "--as", "nothing"], 2, "SOURCE_UNKNOWN");
    home.fails(&["append", "missing.ndjson"], 3, "FILE_IO");
    home.fails(&["append", "."], 2, "FILE_IO");
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    use std::io::Write;
    let home = Home::filled();
    let mut child = home
        .command(&["--json", "append", "-", "--source", "pipe", "--batch", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for n in 1..=5 {
        writeln!(pipe, "{{\"id\":\"p{n}\",\"source_seq\":{n},\"action\":\"x.read\"}}").unwrap();
    }
    drop(pipe);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.json()["accepted"], 5);
}

#[test]
fn records_are_found_and_their_text_cannot_steer_a_terminal() {
    let home = Home::filled();
    let denied = home.ok(&["--json", "query", "outcome=denied"]).json();
    assert_eq!((&denied["source"], &denied["code"]), (&"ehr".into(), &"identity.login".into()));
    let by_id = denied["record"].as_str().unwrap();
    assert_eq!(home.ok(&["--json", "show", by_id]).json()["index"], denied["index"]);
    for (terms, count) in [
        (&["kind=event"][..], 3),
        (&["severity>=3"], 2),
        (&["class=1y", "verb=login"], 2),
        (&["source=ehr", "outcome=success"], 2),
        (&["--subject", "user_id:n2"], 2),
        (&["kind=event", "--from", "2100-01-01"], 0),
    ] {
        let found = home.ok(&with(&with(&["--json", "query"], terms), &["--count"])).json();
        assert_eq!(found["count"], count, "{terms:?}");
    }
    home.fails(&["query", "shoe=42"], 2, "FILTER_FIELD_UNKNOWN");
    home.fails(&["query", "actor.email=a@b"], 2, "FILTER_SEALED_FIELD");
    home.fails(&["query", "--subject", "email:nobody@b.example"], 1, "SUBJECT_UNKNOWN");
    home.fails(&["query", "--subject", "shoe:42"], 2, "IDENTIFIER_KIND");
    home.fails(&["show", "4711"], 1, "ENTRY_UNKNOWN");
    home.fails(&["show", "3", "--open"], 2, "USAGE");
    // `run` refuses escapes in any output; here they must be visible instead.
    let open = ["query", "kind=event", "--open", "--purpose", "test", "--by", "dana"];
    let text = home.ok(&open).out;
    assert!(text.contains("evil") && !text.contains('\u{202e}'), "{text:?}");
    let reads = home.ok(&["--json", "query", "kind=disclose"]).json();
    assert_eq!(reads["clear"]["act"], "read");
}

#[test]
fn evidence_convinces_an_outsider_and_a_changed_one_does_not() {
    let home = Home::filled();
    home.ok(&["checkpoint", "--out", "old"]);
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.write("more", "{\"id\":\"m1\",\"action\":\"x.read\"}");
    home.ok(&["append", "more", "--source", "app"]);
    home.ok(&["prove", "inclusion", "4", "--out", "proof"]);
    home.ok(&["prove", "consistency", "--since", "old", "--out", "growth"]);
    let fields = ["disclose", "3", "--field", "action", "--by", "d", "--recipient", "court"];
    home.ok(&with(&fields, &["--purpose", "order", "--out", "told"]));
    home.ok(&["keys", "export-ledger", "--out", "ledger"]);
    for (file, more) in [
        ("proof", &[][..]),
        ("growth", &["--since", "old"]),
        ("told", &[]),
        ("ledger", &[]),
        ("old", &[]),
        ("chancery-data", &["--since", "old", "--replay-seals", "all"]),
    ] {
        home.ok(&with(&["verify", file, "--trust", "trust"], more));
        let alone = home.run(&with(&["--json", "verify", file], more));
        assert_eq!((alone.code, &alone.json()["exit"]), (4, &4.into()), "{file}");
    }
    home.write("told2", &home.read("told").replace("record.open", "record.shut"));
    let ran = home.run(&["verify", "told2", "--trust", "trust"]);
    assert!(ran.code == 1 && ran.out.starts_with("DISCLOSURE_FIELD_MISMATCH"), "{}", ran.out);
    home.fails(&["verify", "events", "--trust", "trust"], 1, "MALFORMED");
    home.fails(&["verify", "--trust", "events"], 2, "TRUST_POLICY");
    home.ok(&["--ledger", "ledger", "query"]);
    home.ok(&["checkpoint", "--tiles", "pub"]);
    assert!(home.read("pub/checkpoint").starts_with("vault.example/t/"));
    let size: u64 = home.read("pub/checkpoint").lines().nth(1).unwrap().parse().unwrap();
    let bundle = home.path().join(format!("pub/tile/entries/000.p/{size}"));
    let tile = std::fs::read(home.path().join(format!("pub/tile/0/000.p/{size}"))).unwrap();
    assert!(bundle.exists() && tile.len() as u64 == size * 32);
    // One flipped bit in a body.
    let bodies = home.path().join("chancery-data/tenants");
    let file = largest(&bodies, "bodies");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(home.run(&["verify", "--trust", "trust"]).code, 1);
}

/// The largest file below a directory whose path contains `part`.
fn largest(dir: &Path, part: &str) -> std::path::PathBuf {
    let (mut open, mut best) = (vec![dir.to_owned()], None);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().contains(part) {
                let len = std::fs::metadata(&path).unwrap().len();
                best = best.max(Some((len, path)));
            }
        }
    }
    best.unwrap().1
}

#[test]
fn retention_says_what_would_go() {
    let home = Home::filled();
    let plan = home.ok(&["--json", "retain", "plan", "--at", "2030-01-01"]);
    let rows: Vec<Value> = plan.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(rows.iter().any(|r| r["class"] == "1y" && r["state"] == "due"), "{rows:?}");
    assert!(rows.iter().any(|r| r["class"] == "vault" && r["state"] == "kept for ever"));
    assert_eq!(home.ok(&["--json", "retain", "run"]).json()["class_days"], 0);
    assert!(home.ok(&["retain", "history"]).out.starts_with("Nothing has expired"));
    home.fails(&["retain", "run", "--schedule", "daily"], 2, "SCHEDULE_SYNTAX");
}

#[test]
fn policies_take_effect_only_by_an_entry() {
    let home = Home::filled();
    home.ok(&["config", "policies", "--out", "policies"]);
    let text = home.read("policies/classes.toml") + "# changed\n";
    home.write("policies/classes.toml", &text);
    let shown = home.ok(&["--json", "config", "show"]);
    assert_eq!(shown.json()["drift"][0]["file"], "classes.toml");
    assert!(shown.err.contains("POLICY_DRIFT"), "{}", shown.err);
    home.ok(&with(&["config", "apply"], &BY_TWO));
    assert_eq!(home.ok(&["--json", "config", "show"]).json()["policies_in_force"]["version"], 2);
    home.write("policies/classes.toml", "rubbish");
    assert_eq!(home.run(&["query"]).code, 2);
}

#[test]
fn what_is_wrong_with_the_place_is_one_line() {
    let home = Home::new();
    home.fails(&["query"], 3, "STORE_MISSING");
    home.fails(&["init", "--name", "Not A Name"], 2, "VAULT_NAME");
    home.ok(&["init"]);
    home.fails(&["init"], 1, "VAULT_EXISTS");
    home.fails(&["--tenant", "other", "query"], 2, "TENANT_UNKNOWN");
    home.fails(&["--tenant", "other", "init"], 2, "TENANT_UNSUPPORTED");
    let kek = home.path().join("keys/kek");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.fails(&["query"], 3, "KEK_WORLD_READABLE");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = home.path().join("chancery-data/vault.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("format = 1", "format = 9")).unwrap();
    home.fails(&["query"], 3, "STORE_TOO_NEW");
    assert_eq!(home.run(&["verify", "--no-bodies"]).code, 4);
    std::fs::write(&file, &text).unwrap();
    std::fs::rename(&kek, home.path().join("kek.away")).unwrap();
    home.fails(&["query"], 3, "KEK_MISSING");
}

#[test]
fn a_second_opener_waits_outside() {
    let home = Home::filled();
    let config = chancery::vault::config::Config {
        data: home.path().join("chancery-data"),
        keys: home.path().join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: policies(&chancery::cli::config::Policies::FolderOrBuiltIn("-".into())).unwrap(),
        index_on_disk: false,
        outside: Default::default(),
        tuning: chancery::vault::config::Tuning::default(),
    };
    let vault = Vault::open(world(), &config).unwrap();
    home.fails(&["append", "events"], 3, "STORE_LOCKED");
    let outside = home.run(&["verify"]);
    assert_eq!(outside.code, 4, "{}{}", outside.out, outside.err);
    assert!(outside.out.contains("another process has this vault open"), "{}", outside.out);
    drop(vault);
    home.ok(&["append", "events", "--source", "ehr"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let home = Home::new();
    home.write("file", "");
    let error = home.fails(&["--home", "file/vault", "init"], 2, "CONFIG_UNREADABLE");
    assert!(error.contains("file/vault"), "{error}");
    let locked = home.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    // A superuser may write everywhere: then there is nothing to see here.
    if std::fs::write(locked.join("probe"), "").is_err() {
        home.fails(&["--home", "locked", "init"], 3, "FILE_IO");
    }
}

#[test]
fn a_passphrase_is_needed_and_never_repeated() {
    let home = Home::new();
    home.write("pass", "correct horse");
    let path = home.path().join("pass");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    home.ok(&["init", "--passphrase-file", "pass"]);
    home.ok(&["query"]);
    home.write("pass", "wrong horse");
    let error = home.fails(&["query"], 3, "KEK_PASSPHRASE_WRONG");
    assert!(!error.contains("horse"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.fails(&["query"], 2, "CONFIG_PASSPHRASE");
    home.write("chancery.toml", "");
    home.fails(&["query"], 3, "KEK_PASSPHRASE_NEEDED");
}

#[test]
fn a_hold_on_a_class_without_a_last_day_is_in_force_and_the_vault_goes_on() {
    let home = Home::filled();
    let set = ["hold", "set", "--case", "4 C 2", "--class", "1y", "--requested-by", "d"];
    home.ok(&set);
    let listed = home.ok(&["--json", "hold", "list"]).json();
    assert_eq!(listed["covers"][0]["to"], "2554-07-21", "{listed}");
    assert!(home.ok(&["hold", "list"]).out.contains("without end"));
    let erase = ["--json", "subject", "erase", "patient_id:P1"];
    let erased = home.ok(&with(&erase, &BY_TWO)).json();
    assert_eq!(erased["deferred"][0]["why"], "hold", "{erased}");
    assert_eq!(erased["records"], 0, "{erased}");
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
    let far = with(&set, &["--to", "9999-12-31"]);
    assert!(home.fails(&far, 2, "USAGE").contains("--to"));
    home.ok(&with(&["hold", "release", "--case", "4 C 2"], &BY_TWO));
}

#[test]
fn mistakes_on_the_command_line_never_repeat_a_value() {
    let home = Home::new();
    for args in [
        &["subject", "preview", "Quellmalz"][..],
        &["query", "--from", "Quellmalz"],
        &["query", "--limit", "Quellmalz"],
        &["checkpoint", "Quellmalz"],
        &["append", "--batch", "0"],
        &["query", "--limt", "3"],
        &["frobnicate"],
        &["hold", "set", "--case", "x", "--requested-by", "d"],
    ] {
        let error = home.fails(args, 2, "USAGE");
        assert!(!error.contains("Quellmalz"), "{error}");
        let json = home.run(&with(&["--json"], args));
        let value: Value = serde_json::from_str(json.err.trim()).unwrap();
        assert_eq!((json.code, &value["error"]["code"]), (2, &"USAGE".into()), "{args:?}");
    }
    assert_eq!(home.run(&[]).code, 2);
    assert!(home.ok(&["--version"]).out.starts_with("chancery "));
    assert!(home.ok(&["query", "--help"]).out.contains("Examples:"));
    assert!(home.ok(&["completions", "bash"]).out.contains("_chancery"));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let home = Home::filled();
    let mut many = String::new();
    for n in 0..3_000 {
        many += &format!("{{\"id\":\"m{n}\",\"action\":\"x.read\"}}\n");
    }
    home.write("many", &many);
    home.ok(&["append", "many", "--source", "app"]);
    let mut child = home
        .command(&["--json", "query", "--limit", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn the_doctor_is_honest() {
    let home = Home::filled();
    home.write("anonymous", "{\"id\":\"x1\",\"action\":\"x.read\",\"unheard\":\"of\"}");
    home.ok(&["append", "anonymous", "--source", "app"]);
    let ran = home.run(&["--json", "doctor"]);
    let report = ran.json();
    let codes: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    let expected = ["UNWITNESSED", "KEYS_SINGLE_COPY", "KEYS_CLASS_D", "UNKNOWN_TENANT_SEALED"];
    for code in expected.into_iter().chain(["PACKING"]) {
        assert!(codes.contains(&code), "{codes:?} lacks {code}");
    }
    assert_eq!(ran.code, 4);
    let keys = home.ok(&["--json", "keys", "show"]).json();
    assert_eq!((&keys["class"], &keys["copies"]), (&"D".into(), &1.into()));
}
