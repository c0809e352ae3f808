//! `chancery emit`, the built program: what it exits with, and what it never shows.

use crate::support::receiver::{Act, Script, listen};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const EVENTS: &str = "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":2}\n{\"n\":3}\n";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// A directory with a token, and a receiver.
struct Place {
    dir: TempDir,
    url: String,
}

impl Place {
    fn new(script: &Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "chancery_dev_secret\n").unwrap();
        let place = Place { dir, url: format!("http://{}", listen(script)) };
        place.mode("token", 0o600);
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    fn emit(&self, input: &str, more: &[&str]) -> Ran {
        let mut args = vec!["--json", "emit", "--url", &self.url, "--spool", "spool"];
        if !more.contains(&"--source") {
            args.extend(["--source", "app"]);
        }
        if !more.contains(&"--token-env") {
            args.extend(["--token-file", "token"]);
        }
        args.extend(more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.args(&args).current_dir(self.dir.path()).env("SECRET", "chancery_dev_secret");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            code: done.status.code().unwrap(),
            out: text(done.stdout),
            err: text(done.stderr),
        };
        assert!(!format!("{}{}", ran.out, ran.err).contains("secret"), "{}", ran.err);
        ran
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn it_ends_well_when_all_have_receipts() {
    let script = Script::of(&[Act::TakeAndReset]);
    let place = Place::new(&script);
    let ran = place.emit(EVENTS, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&said["emitted"], &said["receipts"], &said["dead"]),
        (&json!(3), &json!(3), &json!(0))
    );
    let receipts = lines(&place.path("spool/receipts.ndjson"));
    assert_eq!(receipts.iter().filter(|line| line["leaf"].is_string()).count(), 3);
    let mode = std::fs::metadata(place.path("spool/receipts.ndjson")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing waits: nothing is sent.
    assert_eq!(place.emit("", &["--token-env", "SECRET"]).code, 0);
    // The three, then one by itself after the lost answer, then the others.
    assert_eq!(script.book().requests.len(), 3);
}

#[test]
fn refused_events_are_told_and_the_others_have_receipts() {
    let problem = json!({"status": 422, "code": "FIELD_REQUIRED", "detail": "send it"});
    let script = Script::of(&[Act::Partial(problem)]);
    let place = Place::new(&script);
    let input = "{\"id\":\"a\",\"bad\":true}\nQuellmalz\n{\"id\":\"b\"}\n";
    let ran = place.emit(input, &[]);
    assert!(ran.code == 1 && ran.err.contains("EMIT_REFUSED"), "{} {}", ran.code, ran.err);
    assert!(ran.err.contains("line 2") && !ran.err.contains("Quellmalz"), "{}", ran.err);
    assert_eq!(script.book().order.concat(), "b");
    assert_eq!(lines(&place.path("spool/dead.ndjson"))[0]["id"], "a");
}

#[test]
fn a_refused_token_leaves_all_in_the_spool_for_the_next_run() {
    let script = Script::of(&[Act::Say(401, None, json!({"code": "TOKEN_UNKNOWN"}))]);
    let place = Place::new(&script);
    let ran = place.emit(EVENTS, &[]);
    assert!(ran.code == 3 && ran.err.contains("EMIT_PARKED"), "{} {}", ran.code, ran.err);
    assert_eq!(place.emit("", &[]).code, 0);
    assert_eq!(script.book().order.len(), 3);
}

#[test]
fn patience_ends_with_what_waits_and_a_full_spool_waits_for_room() {
    let down = Act::Say(503, None, json!({"code": "OVERLOADED"}));
    let script = Script::of(&vec![down; 40]);
    let place = Place::new(&script);
    let ran = place.emit(EVENTS, &["--patience", "0"]);
    assert!(ran.code == 3 && ran.err.contains("EMIT_UNSENT"), "{} {}", ran.code, ran.err);
    script.book().script.clear();
    // Room for three or four events, and forty to send.
    let many: String = (0..40).map(|n| format!("{{\"id\":\"x{n}\",\"n\":{n}}}\n")).collect();
    let ran = place.emit(&many, &["--spool-bytes", "200"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(script.book().order.len(), 43);
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let script = Script::default();
    let place = Place::new(&script);
    for (more, code) in [
        (vec!["--token-env", "NOT_SET_ANYWHERE"], "EMIT_TOKEN"),
        (vec!["--source", "a&b"], "EMIT_ADDRESS"),
    ] {
        let ran = place.emit(EVENTS, &more);
        assert!(ran.code == 2 && ran.err.contains(code), "{more:?}: {} {}", ran.code, ran.err);
    }
    place.mode("token", 0o644);
    let ran = place.emit(EVENTS, &[]);
    assert!(ran.code == 2 && ran.err.contains("EMIT_TOKEN"), "{}", ran.err);
    place.mode("token", 0o600);
    let place = Place { url: "http://vault.example".to_owned(), ..place };
    let ran = place.emit(EVENTS, &[]);
    assert!(ran.code == 2 && ran.err.contains("EMIT_ADDRESS"), "{}", ran.err);
    assert!(script.book().requests.is_empty() && !place.path("spool").exists());
}
