//! One running service with a home of its own, and a client that judges every answer: no 500, every
//! refusal a problem whose code `docs/errors.md` explains, every "not now" with its time.

use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use ureq::http::{HeaderMap, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Whether the page of codes has a row for this one.
fn is_explained(code: &str) -> bool {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(root.join("docs/errors.md")).unwrap()
    });
    PAGE.contains(&format!("| `{code}` |"))
}

/// Whose credentials a request has.
#[derive(Clone, Copy)]
pub(crate) enum As<'a> {
    Nobody,
    Token(&'a str),
    /// The pair of a session's cookie.
    Session(&'a str),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Code of a refusal, empty for anything else.
    pub(crate) fn code(&self) -> String {
        let is_problem = self.header("content-type") == "application/problem+json";
        if is_problem { self.json()["code"].as_str().unwrap().to_owned() } else { String::new() }
    }

    /// What holds of every answer, whatever was asked.
    pub(crate) fn judged(self, asked: &str) -> Reply {
        let text = String::from_utf8_lossy(&self.body);
        assert_ne!(self.status, 500, "{asked}: {text}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{asked}");
        assert_ne!(self.header("cache-control"), "", "{asked}");
        let request = self.header("x-request-id");
        assert_eq!(request.len(), 32, "{asked}: {request}");
        if [429, 503, 507].contains(&self.status) {
            let seconds: u32 = self.header("retry-after").parse().unwrap();
            assert!(seconds > 0, "{asked}");
        }
        let results = self.status == 422 && text.starts_with("{\"results\":");
        // The collector's refusals have Splunk's shape.
        let collector = asked.contains(" /services/collector");
        if self.status >= 400 && collector {
            let told = self.json();
            assert!(told["text"].is_string() && told["code"].is_u64(), "{asked}: {text}");
        } else if self.status >= 400 && !results {
            assert_eq!(self.header("content-type"), "application/problem+json", "{asked}: {text}");
            let problem = self.json();
            let code = problem["code"].as_str().unwrap();
            assert!(is_explained(code), "{asked}: {code} is not explained");
            let kind = format!("urn:chancery:problem:{}", code.to_lowercase().replace('_', "-"));
            assert_eq!(problem["type"], kind, "{asked}");
            assert_eq!(problem["status"], self.status, "{asked}");
            assert_eq!(problem["instance"], format!("urn:chancery:request:{request}"), "{asked}");
            assert!(!problem["title"].as_str().unwrap().is_empty(), "{asked}: {text}");
            assert!(!problem["detail"].as_str().unwrap().is_empty(), "{asked}: {text}");
            assert_eq!(self.header("cache-control"), "no-store", "{asked}");
            let challenged = !self.header("www-authenticate").is_empty();
            assert_eq!(challenged, self.status == 401, "{asked}: {text}");
        }
        self
    }
}

/// On ports that the system chooses.
const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

fn copy_below(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            std::fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
            copy_below(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// A directory in which the service, and the program beside it, run.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// A home on another file system.
    pub(crate) fn below(dir: &Path) -> Home {
        Home { dir: tempfile::tempdir_in(dir).unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with this home.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.current_dir(self.dir.path()).args(["--json", "--home", "h"]).args(args);
        for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Everything in it as it is now, in a home of its own. For when nothing runs in it.
    pub(crate) fn copy(&self) -> Home {
        let copy = Home { dir: tempfile::tempdir().unwrap() };
        copy_below(self.dir.path(), copy.dir.path());
        copy
    }

    /// The service in it, as a program that another one starts: its command line goes behind
    /// `before`. Standard output is piped.
    pub(crate) fn serve_under(&self, before: &[&str]) -> Child {
        let plain = self.command(&SERVE);
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(plain.get_program()).args(plain.get_args());
        for (name, _) in plain.get_envs() {
            command.env_remove(name);
        }
        let errors = OpenOptions::new().create(true).append(true).open(self.path("errors"));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(errors.unwrap()).spawn().unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the program and expects it to end well.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        let error = String::from_utf8_lossy(&ran.stderr);
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{args:?}: {text}{error}");
        text
    }

    /// Writes the trust policy of the vault's own keys; for when nothing has it open.
    pub(crate) fn trust(&self) {
        self.ok(&["keys", "trust", "--out", "trust.policy"]);
    }

    /// Starts the service in it.
    pub(crate) fn serve(self, more: &[&str]) -> Service {
        self.serve_at(SocketAddr::from(([127, 0, 0, 1], 0)), more)
    }

    /// As `serve`, with the public listener at an address.
    pub(crate) fn serve_at(self, public: SocketAddr, more: &[&str]) -> Service {
        self.serve_with(public, None, more)
    }

    fn serve_with(self, public: SocketAddr, files: Option<u32>, more: &[&str]) -> Service {
        let errors = OpenOptions::new().create(true).append(true).open(self.path("errors"));
        let public = public.to_string();
        let mut command =
            self.command(&["serve", "--listen", &public, "--admin-listen", "127.0.0.1:0"]);
        command.args(more);
        let mut command = files.map(|files| limited(&command, files)).unwrap_or(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.unwrap());
        let mut child = Running(command.spawn().unwrap());
        let mut out = BufReader::new(child.0.stdout.take().unwrap());
        let said = loop {
            let mut line = String::new();
            let read = out.read_line(&mut line).unwrap();
            assert!(read > 0, "{}", std::fs::read_to_string(self.path("errors")).unwrap());
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["listen"].is_string() {
                break value;
            }
        };
        let address = |name: &str| said[name].as_str().unwrap().parse().unwrap();
        let scheme = if said["scheme"] == "http" { "http" } else { "https" };
        let roots = match scheme {
            "http" => Vec::new(),
            _ => {
                let pem = std::fs::read(self.path("h/tls/ca.pem")).unwrap();
                chancery::forward::http::roots_of_pem(&pem).unwrap()
            }
        };
        Service {
            public: address("listen"),
            admin: address("admin_listen"),
            agent: agent(&roots),
            scheme,
            roots,
            child,
            out,
            home: self,
        }
    }
}

/// The same command, which may have so many files open and cannot raise that.
fn limited(command: &Command, files: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -n {files}; exec \"$@\"")).arg("sh");
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().unwrap());
    ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"].iter().for_each(|name| {
        shell.env_remove(name);
    });
    shell
}

fn agent(roots: &[Vec<u8>]) -> ureq::Agent {
    let roots: Vec<Certificate<'static>> =
        roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let provider = rustls::crypto::ring::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build();
    ureq::Agent::new_with_config(config)
}

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running service.
pub(crate) struct Service {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) roots: Vec<Vec<u8>>,
    scheme: &'static str,
    agent: ureq::Agent,
    // Ended before its home goes.
    child: Running,
    out: BufReader<ChildStdout>,
    home: Home,
}

impl Service {
    /// Starts one in a fresh home.
    pub(crate) fn start(more: &[&str]) -> Service {
        Home { dir: tempfile::tempdir().unwrap() }.serve(more)
    }

    /// As `start`, with settings below `[server]`, where the system lets the program have so many
    /// files open.
    pub(crate) fn start_set(settings: &str, files: Option<u32>, more: &[&str]) -> Service {
        let home = Home { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(home.path("h")).unwrap();
        std::fs::write(home.path("h/chancery.toml"), format!("[server]\n{settings}\n")).unwrap();
        home.serve_with(SocketAddr::from(([127, 0, 0, 1], 0)), files, more)
    }

    /// What the kernel counts of its memory, in MiB: `VmRSS` now, `VmHWM` at most since `forget`.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.0.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib: u64 = line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap();
        kib / 1_024
    }

    /// Begins to count the most memory anew.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.0.id()), "5").unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.home.path(path)).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.home.path(path)
    }

    /// Runs the program beside the service: what opens no vault.
    pub(crate) fn beside(&self, args: &[&str]) -> String {
        self.home.ok(args)
    }

    /// As `beside`, however it ends.
    pub(crate) fn run_beside(&self, args: &[&str]) -> Output {
        self.home.run(args)
    }

    /// Presses Ctrl-C, waits for the end, and checks what was said to the last.
    pub(crate) fn stop(mut self) -> Home {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let status = self.child.0.wait().unwrap();
        let errors = std::fs::read_to_string(self.home.path("errors")).unwrap();
        assert!(status.success(), "{status}: {rest}{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        self.home
    }

    /// Number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// As `send` to the administration, but no answer is no failure: then it was killed.
    pub(crate) fn try_post(&self, who: As<'_>, path: &str, body: &Value) -> Option<u16> {
        let request = self.agent.post(format!("https://{}{path}", self.admin));
        let request = match who {
            As::Nobody => request,
            As::Token(token) => request.header("authorization", format!("Bearer {token}")),
            As::Session(cookie) => request.header("cookie", cookie),
        };
        let request = request.content_type("application/json");
        let sent = request.send(body.to_string().as_bytes());
        sent.ok().map(|response| response.status().as_u16())
    }

    /// Kills it, as a power failure would.
    pub(crate) fn kill_now(&self) {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Waits for the end of what was killed, and gives its home back.
    pub(crate) fn kill(mut self) -> Home {
        self.kill_now();
        self.child.0.wait().unwrap();
        self.home
    }

    /// What sends batches to the public listener on connections of its own: receipts, or none when
    /// no answer came.
    pub(crate) fn sender(&self) -> impl Fn(&str, &str) -> Option<Vec<Value>> + Send + use<> {
        let url = format!("{}://{}/v1/events", self.scheme, self.public);
        let agent = self.agent.clone();
        move |token, lines| {
            let request = agent.post(format!("{url}?source=clinic"));
            let request = request.header("authorization", format!("Bearer {token}"));
            let sent = request.content_type("application/x-ndjson").send(lines.as_bytes());
            let mut response = sent.ok()?;
            let body = response.body_mut().read_to_vec().ok()?;
            let text = String::from_utf8_lossy(&body);
            assert_eq!(response.status(), 200, "{text}");
            let value: Value = serde_json::from_slice(&body).unwrap();
            Some(value["receipts"].as_array().unwrap().clone())
        }
    }

    /// What asks the administration's listener with a key, on connections of its own: the answer,
    /// or none when none came.
    pub(crate) fn asker(
        &self,
        path: &str,
    ) -> impl Fn(&str, &str, &[u8]) -> Option<Value> + Send + use<> {
        let (agent, url) = (self.agent.clone(), format!("https://{}{path}", self.admin));
        move |token, key, body| {
            let request = agent.post(&url).header("authorization", format!("Bearer {token}"));
            let request = request.header("idempotency-key", key);
            let mut response = request.content_type("application/json").send(body).ok()?;
            let body = response.body_mut().read_to_vec().ok()?;
            let text = String::from_utf8_lossy(&body);
            assert!(response.status().is_success(), "{}: {text}", response.status());
            Some(serde_json::from_slice(&body).unwrap())
        }
    }

    /// Sends a request as it is to one of the listeners.
    pub(crate) fn send(
        &self,
        at: SocketAddr,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Reply {
        let uri = format!("{}://{at}{path}", self.scheme);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => self.agent.run(request.body(body).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let asked = format!("{method} {path}");
        let mut response = sent.unwrap_or_else(|e| panic!("{asked}: {e}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
        Reply { status, headers, body }.judged(&asked)
    }

    /// Asks the administration's listener, which serves everything.
    pub(crate) fn ask(&self, who: As<'_>, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let bearer;
        let mut headers = Vec::new();
        match who {
            As::Nobody => {}
            As::Token(token) => {
                bearer = format!("Bearer {token}");
                headers.push(("authorization", bearer.as_str()));
            }
            As::Session(cookie) => headers.push(("cookie", cookie)),
        }
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = match (method, body) {
            ("GET" | "DELETE", None) => None,
            (_, body) => Some(body.map(|json| json.to_string().into_bytes()).unwrap_or_default()),
        };
        self.send(self.admin, (method, path), &headers, body)
    }

    /// Gets a JSON document that must be there.
    pub(crate) fn get(&self, who: As<'_>, path: &str) -> Value {
        let reply = self.ask(who, "GET", path, None);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// Posts what must be taken.
    pub(crate) fn post(&self, who: As<'_>, path: &str, body: &Value) -> Value {
        let reply = self.ask(who, "POST", path, Some(body));
        assert!((200..300).contains(&reply.status), "{path}: {}", reply.text());
        reply.json()
    }

    /// Asks for what must be refused: its status and code.
    pub(crate) fn refused(&self, who: As<'_>, path: &str, body: &Value) -> (u16, String) {
        let reply = self.ask(who, "POST", path, Some(body));
        (reply.status, reply.code())
    }
}

/// Whether a file is the owner's alone.
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777 == 0o600
}
