//! The Python package: its own tests, and that each client reads what the other spooled.

use crate::client::event;
use crate::support::receiver::Script;
use crate::support::sim::SimEntropy;
use chancery::client::Config;
use chancery::client::frame::encode;
use chancery::client::sender::{Sender, Step};
use chancery::client::spool::{Spool, open};
use chancery::store::disk::{Disk, OsDisk};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

fn python(args: &[&str], dir: &Path) -> Output {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let mut command = Command::new("python3");
    command.args(args).arg(dir).env("PYTHONPATH", &package).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.current_dir(&package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn ids(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("id-{n}")).collect()
}

fn config(dir: &Path) -> Config {
    Config { segment_bytes: 400, batch_events: 7, ..Config::new("app", dir) }
}

#[test]
#[ignore = "needs python3"]
fn the_python_package_passes_its_own_tests() {
    let done = python(&["-W", "error", "-m", "unittest", "discover", "-s"], Path::new("tests"));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let ran = said.split("Ran ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(ran.is_some_and(|n: u32| n >= 25), "{said}");
}

#[test]
#[ignore = "needs python3"]
fn python_reads_what_rust_spooled_and_settled() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let script = Script::default();
    let Spool { mut tail, outbox, shared, lock, .. } = open(&disk, &config(dir.path())).unwrap();
    for id in ids(30) {
        let mut frames = Vec::new();
        encode(event(&id, false).as_bytes(), &mut frames);
        tail.append(&frames, &shared).unwrap();
    }
    let mut sender = Sender::new(outbox, Arc::new(script.clone()), Arc::new(SimEntropy::new(1)));
    assert_eq!(sender.step().unwrap(), Step::Went);
    let settled = shared.board().settled;
    let receipts = std::fs::metadata(dir.path().join("receipts.ndjson")).unwrap().len();
    drop((tail, sender, lock));
    let code = "
import sys, json
from chancery_client._spool import Spool
s = Spool(sys.argv[1], 'app', 1 << 20, 400)
found = {'settled': s.settled, 'receipts': s._receipts_len, 'torn': s.torn_bytes,
         'lost': s.cursor_lost, 'events': []}
while batch := s.read(7, 2 << 20):
    assert not batch.junk
    found['events'] += [item.line.decode() for item in batch.items]
    s.settle(batch.next, b'', b'')
print(json.dumps(found))
";
    let found: Value = serde_json::from_slice(&python(&["-c", code], dir.path()).stdout).unwrap();
    let sent = script.book().order.len();
    assert!(sent > 0 && sent < 30, "{sent}");
    let expect: Vec<String> = ids(30)[sent..].iter().map(|id| event(id, false)).collect();
    assert_eq!(found["events"], serde_json::json!(expect));
    assert_eq!(found["settled"], settled);
    assert_eq!(found["receipts"], receipts);
    assert_eq!((&found["torn"], &found["lost"]), (&Value::from(0), &Value::from(false)));
    // And what Python settled is settled for Rust.
    let spool = open(&disk, &config(dir.path())).unwrap();
    let board = spool.shared.board();
    assert_eq!((board.settled, board.end), (board.end, board.end));
}

#[test]
#[ignore = "needs python3"]
fn rust_sends_what_python_spooled() {
    let dir = tempfile::tempdir().unwrap();
    let code = "
import sys
from chancery_client._spool import Spool, encode
from chancery_client._event import prepare
s = Spool(sys.argv[1], 'app', 1 << 20, 400)
for n in range(30):
    s.append(encode(prepare({'id': f'id-{n}', 'text': 'a\\nb \u{e4} \u{1f512}', 'n': n})[1]))
batch = s.read(7, 2 << 20)
s.settle(batch.next, b'{\"id\":\"x\"}\\n', b'')
with open(sys.argv[1] + '/' + max(p for p in __import__('os').listdir(sys.argv[1])
          if p.startswith('spool-v1-')), 'ab') as torn:
    torn.write(b'000000')
";
    python(&["-c", code], dir.path());
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let script = Script::default();
    let Spool { tail, outbox, shared, found, .. } = open(&disk, &config(dir.path())).unwrap();
    assert_eq!((found.torn_bytes, found.cursor_lost), (6, false));
    let mut sender = Sender::new(outbox, Arc::new(script.clone()), Arc::new(SimEntropy::new(1)));
    while sender.step().unwrap() != Step::Idle {}
    drop(tail);
    let book = script.book();
    let first = 30 - book.order.len();
    assert!((1..=7).contains(&first), "{first}");
    assert_eq!(book.order, ids(30)[first..]);
    let (line, _) = &book.taken["id-29"];
    let event: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(
        (&event["text"], &event["n"]),
        (&Value::from("a\nb \u{e4} \u{1f512}"), &Value::from(29))
    );
    let board = shared.board();
    assert_eq!(board.settled, board.end);
    let receipts = std::fs::read_to_string(dir.path().join("receipts.ndjson")).unwrap();
    assert!(receipts.starts_with("{\"id\":\"x\"}\n") && receipts.lines().count() > 20);
}
