//! Certificates of clients as an identity, over real TLS: one name under the tenant's own
//! authority lets its bearer in, and nothing that is nearly that does.

use crate::service::raw::Trusting;
use crate::support::service::{Service, json_of, post};
use chancery::base::unit::{NANOS_PER_DAY, NANOS_PER_SECOND};
use chancery::server::listen::Tls;
use chancery::server::tls::{Authority, server_config};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const AGENT: &str = "agent.clinic.example";
const SPIFFE: &str = "spiffe://clinic/agent";

/// An authority with its certificate in PEM.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { issuer: Issuer::new(params, key), pem }
}

/// What a client's certificate says.
struct Says {
    names: Vec<SanType>,
    common: Option<&'static str>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    /// First day and last day of November or December 2026.
    days: ((u8, u8), (u8, u8)),
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn named(names: Vec<SanType>) -> Says {
    let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Says { names, common: None, usages, days: ((11, 1), (12, 24)) }
}

/// A certificate with its key, in PEM.
fn leaf(ca: &Ca, says: &Says) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = says.names.clone();
    if let Some(name) = says.common {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.extended_key_usages = says.usages.clone();
    let ((month, day), (last_month, last_day)) = says.days;
    params.not_before = date_time_ymd(2026, month, day);
    params.not_after = date_time_ymd(2026, last_month, last_day);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca.issuer).unwrap();
    certificate.pem() + &key.serialize_pem()
}

struct Stage {
    service: Service,
    home: Ca,
    clinic: Ca,
    other: Ca,
    server: Ca,
    tls: Tls,
}

impl Stage {
    fn new() -> Stage {
        let service = Service::start();
        let (home, clinic, other) = (ca("home"), ca("clinic"), ca("other"));
        let server = ca("server");
        let tls = Tls::new(settings(&service, &server, &home, &clinic));
        Stage { service, home, clinic, other, server, tls }
    }

    /// Issues a token that is a certificate: status and code.
    fn certify(&self, san: &str) -> (u16, String) {
        let wish = json!({
            "name": "agent", "roles": ["readonly"], "kind": "certificate", "san": san,
            "expires": "2027-01-31T00:00:00Z"
        });
        let request = self.service.as_admin(post("/v1/tokens", &wish));
        let (status, _, body) = self.service.manage(request);
        let body = json_of(&body);
        assert!(body.get("token").is_none(), "{body}");
        (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Asks who a client is, with a certificate and perhaps more headers: status, code or name.
    fn ask(&self, pem: Option<String>, more: &str) -> Option<(u16, String)> {
        let more = more.to_owned();
        let ask = move |at| exchange(&mut connect(at, pem.as_deref()), "GET", &more);
        self.service.serving_tls(self.tls.clone(), ask)
    }
}

fn settings(
    service: &Service,
    server: &Ca,
    home: &Ca,
    clinic: &Ca,
) -> chancery::server::tls::Settings {
    let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let own = leaf(server, &Says { usages, ..named(vec![dns("localhost")]) });
    let authorities = [
        Authority { tenant: "main", pem: home.pem.as_bytes() },
        Authority { tenant: "clinic", pem: clinic.pem.as_bytes() },
    ];
    let (own, clock) = (own.as_bytes(), service.app.clock.clone());
    server_config(own, own, &authorities, clock).unwrap()
}

type Wire = StreamOwned<ClientConnection, TcpStream>;

/// A connection.
fn connect(at: SocketAddr, pem: Option<&str>) -> Wire {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The test's clock stands by hand and the client's does not.
    let verifier = Arc::new(Trusting(Arc::new(rustls::crypto::ring::default_provider())));
    let builder = ClientConfig::builder_with_provider(verifier.0.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap);
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.collect(), key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(tls, stream)
}

/// One request on a connection: status, and code or tenant and name. None when it was closed.
fn exchange(wire: &mut Wire, method: &str, more: &str) -> Option<(u16, String)> {
    let path = if method == "GET" { "/v1/session" } else { "/v1/subjects/lookup" };
    let text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    wire.write_all(text.as_bytes()).ok()?;
    wire.flush().ok()?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if wire.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    wire.read_exact(&mut body).unwrap();
    let body = json_of(&body);
    let said = match body["code"].as_str() {
        Some(code) => code.to_owned(),
        None => format!("{} {}", body["tenant"].as_str()?, body["name"].as_str()?),
    };
    Some((head[9..12].parse().unwrap(), said))
}

fn nobody() -> Option<(u16, String)> {
    Some((401, "UNAUTHENTICATED".to_owned()))
}

#[test]
fn one_name_under_the_tenants_own_authority_lets_in_and_nothing_near_it_does() {
    let stage = Stage::new();
    let known = || Some((200, "main agent".to_owned()));
    for san in [format!("dns:{AGENT}"), format!("uri:{SPIFFE}")] {
        assert_eq!(stage.certify(&san).0, 201, "{san}");
        assert_eq!(stage.certify(&san), (409, "TOKEN_SAN_TAKEN".to_owned()));
    }
    for wrong in [AGENT, "dns:*.clinic.example", "cn:agent", ""] {
        assert_eq!(stage.certify(wrong), (422, "TOKEN_SAN".to_owned()), "{wrong}");
    }
    let home = &stage.home;
    assert_eq!(stage.ask(Some(leaf(home, &named(vec![dns(AGENT)]))), ""), known());
    assert_eq!(stage.ask(Some(leaf(home, &named(vec![uri(SPIFFE)]))), ""), known());
    assert_eq!(stage.ask(None, ""), nobody());
    // The same name under the authority of another tenant.
    assert_eq!(stage.ask(Some(leaf(&stage.clinic, &named(vec![dns(AGENT)]))), ""), nobody());
    for (why, names) in [
        ("two names", vec![dns(AGENT), dns("other.clinic.example")]),
        ("two kinds", vec![dns(AGENT), uri(SPIFFE)]),
        ("twice", vec![dns(AGENT), dns(AGENT)]),
        ("a wildcard", vec![dns("*.clinic.example")]),
        ("upper case", vec![dns("Agent.clinic.example")]),
        ("longer", vec![dns("x.agent.clinic.example")]),
        ("another", vec![uri("spiffe://clinic/agent2")]),
        ("a name as a URI", vec![uri(&format!("dns:{AGENT}"))]),
        ("an address", vec![SanType::Rfc822Name(AGENT.try_into().unwrap())]),
        ("none", vec![]),
    ] {
        let says = Says { common: Some(AGENT), ..named(names) };
        assert_eq!(stage.ask(Some(leaf(home, &says)), ""), nobody(), "{why}");
    }
    // No usage at all is no usage for clients; another one fails the handshake.
    let says = Says { usages: Vec::new(), ..named(vec![dns(AGENT)]) };
    assert_eq!(stage.ask(Some(leaf(home, &says)), ""), nobody());
    let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = Says { usages, ..named(vec![dns(AGENT)]) };
    let over = Says { days: ((11, 1), (11, 20)), ..named(vec![dns(AGENT)]) };
    let early = Says { days: ((12, 1), (12, 20)), ..named(vec![dns(AGENT)]) };
    for (why, pem) in [
        ("for servers", leaf(home, &server)),
        ("over", leaf(home, &over)),
        ("not yet", leaf(home, &early)),
        ("nobody's authority", leaf(&stage.other, &named(vec![dns(AGENT)]))),
    ] {
        assert_eq!(stage.ask(Some(pem), ""), None, "{why}");
    }
    // What a stranger tried was counted, by reason.
    let rows = stage.service.app.gate.drain();
    let counted: u64 = rows.iter().filter(|(r, _)| r.code == "UNAUTHENTICATED").map(|r| *r.1).sum();
    assert_eq!(counted, 13, "{rows:?}");
}

#[test]
fn a_certificate_and_other_credentials_must_be_of_one_tenant() {
    let stage = Stage::new();
    let bearer = format!("authorization: Bearer {}\r\n", stage.service.token(&["readonly"], None));
    let cookie = format!("cookie: {}\r\n", stage.service.admin_cookie());
    let ours = || Some(leaf(&stage.home, &named(vec![dns("unknown.example")])));
    let theirs = || Some(leaf(&stage.clinic, &named(vec![dns(AGENT)])));
    for (credentials, who) in [(&bearer, "main a test"), (&cookie, "main dana")] {
        let known = Some((200, who.to_owned()));
        assert_eq!(stage.ask(None, credentials), known);
        assert_eq!(stage.ask(ours(), credentials), known);
        assert_eq!(stage.ask(theirs(), credentials), nobody());
    }
    // A certificate does not mend wrong credentials.
    assert_eq!(stage.certify(&format!("dns:{AGENT}")).0, 201);
    let good = || Some(leaf(&stage.home, &named(vec![dns(AGENT)])));
    assert_eq!(stage.ask(good(), "authorization: Bearer nonsense\r\n"), nobody());
    let ended = Some((401, "SESSION_ENDED".to_owned()));
    assert_eq!(stage.ask(good(), "cookie: __Host-chancery=0000\r\n"), ended);
}

/// A browser shows a certificate to whichever page asks.
#[test]
fn another_sites_page_cannot_use_a_certificate_and_no_machine_steps_up() {
    let stage = Stage::new();
    assert_eq!(stage.certify(&format!("dns:{AGENT}")).0, 201);
    let pem = leaf(&stage.home, &named(vec![dns(AGENT)]));
    let asked = stage.service.serving_tls(stage.tls.clone(), move |at| {
        let mut ask = |more: &str| {
            let more = format!("content-length: 0\r\n{more}");
            exchange(&mut connect(at, Some(&pem)), "POST", &more).unwrap()
        };
        ["origin: https://evil.example\r\n", "sec-fetch-site: cross-site\r\n", ""].map(&mut ask)
    });
    let crossed = (403, "CROSS_SITE".to_owned());
    let forbidden = (403, "FORBIDDEN".to_owned());
    assert_eq!(asked, [crossed.clone(), crossed, forbidden]);
}

/// The handshake looks at the time once; a connection may go on for days.
#[test]
fn a_certificate_that_ends_and_a_name_taken_back_end_open_connections() {
    let stage = Stage::new();
    assert_eq!(stage.certify(&format!("dns:{AGENT}")).0, 201);
    let says = Says { days: ((11, 1), (11, 23)), ..named(vec![dns(AGENT)]) };
    let pem = leaf(&stage.home, &says);
    let lasting = leaf(&stage.home, &named(vec![dns(AGENT)]));
    let clock = stage.service.clock.clone();
    let (app, tls) = (stage.service.app.clone(), stage.tls.clone());
    let (server, home, clinic) = (&stage.server, &stage.home, &ca("new clinic"));
    let next = settings(&stage.service, server, home, clinic);
    let asked = stage.service.serving_tls(stage.tls.clone(), move |at| {
        let mut wire = connect(at, Some(&pem));
        let mut other = connect(at, Some(&lasting));
        let mut asked = vec![exchange(&mut wire, "GET", "")];
        asked.push(exchange(&mut other, "GET", ""));
        // Other settings count from the next connection on.
        let before = other.conn.peer_certificates().unwrap()[0].clone().into_owned();
        tls.replace(next);
        let mut newer = connect(at, Some(&lasting));
        asked.push(exchange(&mut newer, "GET", ""));
        assert_ne!(newer.conn.peer_certificates().unwrap()[0], before);
        clock.pass(2 * NANOS_PER_DAY);
        asked.push(exchange(&mut wire, "GET", ""));
        asked.push(exchange(&mut other, "GET", ""));
        let token = app.directory.tokens("main")[0].clone();
        let now = app.system().clock().now();
        let known = app.directory.authenticate_certificate("main", &token.san.unwrap(), now);
        assert!(known.is_ok());
        clock.pass(32 * NANOS_PER_DAY + NANOS_PER_SECOND);
        asked.push(exchange(&mut other, "GET", ""));
        asked
    });
    let known = || Some((200, "main agent".to_owned()));
    assert_eq!(asked, [known(), known(), known(), nobody(), known(), nobody()]);
}
