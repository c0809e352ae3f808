//! A stock sender, somebody else's program, delivers without knowing that this is not Splunk.

use crate::hec::of;
use crate::support::service::Service;
use std::net::SocketAddr;
use std::process::Command;

/// Logs with the package `splunk-hec-handler`, which raises what is no success.
const PROGRAM: &str = r#"
import logging, sys
from splunk_hec_handler import SplunkHecHandler
port, guid, plain = sys.argv[1:]
def logger(name, token, **more):
    log = logging.getLogger(name)
    log.setLevel(logging.DEBUG)
    log.addHandler(SplunkHecHandler("127.0.0.1", token, port=port, proto="http", **more))
    return log
door = logger("door", guid, source="gate", sourcetype="_json", hostname="gw-1", empty_body=True)
door.info({"action": "door.open", "actor": {"id": "u7"}, "fields": {"floor": "2"}})
any = logger("any", plain, index="main")
any.warning("a line with \"quotes\" and ünïcode")
any.info({"user": "u7", "codes": [1, 2]})
raw = logger("raw", plain, endpoint="raw")
raw.info("raw")
"#;

#[test]
#[ignore = "needs python3 with splunk-hec-handler"]
fn a_stock_python_handler_delivers_unchanged() {
    let service = Service::start();
    let (door, plain) = (service.guid("door"), service.guid("plain"));
    let done = service.serving(move |address: SocketAddr| {
        let port = address.port().to_string();
        let args = ["-W", "error::DeprecationWarning", "-c", PROGRAM, &port, &door, &plain];
        Command::new("python3").args(args).output().unwrap()
    });
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found = of(&service.main(), "door");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].value("action").unwrap(), b"\"door.open\"");
    assert!(found[0].entry.head.time.0 > 0, "the envelope's time");
    let kept = String::from_utf8_lossy(found[0].value("data").unwrap()).into_owned();
    assert!(kept.contains("\"hec_envelope\"") && kept.contains("\"floor\""), "{kept}");
    let found = of(&service.main(), "plain");
    assert_eq!(found.len(), 3);
    let message = |at: usize| {
        let value = found[at].value("message").unwrap();
        serde_json::from_slice::<serde_json::Value>(value).unwrap()
    };
    assert_eq!(message(0)["message"], "a line with \"quotes\" and ünïcode");
    assert_eq!(message(1)["codes"], serde_json::json!([1, 2]));
    assert!(message(2).as_str().unwrap().contains("\"raw\""));
}
