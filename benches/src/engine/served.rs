//! Chancery as a service: the real program started on a directory of its own, and one thread of
//! clients that post prepared bodies over kept connections and read no more of an answer than its
//! status and length. What the clients cost is counted apart from what the service costs.

mod door;
mod wire;

use crate::cell::{Acks, Cell, Feed};
use crate::engine::Engine;
use crate::engine::served::wire::{Reach, Wire};
use anyhow::{Context, Result, ensure};
use chancery::forward::http::roots_of_pem;
use futures_util::future::join_all;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long a client waits that was told it is too much at once: a hundredth of what the service
/// asks for, since a turn is seconds.
const AGAIN: Duration = Duration::from_millis(10);

/// A running service with a token for it.
pub(crate) struct Served {
    child: Child,
    log: PathBuf,
    reach: Reach,
    token: String,
    runtime: Runtime,
}

impl Served {
    pub(crate) fn start(cell: &Cell, tls: bool) -> Result<Self> {
        let (home, log) = (cell.dir.join("h"), cell.dir.join("log"));
        let mut command = Command::new(&cell.program);
        command.args(["serve", "--json", "--single-operator", "--cooling-off", "0s"]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--home"]);
        command.arg(&home).args((!tls).then_some("--plain-http"));
        ["CHANCERY_HOME", "CHANCERY_TENANT"].iter().for_each(|name| {
            command.env_remove(name);
        });
        // Lines go where a service manager's would: to somebody who keeps them.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().with_context(|| cell.program.display().to_string())?;
        let mut out = BufReader::new(child.stdout.take().context("no output")?);
        let said: Value = loop {
            let mut line = String::new();
            let error = || std::fs::read_to_string(&log).unwrap_or_default();
            ensure!(out.read_line(&mut line)? > 0, "the service did not start: {}", error());
            let value: Value = serde_json::from_str(&line)?;
            if value.get("listen").is_some_and(Value::is_string) {
                break value;
            }
        };
        let address = |name: &str| -> Result<_> {
            Ok(said.get(name).and_then(Value::as_str).context("no address")?.parse()?)
        };
        let roots = match tls {
            true => roots_of_pem(&std::fs::read(home.join("tls/ca.pem"))?).map_err(told)?,
            false => Vec::new(),
        };
        let reach = Reach::new(address("listen")?, tls.then_some(roots.as_slice()))?;
        let admin = Reach::new(address("admin_listen")?, tls.then_some(roots.as_slice()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bootstrap = home.join("chancery-data/others/system/bootstrap.token");
        let token = runtime.block_on(door::token(&admin, &bootstrap))?;
        Ok(Served { child, log, reach, token, runtime })
    }

    /// What a client sends: head and body, in one piece.
    fn request(&self, source: &str, events: &[String], into: &mut Vec<u8>) {
        into.clear();
        let length: usize = events.iter().map(|event| event.len() + 1).sum();
        let kind = if events.len() == 1 { "application/json" } else { "application/x-ndjson" };
        let head = format!(
            "POST /v1/events?source={source} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             authorization: Bearer {}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n",
            self.token
        );
        into.extend_from_slice(head.as_bytes());
        for event in events {
            into.extend_from_slice(event.as_bytes());
            into.push(b'\n');
        }
    }

    async fn client(&self, mut feed: Feed<'_>) -> Result<Acks> {
        let mut wire = Wire::open(&self.reach).await?;
        let (mut acks, mut request) = (Acks::default(), Vec::new());
        while let Some((source, events)) = feed.next() {
            self.request(source, events, &mut request);
            let since = Instant::now();
            self.until_taken(&mut wire, &request, &mut acks).await?;
            acks.add(events.len(), since);
        }
        Ok(acks)
    }

    async fn until_taken(&self, wire: &mut Wire, request: &[u8], acks: &mut Acks) -> Result<()> {
        loop {
            match wire.ask(request).await? {
                200 => return Ok(()),
                503 => acks.refused += 1,
                status => anyhow::bail!("{status}: {}", String::from_utf8_lossy(wire.body())),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

impl Engine for Served {
    fn append(&self, source: &str, events: &[String]) -> Result<()> {
        let mut request = Vec::new();
        self.request(source, events, &mut request);
        self.runtime.block_on(async {
            let mut wire = Wire::open(&self.reach).await?;
            self.until_taken(&mut wire, &request, &mut Acks::default()).await
        })
    }

    fn crowd(&self, feeds: Vec<Feed<'_>>) -> Option<Result<Vec<Acks>>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let clients = feeds.into_iter().map(|feed| self.client(feed));
        let all = runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(join_all(clients)).into_iter().collect());
        Some(all)
    }

    fn process(&self) -> Option<u32> {
        Some(self.child.id())
    }
}

impl Drop for Served {
    /// As an operator ends it, so that it closes its vaults; what it logged is no part of them.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
