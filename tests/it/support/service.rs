//! A whole service without a socket: two vaults on a simulated disk, the routers over them, one
//! person who is admin, privacy officer and approver of tenant `main` and logged in, and tokens on
//! demand. Requests go through every layer but the listener's.

use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, world};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use chancery::base::unit::NANOS_PER_SECOND;
use chancery::policy::order::rule::{Rule, RuleMode};
use chancery::server::app::{App, SYSTEM, Settings};
use chancery::server::body::BODY_BYTES_MAX;
use chancery::server::identity::token::Env;
use chancery::server::identity::totp::{SharedSecret, Step};
use chancery::server::listen::{Bounds, Listening, Tls};
use chancery::server::orders::rules;
use chancery::server::router::{admin_router, public_router};
use chancery::vault::Vault;
use chancery::vault::config::Config;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

const PASSWORD: &str = "quellmalz-und-kupfer-1871";
const LOGIN: &str = "dana";

/// Status, headers, body.
pub(crate) type Answer = (StatusCode, HeaderMap, Vec<u8>);

/// The service.
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<HandClock>,
    /// The disk under both vaults.
    pub(crate) disk: SimDisk,
    runtime: tokio::runtime::Runtime,
    public: Router,
    admin: Router,
    secret: SharedSecret,
    cookie: Mutex<String>,
}

impl Service {
    /// Starts it, with the first person enrolled and logged in, under the rule of one operator.
    pub(crate) fn start() -> Service {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let system = vault(&disk, &clock, SYSTEM, 1, true);
        for tenant in [SYSTEM, "main"] {
            let mode = RuleMode::SingleOperator;
            let rule = Rule { mode, cooling_off_seconds: 0, ..Rule::default() };
            rules::begin(&system, tenant, rule).unwrap();
        }
        let main = vault(&disk, &clock, "main", 2, true);
        let app = app_over(&disk, &clock, 3, system, main);
        let (token, _) = app.directory.bootstrap(&app.hands(0)).unwrap().unwrap();
        let service = Service::over(disk, clock, app, SharedSecret::new([0; 20]));
        let secret = service.enrol(token.expose());
        let service = Service { secret, ..service };
        service.login();
        service
    }

    /// The service after it was closed and opened again on what is on the disk; the person is
    /// logged in anew.
    pub(crate) fn again(self) -> Service {
        let Service { app, clock, disk, secret, runtime, public, admin, .. } = self;
        drop((public, admin, runtime));
        let closed: Vec<Arc<Vault>> = app.tenants().map(|(_, vault)| vault.clone()).collect();
        drop(app);
        drop(closed);
        let service = Service::found(disk, clock, secret);
        service.login();
        service
    }

    /// Another service, over what a crash left of this one's disk; nobody is logged in.
    pub(crate) fn after(&self, disk: SimDisk) -> Service {
        Service::found(disk, self.clock.fork(), SharedSecret::new([0; 20]))
    }

    fn found(disk: SimDisk, clock: Arc<HandClock>, secret: SharedSecret) -> Service {
        let system = vault(&disk, &clock, SYSTEM, 11, false);
        let main = vault(&disk, &clock, "main", 12, false);
        let app = app_over(&disk, &clock, 13, system, main);
        Service::over(disk, clock, app, secret)
    }

    fn over(disk: SimDisk, clock: Arc<HandClock>, app: Arc<App>, secret: SharedSecret) -> Service {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (public, admin) = (public_router(app.clone()), admin_router(app.clone()));
        let cookie = Mutex::default();
        Service { app, clock, disk, runtime, public, admin, secret, cookie }
    }

    fn enrol(&self, token: &str) -> SharedSecret {
        let wish = json!({"token": token, "login": LOGIN, "name": "Dana", "password": PASSWORD});
        let (status, _, body) = self.manage(post("/v1/enrolment", &wish));
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        let shown: Value = serde_json::from_slice(&body).unwrap();
        let secret = SharedSecret::new(unbase32(shown["secret"].as_str().unwrap()));
        let wish = json!({"token": token, "code": self.code_of(&secret)});
        let (status, _, body) = self.manage(post("/v1/enrolment/confirm", &wish));
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        secret
    }

    fn code_of(&self, secret: &SharedSecret) -> String {
        secret.code(Step::at(self.app.system().clock().now())).unwrap()
    }

    /// What the first person logs in with two minutes later: a code counts once.
    pub(crate) fn credentials(&self) -> Value {
        self.clock.pass(120 * NANOS_PER_SECOND);
        json!({"login": LOGIN, "password": PASSWORD, "code": self.code_of(&self.secret)})
    }

    /// Logs in again, two minutes later, since sessions end.
    pub(crate) fn login(&self) {
        let wish = self.credentials();
        let (status, headers, body) = self.manage(post("/v1/session", &wish));
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        let cookie = headers[header::SET_COOKIE].to_str().unwrap();
        *self.cookie.lock().unwrap() = cookie.split(';').next().unwrap().to_owned();
    }

    /// The first person's cookie, as a request sends it. The code behind it is five minutes good.
    pub(crate) fn admin_cookie(&self) -> String {
        self.cookie.lock().unwrap().clone()
    }

    /// A fresh API token of tenant `main`; none = all sources.
    pub(crate) fn token(&self, roles: &[&str], sources: Option<&[&str]>) -> String {
        self.issue(roles, sources, "api")
    }

    /// A fresh GUID for one source of tenant `main`.
    pub(crate) fn guid(&self, source: &str) -> String {
        self.issue(&["ingest"], Some(&[source]), "hec")
    }

    fn issue(&self, roles: &[&str], sources: Option<&[&str]>, kind: &str) -> String {
        let mut wish = json!({"name": "a test", "roles": roles, "kind": kind});
        if let Some(sources) = sources {
            wish["sources"] = json!(sources);
        }
        if roles != ["ingest"] {
            wish["expires"] = json!("2027-01-31T00:00:00Z");
        }
        let request = self.as_admin(post("/v1/tokens", &wish));
        let (status, _, body) = self.manage(request);
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));
        let issued: Value = serde_json::from_slice(&body).unwrap();
        issued["token"].as_str().unwrap().to_owned()
    }

    /// The request with the first person's cookie.
    pub(crate) fn as_admin(&self, mut request: Request<Body>) -> Request<Body> {
        let cookie = HeaderValue::from_str(&self.admin_cookie()).unwrap();
        request.headers_mut().insert(header::COOKIE, cookie);
        request
    }

    /// Sends a request to the public listener.
    pub(crate) fn call(&self, request: Request<Body>) -> Answer {
        self.send(&self.public, request)
    }

    /// Sends a request to the administration's listener.
    pub(crate) fn manage(&self, request: Request<Body>) -> Answer {
        self.send(&self.admin, request)
    }

    fn send(&self, router: &Router, mut request: Request<Body>) -> Answer {
        let host = HeaderValue::from_static("localhost");
        request.headers_mut().entry(header::HOST).or_insert(host);
        self.runtime.block_on(async {
            let response = router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            (parts.status, parts.headers, bytes.to_vec())
        })
    }

    /// Serves the public listener on a port of loopback while something runs beside it.
    pub(crate) fn serving<T: Send + 'static>(
        &self,
        run: impl FnOnce(SocketAddr) -> T + Send + 'static,
    ) -> T {
        self.serving_within(Bounds::default(), run)
    }

    /// As `serving`, with other bounds; 127.7.7.7 is a proxy.
    pub(crate) fn serving_within<T: Send + 'static>(
        &self,
        bounds: Bounds,
        run: impl FnOnce(SocketAddr) -> T + Send + 'static,
    ) -> T {
        self.runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let listening = Listening::bind(any, None, self.public.clone(), bounds).await.unwrap();
            let proxy = std::net::IpAddr::from([127, 7, 7, 7]);
            let listening = listening.trusting(Arc::new(move |at| at == proxy));
            let address = listening.address().unwrap();
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let served = tokio::spawn(listening.run(stopped));
            let done = tokio::task::spawn_blocking(move || run(address)).await.unwrap();
            stop.send(true).unwrap();
            served.await.unwrap();
            done
        })
    }

    /// Serves the administration's listener over TLS while something runs beside it.
    pub(crate) fn serving_tls<T: Send + 'static>(
        &self,
        tls: Tls,
        run: impl FnOnce(SocketAddr) -> T + Send + 'static,
    ) -> T {
        self.runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let (router, bounds) = (self.admin.clone(), Bounds::default());
            let listening = Listening::bind(any, Some(tls), router, bounds).await.unwrap();
            let address = listening.address().unwrap();
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let served = tokio::spawn(listening.run(stopped));
            let done = tokio::task::spawn_blocking(move || run(address)).await.unwrap();
            stop.send(true).unwrap();
            served.await.unwrap();
            done
        })
    }

    /// The vault of tenant `main`.
    pub(crate) fn main(&self) -> Arc<Vault> {
        self.app.tenant("main").unwrap()
    }
}

fn vault(disk: &SimDisk, clock: &Arc<HandClock>, name: &str, seed: u64, fresh: bool) -> Arc<Vault> {
    let policies = chancery::policy::default_files();
    let config = Config { accept_time: true, policies, ..config(&Path::new("/sim").join(name)) };
    let world = world(Arc::new(disk.clone()), clock, seed);
    let vault = match fresh {
        true => Vault::init(world, &config, &format!("{name}.example")),
        false => Vault::open(world, &config),
    };
    Arc::new(vault.unwrap())
}

fn app_over(
    disk: &SimDisk,
    clock: &Arc<HandClock>,
    seed: u64,
    system: Arc<Vault>,
    main: Arc<Vault>,
) -> Arc<App> {
    let world = world(Arc::new(disk.clone()), clock, seed);
    let settings = Settings {
        hosts: vec!["localhost".to_owned()],
        origins: Vec::new(),
        trusted: Arc::new(|_| false),
        body_bytes_max: BODY_BYTES_MAX,
        free: Arc::new(Vec::new),
        reserves: Arc::new(Vec::new),
        metrics_by_tenant: false,
        env: Env::Dev,
    };
    let tenants = [("main", &main), (SYSTEM, &system)];
    let tenants = tenants.map(|(name, vault)| (name.to_owned(), vault.clone())).into();
    Arc::new(App::new(tenants, system, &world, settings).unwrap())
}

/// A JSON request.
pub(crate) fn request(method: Method, path: &str, body: &Value) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let builder = builder.header(header::CONTENT_TYPE, "application/json");
    builder.body(Body::from(body.to_string())).unwrap()
}

/// A JSON POST.
pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    request(Method::POST, path, body)
}

/// A GET.
pub(crate) fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

/// A request with a bearer token.
pub(crate) fn with_token(mut request: Request<Body>, token: &str) -> Request<Body> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, value);
    request
}

/// An answer's body as JSON.
pub(crate) fn json_of(body: &[u8]) -> Value {
    let text = || String::from_utf8_lossy(body).into_owned();
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", text()))
}

/// RFC 4648 base 32 without padding: 32 letters are 20 bytes.
fn unbase32(text: &str) -> [u8; 20] {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = letters.iter().position(|known| *known == letter).expect("a letter");
        held = held << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    bytes.try_into().expect("20 bytes")
}
