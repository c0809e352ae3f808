//! Documents of the registry from the shell: that there is one is shown, its body by no command.

use crate::cli::binary::{BY_TWO, Home, with};
use chancery::base::id::DocumentId;
use chancery::base::unit::EntryIndex;
use chancery::cli::world::{policies, world};
use chancery::format::control::DocumentKind;
use chancery::vault::Vault;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::registry::Put;

const SECRET: &str = "argon2id-of-quellmalz";

/// A vault with events and one document.
fn with_document() -> (Home, EntryIndex) {
    let home = Home::filled();
    let built_in = chancery::cli::config::Policies::FolderOrBuiltIn("-".into());
    let config = Config {
        data: home.path().join("chancery-data"),
        keys: home.path().join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: policies(&built_in).unwrap(),
        index_on_disk: true,
        outside: Default::default(),
        tuning: Tuning::default(),
    };
    let vault = Vault::open(world(), &config).unwrap();
    let body = format!(r#"{{"login":"dana","password":"{SECRET}"}}"#);
    let (kind, id) = (DocumentKind::Human, DocumentId([7; 16]));
    let put = Put { kind, id, expect: 0, gone: false, body: body.as_bytes(), subjects: &[] };
    let (index, _) = vault.put_document(&put).unwrap();
    vault.checkpoint().unwrap();
    (home, index)
}

#[test]
fn no_command_prints_the_body_of_a_document() {
    let (home, index) = with_document();
    let index = index.to_string();
    let open = ["--open", "--purpose", "a look", "--by", "dana"];
    let shown = home.ok(&with(&["show", &index], &open));
    let row = format!(r#""id":"{}","kind":"human","version":1,"what":"document""#, "07".repeat(16));
    assert!(shown.out.contains(&row), "{}", shown.out);
    assert!(shown.out.contains("config.document") && shown.out.contains("private"));
    assert!(shown.err.contains("FIELD_PRIVATE"), "{}", shown.err);
    let json = home.ok(&with(&["--json", "show", &index], &open)).json();
    assert_eq!(json["clear"]["kind"], "human");
    let field = &json["fields"][0];
    assert_eq!((&field["state"], field["value"].is_null()), (&"private".into(), true));
    let listed = home.ok(&with(&["query", "kind=config"], &open));
    assert!(listed.out.contains("config.document=(private)"), "{}", listed.out);
    assert!(listed.out.contains("source.name=\"ehr\""), "the others open: {}", listed.out);
    let listed_json = home.ok(&with(&["--json", "query", "kind=config"], &open));
    let fields = ["--field", "config.document", "--by", "dana", "--recipient", "court"];
    let disclose = with(&["disclose", &index], &fields);
    let disclose = with(&disclose, &["--purpose", "order", "--out", "told"]);
    let refused = home.fails(&disclose, 1, "FIELD_PRIVATE");
    assert!(!home.path().join("told").exists());
    let export = ["export", "cef", "--preset", "named", "--grant", "actor.email"];
    let export = with(&export, &["--out", "a.cef"]);
    home.ok(&with(&export, &BY_TWO));
    let lines = home.read("a.cef");
    assert!(lines.contains("clinic.example"), "sealed values are in it: {lines}");
    let grant = ["export", "cef", "--preset", "named", "--grant", "config.document"];
    let grant = with(&grant, &["--out", "b.cef"]);
    home.fails(&with(&grant, &BY_TWO), 2, "EXPORT_GRANT_UNKNOWN");
    for text in [shown.out, shown.err, listed.out, listed_json.out, refused, lines] {
        assert!(!text.contains(SECRET), "{text}");
    }
}
