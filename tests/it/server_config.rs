//! `[server]` in `chancery.toml`: defaults, who beats whom, what is refused and how it is said.

use chancery::cli::args::Global;
use chancery::cli::config::error::ConfigError;
use chancery::cli::config::server::{Network, Profile, Server, ServerFlags, Tls, seconds};
use chancery::cli::config::{Config, Origin};
use std::path::{Path, PathBuf};

fn global() -> Global {
    Global { home: Some("/srv/vault".into()), ..Global::default() }
}

fn check(text: &str) -> Result<Server, ConfigError> {
    Config::check(text, Path::new("chancery.toml"), &global(), &|_| None).map(|c| c.server)
}

fn refused(text: &str) -> String {
    check(text).expect_err(text).to_string()
}

#[test]
fn without_a_file_it_listens_on_loopback_with_a_certificate_of_its_own() {
    let server = check("").unwrap();
    assert_eq!(server.listen.to_string(), "127.0.0.1:8843");
    assert_eq!(server.admin_listen.to_string(), "127.0.0.1:8844");
    assert_eq!(server.tls, Tls::Generated);
    assert!(server.clients.is_empty());
    assert_eq!(server.hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!((server.cooling_off, server.max_body_bytes), (86_400, 16 << 20));
    assert_eq!((server.max_connections, server.drain_seconds), (1_024, 10));
    assert_eq!(server.read_seconds, 30);
    assert_eq!((server.profile, server.metrics_by_tenant), (Profile::Production, false));
    assert_eq!(server.disk_reserve_bytes, 64 << 20);
    assert!(server.trusted_proxies.is_empty());
    assert!(server.shown.iter().all(|shown| shown.origin == Origin::Default));
    assert_eq!(server.shown.len(), 16);
}

#[test]
fn a_file_is_read_and_every_value_says_where_it_is_from() {
    let text = r#"
[server]
listen = "0.0.0.0:443"
admin_listen = "[::1]:9000"
tls_cert = "tls/chain.pem"
tls_key = "/etc/tls/key.pem"
client_ca = "ca.pem"
hosts = ["vault.example", "[2001:db8::1]", "192.0.2.7"]
cooling_off = "30m"
max_body_bytes = 1048576
max_connections = 64
drain_seconds = 25
read_seconds = 5
disk_reserve_bytes = 8388608
profile = "dev"
trusted_proxies = ["192.0.2.0/24", "2001:db8::5"]
generated_certificate = "loopback"
metrics_by_tenant = true
"#;
    let server = check(text).unwrap();
    let cert = PathBuf::from("/srv/vault/tls/chain.pem");
    assert_eq!(server.tls, Tls::Files { cert, key: "/etc/tls/key.pem".into() });
    assert_eq!(server.clients["main"], PathBuf::from("/srv/vault/ca.pem"));
    assert_eq!((server.cooling_off, server.profile), (1_800, Profile::Dev));
    assert_eq!((server.read_seconds, server.drain_seconds), (5, 25));
    assert_eq!(server.disk_reserve_bytes, 8 << 20);
    assert_eq!(server.trusted_proxies.len(), 2);
    assert!(server.shown.iter().all(|s| s.origin == Origin::File), "{:?}", server.shown);
    let known = include_str!("../../src/cli/config/server.rs");
    for shown in server.shown {
        let key = shown.key.strip_prefix("server.").unwrap();
        assert!(known.contains(&format!("pub {key}: Given<")), "{key} is no key of the file");
    }
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\ncooling_off = \"1h\"\nprofile = \"dev\"\n";
    let env = |name: &str| match name {
        "CHANCERY_LISTEN" => Some("127.0.0.1:2".to_owned()),
        "CHANCERY_COOLING_OFF" => Some("2h".to_owned()),
        "CHANCERY_HOSTS" => Some("a.example,b.example".to_owned()),
        "CHANCERY_PROFILE" => Some(String::new()),
        _ => None,
    };
    let file = Path::new("chancery.toml");
    let server = Config::check(text, file, &global(), &env).unwrap().server;
    assert_eq!((server.listen.port(), server.cooling_off), (2, 7_200));
    assert_eq!(server.hosts, ["a.example", "b.example"]);
    assert_eq!(server.profile, Profile::Dev, "an empty variable says nothing");
    let flags = ServerFlags {
        listen: Some("127.0.0.1:3".parse().unwrap()),
        cooling_off: Some(0),
        ..ServerFlags::default()
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("chancery.toml"), text).unwrap();
    let global = Global { home: Some(dir.path().into()), ..Global::default() };
    let server = Config::load_to_serve(&global, &flags, &env).unwrap().server;
    assert_eq!((server.listen.port(), server.cooling_off), (3, 0));
    let origin = |key: &str| server.shown.iter().find(|s| s.key == key).unwrap().origin;
    assert_eq!(origin("server.listen"), Origin::Flag);
    assert_eq!(origin("server.hosts"), Origin::Environment);
    assert_eq!(origin("server.profile"), Origin::File);
}

#[test]
fn a_generated_certificate_stays_on_loopback_unless_somebody_wants_it_elsewhere() {
    for listen in ["0.0.0.0:8843", "192.0.2.1:8843", "[::]:8843"] {
        let text = format!("[server]\nlisten = \"{listen}\"\nhosts = [\"vault.example\"]\n");
        let said = refused(&text);
        assert!(said.starts_with("CONFIG_VALUE") && said.contains("not on loopback"), "{said}");
        let wanted = format!("{text}generated_certificate = \"anywhere\"\n");
        assert_eq!(check(&wanted).unwrap().tls, Tls::Generated);
        let own = format!("{text}tls_cert = \"c\"\ntls_key = \"k\"\n");
        assert!(matches!(check(&own).unwrap().tls, Tls::Files { .. }));
    }
    // The other listener counts as well.
    let said = refused("[server]\nadmin_listen = \"192.0.2.1:8844\"\n");
    assert!(said.contains("not on loopback"), "{said}");
}

#[test]
fn every_tenants_clients_have_one_authority() {
    let client = |tenant: &str, ca: &str| {
        format!("[[server.client]]\ntenant = \"{tenant}\"\nca = \"{ca}\"\n")
    };
    let main = "[server]\nclient_ca = \"main.pem\"\n".to_owned();
    let two = main.clone() + &client("clinic", "/etc/clinic.pem") + &client("lab-2", "lab.pem");
    let clients = check(&two).unwrap().clients;
    let path = |name: &str| clients[name].display().to_string();
    assert_eq!(clients.len(), 3);
    assert_eq!(path("main"), "/srv/vault/main.pem");
    assert_eq!(
        (path("clinic"), path("lab-2")),
        ("/etc/clinic.pem".into(), "/srv/vault/lab.pem".into())
    );
    for wrong in [
        main + &client("main", "other.pem"),
        client("lab", "a.pem") + &client("lab", "b.pem"),
        client("Lab", "a.pem"),
        client("../lab", "a.pem"),
        client("", "a.pem"),
        client("lab", ""),
        "[[server.client]]\ntenant = \"lab\"\n".to_owned(),
    ] {
        let said = refused(&wrong);
        assert!(said.starts_with("CONFIG_VALUE") && said.contains("server.client"), "{said}");
    }
    let said = refused("[[server.client]]\ntenant = \"lab\"\ncert = \"a.pem\"\n");
    assert!(said.starts_with("CONFIG_UNKNOWN_KEY"), "{said}");
}

#[test]
fn what_is_wrong_is_refused_with_its_line_and_what_is_allowed() {
    for (line, key, allowed) in [
        ("listen = \"localhost:8843\"", "server.listen", "an address and a port"),
        ("listen = \"8843\"", "server.listen", "an address and a port"),
        ("admin_listen = \"127.0.0.1:8843\"", "server.admin_listen", "another address or port"),
        ("tls_cert = \"c\"", "server.tls_cert", "together with server.tls_key"),
        ("tls_key = \"c\"", "server.tls_key", "together with server.tls_cert"),
        ("hosts = []", "server.hosts", "1 to 64 names"),
        ("hosts = [\"Vault.Example\"]", "server.hosts", "lower case"),
        ("hosts = [\"vault.example:8843\"]", "server.hosts", "without port"),
        ("hosts = [\"*\"]", "server.hosts", "1 to 64 names"),
        ("hosts = [\"a..b\"]", "server.hosts", "1 to 64 names"),
        ("cooling_off = \"1 day\"", "server.cooling_off", "0s to 30d"),
        ("cooling_off = \"31d\"", "server.cooling_off", "0s to 30d"),
        ("cooling_off = \"-1s\"", "server.cooling_off", "0s to 30d"),
        ("max_body_bytes = 1", "server.max_body_bytes", "65536 to 67108864"),
        ("max_connections = 0", "server.max_connections", "8 to 65536"),
        ("disk_reserve_bytes = 1", "server.disk_reserve_bytes", "4194304 to 17179869184"),
        ("drain_seconds = 0", "server.drain_seconds", "1 to 300"),
        ("profile = \"prod\"", "server.profile", "production or dev"),
        ("trusted_proxies = [\"0.0.0.0/0\"]", "server.trusted_proxies", "at least 8 bits"),
        ("trusted_proxies = [\"proxy.example\"]", "server.trusted_proxies", "addresses or"),
        ("trusted_proxies = [\"192.0.2.0/33\"]", "server.trusted_proxies", "addresses or"),
        ("generated_certificate = \"yes\"", "server.generated_certificate", "loopback or anywhere"),
    ] {
        let said = refused(&format!("[server]\n{line}\n"));
        let begins = format!("CONFIG_VALUE: chancery.toml line 2, key {key}: ");
        assert!(said.starts_with(&begins) && said.contains(allowed), "{line}: {said}");
    }
    // Without hosts, a listener that others reach has none.
    let said = refused("[server]\nlisten = \"192.0.2.1:1\"\ntls_cert = \"c\"\ntls_key = \"k\"\n");
    assert!(said.contains("server.hosts"), "{said}");
}

#[test]
fn an_unknown_key_names_the_one_that_was_meant() {
    for (line, meant) in [
        ("listne = \"x\"", "listen"),
        ("admin_listener = \"x\"", "admin_listen"),
        ("tls_certs = \"x\"", "tls_cert"),
        ("cooling-off = \"x\"", "cooling_off"),
        ("max_conections = 9", "max_connections"),
        ("trusted_proxy = []", "trusted_proxies"),
    ] {
        let said = refused(&format!("[server]\n{line}\n"));
        assert!(said.contains("CONFIG_UNKNOWN_KEY"), "{said}");
        assert!(said.contains(&format!("did you mean {meant}?")), "{line}: {said}");
        assert!(said.contains("allowed: "), "{said}");
    }
    let said = refused("[server]\ncolour = \"red\"\n");
    assert!(said.contains("unknown key; allowed: ") && !said.contains("did you mean"), "{said}");
    // A secret in the wrong line is not repeated.
    let said = refused("[server]\nadmin_token = \"hunter2hunter2\"\n");
    assert!(!said.contains("hunter2"), "{said}");
    let said = refused("[srever]\nlisten = \"x\"\n");
    assert!(said.contains("did you mean server?"), "{said}");
}

#[test]
fn durations_and_networks() {
    for (text, expect) in [
        ("0s", Some(0)),
        ("90s", Some(90)),
        ("30m", Some(1_800)),
        ("24h", Some(86_400)),
        ("7d", Some(604_800)),
        ("", None),
        ("s", None),
        ("7", None),
        ("+7s", None),
        ("1.5h", None),
        ("7\u{e9}", None),
        ("99999999999999999999d", None),
        ("9999999999999999999d", None),
    ] {
        assert_eq!(seconds(text), expect, "{text}");
    }
    for (network, address, holds) in [
        ("192.0.2.0/24", "192.0.2.255", true),
        ("192.0.2.0/24", "192.0.3.0", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false),
        ("192.0.2.0/24", "::ffff:192.0.2.9", true),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::/8", "10.0.0.1", false),
    ] {
        let network = Network::parse(network).unwrap();
        assert_eq!(network.holds(address.parse().unwrap()), holds, "{network:?} {address}");
    }
}
