//! Copies of a service's data and keys: a mirror of the keys of every tenant, a backup of all of
//! them, and what is said to whoever comes beside a running service.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Home, Service};
use serde_json::json;
use std::process::Output;

/// A home whose configuration names a mirror.
fn mirrored(below: &tempfile::TempDir) -> Home {
    let home = Home::below(below.path());
    std::fs::create_dir(home.path("h")).unwrap();
    let text = "[keys]\npath = \"keys\"\nmirror = \"second\"\n";
    std::fs::write(home.path("h/chancery.toml"), text).unwrap();
    home
}

fn said(ran: &Output) -> String {
    [&ran.stdout[..], &ran.stderr].map(String::from_utf8_lossy).concat()
}

fn replicas(home: &Home, tenant: &str) -> String {
    let doctor = home.run(&["--tenant", tenant, "keys", "mirror"]);
    assert!(doctor.status.success(), "{}", said(&doctor));
    said(&doctor)
}

#[test]
fn every_tenant_of_a_service_has_a_mirror_of_its_keys_and_comes_back_from_it() {
    let below = tempfile::tempdir().unwrap();
    let service = mirrored(&below).serve(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let token = dana.token(&service, &["ingest", "readonly"], &json!({"expires": in_days(30)}));
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u7", "type": "user"}});
    service.post(As::Token(&token), "/v1/events?source=clinic", &event);
    let named = json!([{"kind": "user_id", "value": "u7"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    let path = format!("/v1/erasures/{}/receipt", order["job"].as_str().unwrap());
    let receipt = service.ask(dana.who(), "GET", &path, None).text();
    assert!(receipt.contains("2/2"), "{receipt}");
    let home = service.stop();
    for place in ["second/replica", "second/others/system/replica", "second/others/system/kek"] {
        assert!(home.path("h").join(place).exists(), "{place}");
    }
    for tenant in ["main", "system"] {
        assert!(replicas(&home, tenant).contains("2/2"), "{tenant}");
        assert!(home.run(&["--tenant", tenant, "doctor"]).status.code() != Some(2), "{tenant}");
    }
    // The first disk of the keys is lost, with those of every tenant.
    std::fs::rename(home.path("h/keys"), home.path("lost")).unwrap();
    let lost = home.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(said(&lost).contains("KEYS_PRIMARY_LOST"), "{}", said(&lost));
    for tenant in ["main", "system"] {
        home.ok(&["--tenant", tenant, "keys", "restore", "--from-mirror"]);
    }
    let service = home.serve(&[]);
    let page = service.get(As::Token(&token), "/v1/events?source=clinic");
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    service.stop();
}

#[test]
fn no_tenant_is_made_while_the_mirror_is_an_empty_mount_point_and_none_before_main_has_one() {
    let below = tempfile::tempdir().unwrap();
    let home = mirrored(&below);
    home.ok(&["init"]);
    std::fs::rename(home.path("h/second"), home.path("unmounted")).unwrap();
    std::fs::create_dir(home.path("h/second")).unwrap();
    let refused = home.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("KEYS_MIRROR_AWAY"), "{}", said(&refused));
    assert!(!home.path("h/second/others").exists() && !home.path("h/keys/others").exists());
    std::fs::remove_dir(home.path("h/second")).unwrap();
    std::fs::rename(home.path("unmounted"), home.path("h/second")).unwrap();
    home.serve(&[]).stop();

    // A mirror that the configuration names only later is made by a person, for each tenant.
    let home = Home::below(below.path());
    let home = home.serve(&[]).stop();
    let text = "[keys]\npath = \"keys\"\nmirror = \"second\"\n";
    std::fs::write(home.path("h/chancery.toml"), text).unwrap();
    let home = home.serve(&[]).stop();
    let errors = std::fs::read_to_string(home.path("errors")).unwrap();
    assert_eq!(errors.matches("KEYS_SINGLE_COPY").count(), 3, "once alone, then twice: {errors}");
    assert!(errors.contains("tenant system: "), "{errors}");
    for tenant in ["main", "system"] {
        assert!(replicas(&home, tenant).contains("2/2"), "{tenant}");
    }
}

#[test]
fn whoever_comes_beside_a_service_is_told_what_to_do() {
    let service = Service::start(&[]);
    for tenant in ["main", "system"] {
        for args in [&["query", "kind=event"][..], &["backup", "--to", "copy"], &["doctor"]] {
            let ran = service.run_beside(&[&["--tenant", tenant], args].concat());
            let text = said(&ran);
            let is_told = text.contains("STORE_LOCKED") && text.contains("chancery serve");
            assert!(!ran.status.success() && is_told, "{tenant} {args:?}: {text}");
        }
    }
    let second =
        service.run_beside(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(said(&second).contains("STORE_LOCKED"), "{}", said(&second));
    service.stop();
}

#[test]
fn a_backup_of_all_tenants_brings_the_service_back_and_each_log_says_that_it_was_copied() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let token = dana.token(&service, &["ingest", "readonly"], &json!({"expires": in_days(30)}));
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u7", "type": "user"}});
    service.post(As::Token(&token), "/v1/events?source=clinic", &event);
    let home = service.stop();
    let made = home.ok(&["backup", "--all-tenants", "--to", "copy", "--verify"]);
    let tenants: Vec<serde_json::Value> =
        made.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = tenants.iter().map(|one| one["tenant"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "system"], "{made}");
    for tenant in ["main", "system"] {
        let found = home.ok(&["--tenant", tenant, "query", "source=chancery"]);
        let written = found.lines().filter(|line| line.contains("system.export")).count();
        assert_eq!(written, 1, "{tenant}: {found}");
    }
    // Brought up to now, and checked.
    home.ok(&["backup", "--all-tenants", "--to", "copy"]);
    home.ok(&["restore", "--all-tenants", "--from", "copy", "--check"]);
    std::fs::rename(home.path("h/chancery-data"), home.path("lost")).unwrap();
    std::fs::rename(home.path("copy/main"), home.path("copy-main")).unwrap();
    let refused = home.run(&["restore", "--all-tenants", "--from", "copy"]);
    assert!(said(&refused).contains("BACKUP_INCOMPLETE"), "{}", said(&refused));
    std::fs::rename(home.path("copy-main"), home.path("copy/main")).unwrap();
    home.ok(&["restore", "--all-tenants", "--from", "copy"]);
    let again = home.run(&["restore", "--all-tenants", "--from", "copy"]);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(said(&again).matches("left as it is").count(), 2, "{}", said(&again));
    let service = home.serve(&[]);
    let page = service.get(As::Token(&token), "/v1/events?source=clinic");
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    service.stop();
}
