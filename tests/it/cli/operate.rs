//! The operator's hands: backup, restore and configuration from the shell.

use crate::cli::binary::{BY_TWO, Home, with};

#[test]
fn a_backup_is_made_checked_and_restored_from_the_shell() {
    let home = Home::filled();
    let made = home.ok(&["--json", "backup", "--to", "backup/one", "--verify"]).json();
    assert_eq!(made["verified"], true);
    let number = |key: &str| made[key].as_u64().unwrap();
    assert!(number("entries") > 3 && number("written") > 1_000, "{made}");
    let again = home.ok(&["--json", "backup", "--to", "backup/one"]).json();
    assert_eq!((&again["verified"], again["root"].is_string()), (&false.into(), true));
    let checked = home.ok(&["restore", "--from", "backup/one", "--check"]).out;
    assert!(checked.contains("CHECKED") && checked.contains("AS OF THEN"), "{checked}");
    for place in ["chancery-data/x", "keys", "."] {
        home.fails(&["backup", "--to", place], 1, "BACKUP_TARGET");
    }
    // A link does not lead a backup into the keys.
    std::os::unix::fs::symlink("keys", home.path().join("elsewhere")).unwrap();
    home.fails(&["backup", "--to", "elsewhere/copy"], 1, "BACKUP_TARGET");
    home.fails(&["restore", "--from", "backup/one"], 1, "RESTORE_TARGET");
    home.fails(&["restore", "--from", "keys"], 1, "BACKUP_INCOMPLETE");
    home.ok(&with(&["subject", "erase", "patient_id:P1", "--basis", "gdpr-17-1"], &BY_TWO));
    home.ok(&["checkpoint", "--out", "newest.note"]);
    home.ok(&["keys", "trust", "--out", "trust"]);
    std::fs::rename(home.path().join("chancery-data"), home.path().join("lost")).unwrap();
    let known = ["restore", "--from", "backup/one", "--known", "newest.note"];
    home.fails(&known, 1, "ROLLED_BACK");
    assert!(!home.path().join("chancery-data").exists());
    let restored = home.ok(&with(&known, &["--accept-older"])).out;
    assert!(restored.contains("RESTORED") && restored.contains("LOG_BEHIND_KEYS"), "{restored}");
    home.ok(&["-q", "verify", "--no-bodies", "--trust", "trust"]);
    let open = ["kind=event", "--open", "--purpose", "drill", "--by", "dana", "--unrecorded"];
    let read = home.ok(&with(&["query"], &open));
    assert!(read.out.contains("n2") && !read.out.contains("Quellmalz"), "{}", read.out);
    let dirs = std::fs::read_dir(home.path().join("backup/one")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    for entry in dirs {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read the copy");
    }
}

#[test]
fn configuration_is_checked_and_shown_without_a_vault_and_without_secrets() {
    let home = Home::new();
    home.write("secret", "correct horse battery staple");
    home.write(
        "chancery.toml",
        "[keys]\npassphrase_file = \"secret\"\n[server]\ndrain_seconds = 7\n",
    );
    assert!(home.ok(&["config", "check"]).out.contains("VALID"));
    let shown = home.ok(&["--json", "config", "show", "--effective"]).out;
    assert!(shown.contains("server.drain_seconds") && !shown.contains("horse"), "{shown}");
    let shown = home.ok(&["config", "show", "--effective"]).out;
    assert!(shown.contains("server.listen") && !shown.contains("no vault yet"), "{shown}");
    home.write("chancery.toml", "[server]\nlisen = \"127.0.0.1:1\"\n");
    let said = home.fails(&["config", "check"], 2, "CONFIG_UNKNOWN_KEY");
    assert!(said.contains("did you mean listen?"), "{said}");
}
