//! Mappings: each mistake has its code, and one mistake refuses the whole.

use chancery::format::siem::mapping::{CEF_DEFAULT, LEEF_DEFAULT, Mapping};

const HEAD: &str = "vendor = \"Chancery\"\nproduct = \"Audit Vault\"\ndefault_name = \"Event\"\n";

fn check(text: &str, code: &str) {
    match Mapping::parse(text) {
        Ok(_) => panic!("accepted, instead of {code}:\n{text}"),
        Err(refusal) => assert_eq!(refusal.code, code, "{refusal}\n{text}"),
    }
}

fn cef(fields: &str) -> String {
    format!("format = \"cef\"\nversion = \"0\"\n{HEAD}{fields}")
}

fn field(key: &str, from: &str) -> String {
    format!("[[field]]\nkey = {key:?}\nfrom = [{from:?}]\n")
}

#[test]
fn the_shipped_mappings_parse_and_name_what_they_show() {
    for text in [CEF_DEFAULT, LEEF_DEFAULT] {
        let mapping = Mapping::parse(text).unwrap();
        assert!(mapping.sealed_names().any(|name| name == "actor.email"));
        assert_eq!(mapping.name("authentication.login"), "Login");
        assert_eq!(mapping.name("access.deny"), "Access denied");
        assert_eq!(mapping.name("other.other"), "Audit event");
        let changed = format!("{text}\n# changed\n");
        assert_ne!(Mapping::parse(&changed).unwrap().hash, mapping.hash);
    }
}

#[test]
fn wrong_heads_are_refused() {
    check("format = ", "SIEM_MAPPING_SYNTAX");
    check(&cef("colour = 1\nfield = []"), "SIEM_MAPPING_SYNTAX");
    for (from, to, code) in [
        ("preset = \"tokens\"", "preset = \"everything\"", "SIEM_PRESET_UNKNOWN"),
        ("format = \"cef\"", "format = \"csv\"", "SIEM_FORMAT_UNKNOWN"),
        ("version = \"0\"", "version = \"2\"", "SIEM_VERSION_UNKNOWN"),
        ("\"Audit Vault\"", "\"Audit|Vault\"", "SIEM_HEADER_UNSAFE"),
        ("\"Audit Vault\"", "\"Audit\\nVault\"", "SIEM_HEADER_UNSAFE"),
        ("\"Audit Vault\"", "\"\"", "SIEM_HEADER_UNSAFE"),
        ("\"Login\"", "\"Log=in\"", "SIEM_HEADER_UNSAFE"),
        ("\"*.login\"", "\"*.lgin\"", "SIEM_CLASS_UNKNOWN"),
        ("\"vault.seal\"", "\"vault.seals\"", "SIEM_CLASS_UNKNOWN"),
    ] {
        assert!(CEF_DEFAULT.contains(from));
        check(&CEF_DEFAULT.replace(from, to), code);
    }
    for delimiter in ["|", "=", " ", "a", "\\t", "x5E", "", "\u{a6}"] {
        let wrong = format!("delimiter = \"{delimiter}\"");
        check(&LEEF_DEFAULT.replace("delimiter = \"^\"", &wrong), "SIEM_DELIMITER_UNSAFE");
    }
    check(&LEEF_DEFAULT.replace("\"2.0\"", "\"1.0\""), "SIEM_DELIMITER_UNSAFE");
}

#[test]
fn an_absent_preset_is_the_narrowest() {
    let mapping = Mapping::parse(&cef(&field("act", "fact:code"))).unwrap();
    assert_eq!(mapping.preset.name(), "tokens");
}

#[test]
fn wrong_keys_are_refused() {
    let twice = field("act", "fact:code") + &field("act", "fact:verb");
    check(&cef(&twice), "SIEM_KEY_DUPLICATE");
    for key in ["eventId", "rawEvent", "art", "agt", "slat", "sZoneKey", "agentZoneURI"] {
        check(&cef(&field(key, "fact:index")), "SIEM_KEY_FORBIDDEN");
    }
    for key in ["cs1Label", "flexDate1Label", "src Label"] {
        check(&cef(&field(key, "constant:x")), "SIEM_LABEL_ONLY");
    }
    for key in ["suserr", "Suser", "", "Chancery_x", "Chancery x", "Chancery=", "Chancery\u{c5}"] {
        check(&cef(&field(key, "fact:code")), "SIEM_KEY_UNKNOWN");
    }
    check(&cef(&field("threatActor", "constant:x")), "SIEM_KEY_TOO_NEW");
    let newer = cef(&field("threatActor", "constant:x")).replace("\"0\"", "\"1\"");
    assert!(Mapping::parse(&newer).is_ok());
    assert!(Mapping::parse(&cef(&field("ChanceryShift", "clear:shift"))).is_ok());
}

#[test]
fn wrong_labels_lengths_and_sources_are_refused() {
    let labelled = |label: &str| field("cs1", "fact:leaf") + &format!("label = {label:?}\n");
    check(&cef(&field("cs1", "fact:leaf")), "SIEM_LABEL_MISSING");
    check(&cef(&(field("act", "fact:code") + "label = \"x\"\n")), "SIEM_LABEL_UNUSED");
    for label in ["", "a=b", "a|b", " a", "\u{eb}", &"x".repeat(1024)] {
        check(&cef(&labelled(label)), "SIEM_LABEL_UNSAFE");
    }
    let second = labelled("Leaf").replace("cs1", "cs2");
    check(&cef(&(labelled("Leaf") + &second)), "SIEM_LABEL_DUPLICATE");
    // src may become c6a2, so nothing else may.
    let six = field("c6a2", "sealed:ip") + "label = \"Mine\"\n";
    check(&cef(&(field("src", "sealed:ip") + &six)), "SIEM_KEY_DUPLICATE");
    check(&cef(&(field("act", "fact:code") + "max = 64\n")), "SIEM_MAX_TOO_LONG");
    check(&cef(&(field("act", "fact:code") + "max = 0\n")), "SIEM_MAX_TOO_LONG");
    check(&cef(&(field("rt", "fact:time.log") + "max = 5\n")), "SIEM_MAX_NOT_TEXT");
    check(&cef(&field("externalId", "fact:leaf")), "SIEM_FACT_TOO_LONG");
    check(&cef(&(field("suid", "fact:record") + "max = 31\n")), "SIEM_FACT_TOO_LONG");
    check(&cef(&field("act", "fact:colour")), "SIEM_FACT_UNKNOWN");
    for from in ["code", "header:code", "sealed:", "sealed:a b", "constant: ", "unsealed:x"] {
        check(&cef(&field("act", from)), "SIEM_SOURCE_UNKNOWN");
    }
    check(&cef("[[field]]\nkey = \"act\"\nfrom = []\n"), "SIEM_SOURCE_MISSING");
}

#[test]
fn leef_needs_four_attributes_that_are_always_there() {
    let leef = |keys: &[&str]| {
        let fields: String = keys.iter().map(|key| field(key, "fact:index")).collect();
        let maybe = field("usrName", "token:actor");
        format!("format = \"leef\"\nversion = \"2.0\"\n{HEAD}{fields}{maybe}")
    };
    check(&leef(&["a", "b", "c"]), "SIEM_LEEF_TOO_FEW");
    assert!(Mapping::parse(&leef(&["a", "b", "c", "d"])).is_ok());
    check(&leef(&["a", "b", "c", "isLoginEvent"]), "SIEM_KEY_FORBIDDEN");
    check(&leef(&["a", "b", "c", "devTimeFormat"]), "SIEM_KEY_FORBIDDEN");
}
