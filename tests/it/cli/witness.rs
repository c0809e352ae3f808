//! The built program twice: a witness on one port, a vault that is witnessed by it.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const EVENT: &str = concat!(
    r#"{"id":"e1","source_seq":1,"actor":{"id":"n1","type":"user"},"action":"user.login","#,
    r#""outcome":"success","severity":3}"#
);

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// Exit code, first line of standard output as JSON, standard error.
fn run(dir: &Path, args: &[&str]) -> (i32, Value, String) {
    let output = command(dir, &[&["--json"], args].concat()).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let first = out.lines().next().unwrap_or("null");
    let value = serde_json::from_str(first).unwrap_or(Value::Null);
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap_or(-1), value, error)
}

fn ok(dir: &Path, args: &[&str]) -> Value {
    let (code, value, error) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {error}");
    value
}

/// Starts the witness and gives its address.
fn start(dir: &Path) -> (Running, String) {
    let args = ["--json", "witness", "run", "--dir", "w", "--listen", "127.0.0.1:0"];
    let mut child = command(dir, &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let value: Value = serde_json::from_str(&line).unwrap();
    (Running(child), value["listen"].as_str().unwrap().to_owned())
}

/// Names the witness in the vault's configuration, in place of the one named before.
fn name_witness(dir: &Path, address: &str, vkey: &str) {
    let config = std::fs::read_to_string(dir.join("chancery.toml")).unwrap();
    let own = config.split("\n[[witness]]").next().unwrap();
    let more = format!("\n[[witness]]\nurl = \"http://{address}\"\nvkey = \"{vkey}\"\n");
    std::fs::write(dir.join("chancery.toml"), own.to_owned() + &more).unwrap();
}

/// The witness cannot know the new key: it refuses by name, nothing opens unseen, and once it is
/// told, it goes on where it was.
#[test]
fn a_witness_is_told_the_key_that_a_roll_made_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let made = ok(dir, &["init", "--name", "vault.example"]);
    let log = made["log_key"].as_str().unwrap();
    let args = ["witness", "init", "--dir", "w", "--name", "witness.example/w1", "--log", log];
    let vkey = ok(dir, &args)["vkey"].as_str().unwrap().to_owned();
    let (witness, address) = start(dir);
    name_witness(dir, &address, &vkey);
    ok(dir, &["keys", "trust", "--out", "old.trust"]);
    let append = |number: u32| {
        let event = EVENT.replace("e1", &format!("e{number}"));
        let event = event.replace("\"source_seq\":1", &format!("\"source_seq\":{number}"));
        std::fs::write(dir.join("events"), event).unwrap();
        ok(dir, &["append", "events", "--source", "app", "--as", "canonical"]);
    };
    append(1);
    ok(dir, &["checkpoint"]);
    let two = ["--requested-by", "dana", "--approved-by", "omar"];
    let rolled = ok(dir, &[&["keys", "roll-log"][..], &two].concat());
    let new = rolled["new"].as_str().unwrap();
    // The checkpoint at the roll bears the old signature too: this opening is witnessed yet.
    append(2);
    let (code, _, error) = run(dir, &["show", "1"]);
    assert!(code == 1 && error.contains("UNWITNESSED"), "{code} {error}");
    for part in ["it does not know this log's key", "witness.toml", new, "--accept-unwitnessed"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
    ok(dir, &["--accept-unwitnessed", "show", "1"]);
    // Its administrator adds the key and starts it again.
    drop(witness);
    let file = std::fs::read_to_string(dir.join("w/witness.toml")).unwrap();
    let both = file.replace("logs = [\n", &format!("logs = [\n  \"{new}\",\n"));
    assert_ne!(both, file);
    std::fs::write(dir.join("w/witness.toml"), &both).unwrap();
    let (witness, address) = start(dir);
    name_witness(dir, &address, &vkey);
    let seen = ok(dir, &["checkpoint"]);
    assert!(seen["witnessing"].as_str().unwrap().starts_with("WITNESSED 1 of 1"), "{seen}");
    let args = ["keys", "trust", "--follow", "old.trust", "--out", "new.trust"];
    ok(dir, &args);
    let verified = ok(dir, &["verify", "--trust", "new.trust"]);
    assert_eq!(verified["verdict"], "verified");
    assert_eq!(verified["data"]["witnessed"], seen["size"]);
    // Then the retired key may go: what it signs is nobody's word any more.
    drop(witness);
    let alone = both.replace(&format!("  \"{log}\",\n"), "");
    assert_ne!(alone, both);
    std::fs::write(dir.join("w/witness.toml"), alone).unwrap();
    let (_witness, address) = start(dir);
    name_witness(dir, &address, &vkey);
    append(3);
    let seen = ok(dir, &["checkpoint"]);
    assert!(seen["witnessing"].as_str().unwrap().starts_with("WITNESSED 1 of 1"), "{seen}");
}

#[test]
fn a_vault_is_witnessed_and_refuses_to_open_where_nobody_can_tell() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let made = ok(dir, &["init", "--name", "vault.example"]);
    let log = made["log_key"].as_str().unwrap();
    let args = ["witness", "init", "--dir", "w", "--name", "witness.example/w1", "--log", log];
    let vkey = ok(dir, &args)["vkey"].as_str().unwrap().to_owned();
    assert!(vkey.starts_with("witness.example/w1+"));
    assert_eq!(run(dir, &args).0, 2, "never over another");
    let (witness, address) = start(dir);
    let config = std::fs::read_to_string(dir.join("chancery.toml")).unwrap();
    let more = format!("\n[[witness]]\nurl = \"http://{address}\"\nvkey = \"{vkey}\"\n");
    std::fs::write(dir.join("chancery.toml"), config.clone() + &more).unwrap();
    std::fs::write(dir.join("events"), EVENT).unwrap();
    ok(dir, &["append", "events", "--source", "app", "--as", "canonical"]);
    let seen = ok(dir, &["checkpoint"]);
    assert!(seen["witnessing"].as_str().unwrap().starts_with("WITNESSED 1 of 1"), "{seen}");
    assert!(seen["checkpoint"].as_str().unwrap().contains("\u{2014} witness.example/w1 "));
    let shown = ok(dir, &["show", "1"]);
    assert_eq!(shown["not_after"]["sight"], "cosigned");
    // What an auditor pins asks for the witness, and is met.
    let trust = ok(dir, &["keys", "trust", "--out", "trust"]);
    assert!(trust["trust"].as_str().unwrap().contains("quorum witnesses"), "{trust}");
    let verified = ok(dir, &["verify", "--trust", "trust"]);
    assert_eq!(verified["verdict"], "verified");
    assert_eq!(verified["data"]["witnessed"], seen["size"]);
    // The witness is gone: nobody can tell whether this is an old copy.
    drop(witness);
    let (code, _, error) = run(dir, &["show", "1"]);
    assert!(code == 1 && error.contains("UNWITNESSED"), "{code} {error}");
    ok(dir, &["--accept-unwitnessed", "show", "1"]);
    let watched = ok(dir, &["witness", "show", "--dir", "w"]);
    assert_eq!(watched["logs"][0]["size"], seen["size"], "durable before it was shown");
    // It comes back, the vault's copy of before does not.
    let old = dir.join("old");
    let copy = |from: &str, to: &Path| {
        let args = [Path::new("-a"), &dir.join(from), to];
        assert!(Command::new("cp").args(args).status().unwrap().success());
    };
    std::fs::create_dir(&old).unwrap();
    copy("chancery-data", &old.join("data"));
    copy("keys", &old.join("keys"));
    let (_witness, address) = start(dir);
    let more = format!("\n[[witness]]\nurl = \"http://{address}\"\nvkey = \"{vkey}\"\n");
    std::fs::write(dir.join("chancery.toml"), config + &more).unwrap();
    std::fs::write(
        dir.join("events"),
        EVENT.replace("e1", "e2").replace("\"source_seq\":1", "\"source_seq\":2"),
    )
    .unwrap();
    ok(dir, &["append", "events", "--source", "app", "--as", "canonical"]);
    ok(dir, &["checkpoint"]);
    for (name, place) in [("chancery-data", "data"), ("keys", "keys")] {
        std::fs::remove_dir_all(dir.join(name)).unwrap();
        copy(&format!("old/{place}"), &dir.join(name));
    }
    let (code, _, error) = run(dir, &["show", "1"]);
    assert!(code == 1 && error.contains("ROLLED_BACK"), "{code} {error}");
}
