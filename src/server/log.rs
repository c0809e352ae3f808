//! Log lines of the service: JSON on standard error, or plain text on a terminal. A line is made
//! of a closed set of fields, each of a type that cannot hold what a client wrote: ids as bytes,
//! routes from the table of the router, methods and codes from the program. There is no way to log
//! a path, a query, a header or a body, and lines of other people's code are not written at all.

use crate::base::id::hex;
use crate::server::metrics::{UNMATCHED, method_label};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

/// Target of every line; what bears another is dropped.
pub const TARGET: &str = "chancery";

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal, without colour.
    Plain,
}

/// Random name of one request; the problem document and the answer's header bear it too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// Who asked: the kind of principal and the random name of its document, never a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Who {
    /// `human`, `token`, `certificate`.
    pub kind: &'static str,
    /// The document's name.
    pub id: [u8; 16],
}

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its name.
    pub request: RequestId,
    /// Template of the route, as the router has it; none: no route matched.
    pub route: Option<&'a str>,
    /// Method; one that nobody knows is `OTHER`.
    pub method: &'a str,
    /// Status.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
    /// Who asked, once that is known.
    pub who: Option<Who>,
    /// Code of the problem, if it was answered with one.
    pub code: Option<&'static str>,
}

/// Writes lines. It knows the routes: another text in their place is not written.
#[derive(Clone, Debug)]
pub struct Log {
    routes: Arc<BTreeSet<String>>,
}

impl Log {
    /// A log for a router with these templates.
    pub fn new(routes: impl IntoIterator<Item = impl Into<String>>) -> Log {
        Log { routes: Arc::new(routes.into_iter().map(Into::into).collect()) }
    }

    /// The template if it is one.
    pub fn route<'a>(&self, route: Option<&'a str>) -> Option<&'a str> {
        route.filter(|route| self.routes.contains(*route))
    }

    /// A request was answered: an error of ours loudly, the rest for the record.
    pub fn answered(&self, line: &Answered<'_>) {
        let Answered { request, status, took, who, code, .. } = line;
        let (route, method) = (self.route(line.route).unwrap_or(UNMATCHED), line.method);
        let (request, method) = (request.to_string(), method_label(method));
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (kind, id) = who.map_or(("none", String::new()), |who| (who.kind, hex(&who.id)));
        let code = code.unwrap_or_default();
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET, $level, request, route, method, status, millis,
                    principal = kind, id, code, "answered"
                )
            };
        }
        match status {
            500.. => line!(Level::WARN),
            _ => line!(Level::INFO),
        }
    }

    /// Something happened to the service: `code` is a stable code, `count` a number that goes with
    /// it (entries, seconds, connections).
    pub fn said(&self, code: &'static str, count: u64) {
        tracing::info!(target: TARGET, code, count, "service");
    }

    /// As `said`, for what somebody should look at.
    pub fn warned(&self, code: &'static str, count: u64) {
        tracing::warn!(target: TARGET, code, count, "service");
    }

    /// Our own code panicked while it answered: where, never with what words.
    pub fn panicked(&self, request: RequestId, file: &'static str, line: u32) {
        let request = request.to_string();
        tracing::error!(target: TARGET, request, code = "PANIC", file, line, "service");
    }
}

/// What turns lines into text. Everything that is not ours is left out: other crates write paths
/// and headers into theirs.
pub fn subscriber<W>(style: Style, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let ours = FilterFn::new(|line| line.target() == TARGET && line.is_event());
    let ours = ours.with_max_level_hint(LevelFilter::INFO);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match style {
        Style::Json => {
            let json = layer.json().flatten_event(true).with_current_span(false);
            json.with_span_list(false).boxed()
        }
        Style::Plain => layer.boxed(),
    };
    Registry::default().with(layer.with_filter(ours))
}

/// Sends the lines of this process to standard error. A second call changes nothing.
pub fn install(style: Style) {
    let _ = tracing::subscriber::set_global_default(subscriber(style, Stderr));
}

/// Standard error; nobody there to read it is no failure.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'w self) -> Stderr {
        Stderr
    }
}
