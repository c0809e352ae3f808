//! `[server]`: where the service listens, with which certificates, for whom, and its limits. Pure:
//! no file is read, no name resolved, no socket opened. What could weaken the service (another
//! host, another listener, shorter cooling-off) is refused here where the file alone can tell; the
//! rule of two people lies in the log and no file changes it.

use crate::cli::config::error::{ConfigError, Place};
use crate::cli::config::raw::{Given, RawClient};
use crate::cli::config::{Environment, MAIN, Origin, Shown};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Most hosts, proxies: a list that nobody reads protects nobody.
const LIST_MAX: usize = 64;
/// Longest cooling-off: 30 days.
const COOLING_OFF_MAX: u64 = 30 * 86_400;

/// `[server]`, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawServer {
    /// Address of the public listener.
    pub listen: Given<String>,
    /// Address of the listener for administration and metrics.
    pub admin_listen: Given<String>,
    /// PEM file of the certificate chain.
    pub tls_cert: Given<String>,
    /// PEM file of its key.
    pub tls_key: Given<String>,
    /// PEM file of the authority that certificates of clients of tenant `main` lead to.
    pub client_ca: Given<String>,
    /// `[[server.client]]`: the same of other tenants.
    #[serde(default)]
    pub client: Vec<RawClient>,
    /// Names that a request's `Host` may bear.
    pub hosts: Given<Vec<String>>,
    /// Time between the last approval and the act, such as `24h`.
    pub cooling_off: Given<String>,
    /// Bytes of a request body, unpacked.
    pub max_body_bytes: Given<u64>,
    /// Connections at once.
    pub max_connections: Given<u64>,
    /// Seconds in which a head, then a body, must have come.
    pub read_seconds: Given<u64>,
    /// Seconds that a shutdown waits for open requests.
    pub drain_seconds: Given<u64>,
    /// Bytes kept on each file system for the vault's own acts.
    pub disk_reserve_bytes: Given<u64>,
    /// `production` or `dev`.
    pub profile: Given<String>,
    /// Addresses or networks of proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Given<Vec<String>>,
    /// `loopback` or `anywhere`.
    pub generated_certificate: Given<String>,
    /// Whether metrics bear the tenant's name.
    pub metrics_by_tenant: Given<bool>,
}

/// What `chancery serve` says on its command line: it beats environment and file.
#[derive(Clone, Debug, Default)]
pub struct ServerFlags {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `--cooling-off`, in seconds.
    pub cooling_off: Option<u64>,
    /// `--generated-certificate`.
    pub generated_anywhere: bool,
}

/// What the service is run for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// For real: tokens say `live`.
    Production,
    /// To try things: tokens say `dev`.
    Dev,
}

impl Profile {
    /// As the file says it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Production => "production",
            Profile::Dev => "dev",
        }
    }
}

/// Certificate and key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tls {
    /// Files of the administrator's.
    Files {
        /// PEM of the chain.
        cert: PathBuf,
        /// PEM of the key.
        key: PathBuf,
    },
    /// A certificate of a local authority that the first start makes.
    Generated,
}

/// A network of proxies: an address and how many of its bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Any address in it.
    pub address: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

impl Network {
    /// Reads `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Network { address, bits })
    }

    /// Whether an address lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let number = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 4),
            IpAddr::V6(v6) => (v6.to_bits(), 6),
        };
        let ((own, kind), (other, of)) = (number(self.address), number(address.to_canonical()));
        let apart = (own ^ other).checked_shr(128 - u32::from(self.bits)).unwrap_or(0);
        kind == of && apart == 0
    }
}

/// What holds for the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Public listener.
    pub listen: SocketAddr,
    /// Listener for administration and metrics.
    pub admin_listen: SocketAddr,
    /// Certificate.
    pub tls: Tls,
    /// Authorities of client certificates, by tenant.
    pub clients: BTreeMap<String, PathBuf>,
    /// Names that a `Host` may bear, without port, in lower case.
    pub hosts: Vec<String>,
    /// Seconds between the last approval and the act: what version 1 of the rule says.
    pub cooling_off: u64,
    /// Bytes of a request body, unpacked.
    pub max_body_bytes: u64,
    /// Connections at once.
    pub max_connections: u64,
    /// Seconds that a shutdown waits for open requests.
    pub drain_seconds: u64,
    /// Seconds in which a head, then a body, must have come.
    pub read_seconds: u64,
    /// Bytes kept on each file system for the vault's own acts: as a file, and free beside it.
    pub disk_reserve_bytes: u64,
    /// What it is run for.
    pub profile: Profile,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// Whether metrics bear the tenant's name.
    pub metrics_by_tenant: bool,
    /// Every value with its origin, in order of the file.
    pub shown: Vec<Shown>,
}

/// Looks a value up where it may stand, and notes who said it.
struct Look<'a> {
    place: &'a Place<'a>,
    env: Environment<'a>,
    shown: Vec<Shown>,
}

impl Look<'_> {
    fn note(&mut self, key: &'static str, value: String, origin: Origin) {
        self.shown.push(Shown { key, value, origin });
    }

    /// The text that counts: environment, file, default.
    fn text(&self, name: &str, given: &Given<String>, default: &str) -> (String, Origin) {
        match ((self.env)(name).filter(|value| !value.is_empty()), given) {
            (Some(value), _) => (value, Origin::Environment),
            (None, Some(value)) => (value.get_ref().clone(), Origin::File),
            (None, None) => (default.to_owned(), Origin::Default),
        }
    }

    /// Refuses: the line of the file is named when it is the file that said it.
    fn refuse<T>(
        &self,
        key: &'static str,
        given: &Given<T>,
        origin: Origin,
        allowed: &str,
    ) -> ConfigError {
        match origin {
            Origin::File => self.place.refuse(key, given, allowed),
            _ => self.place.refuse::<T>(key, &None, allowed),
        }
    }

    fn address(
        &mut self,
        (key, name): (&'static str, &str),
        (flag, given): (Option<SocketAddr>, &Given<String>),
        default: &str,
    ) -> Result<SocketAddr, ConfigError> {
        let (text, origin) = self.text(name, given, default);
        let (address, origin) = match flag {
            Some(flag) => (Some(flag), Origin::Flag),
            None => (text.parse().ok(), origin),
        };
        let allowed = "an address and a port, such as 127.0.0.1:8843 or [::1]:8843";
        let address = address.ok_or_else(|| self.refuse(key, given, origin, allowed))?;
        self.note(key, address.to_string(), origin);
        Ok(address)
    }

    fn number(
        &mut self,
        key: &'static str,
        given: &Given<u64>,
        default: u64,
        (low, high): (u64, u64),
    ) -> Result<u64, ConfigError> {
        let (value, origin) =
            given.as_ref().map_or((default, Origin::Default), |v| (*v.get_ref(), Origin::File));
        if !(low..=high).contains(&value) {
            return Err(self.place.refuse(key, given, &format!("{low} to {high}")));
        }
        self.note(key, value.to_string(), origin);
        Ok(value)
    }

    fn file(
        &mut self,
        (key, name): (&'static str, &str),
        given: &Given<String>,
        home: &Path,
    ) -> (Option<PathBuf>, Origin) {
        let (text, origin) = self.text(name, given, "");
        let path = (!text.is_empty()).then(|| home.join(text));
        let value = path.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
        self.note(key, value, origin);
        (path, origin)
    }
}

/// Checks `[server]` together with flags and environment.
///
/// # Errors
/// `CONFIG_VALUE` with the key and what is allowed.
pub fn check(
    place: &Place<'_>,
    raw: &RawServer,
    home: &Path,
    flags: &ServerFlags,
    env: Environment<'_>,
) -> Result<Server, ConfigError> {
    let mut look = Look { place, env, shown: Vec::new() };
    // The ports have no other meaning; loopback, because nobody else is asked in by default.
    let keys = ("server.listen", "CHANCERY_LISTEN");
    let listen = look.address(keys, (flags.listen, &raw.listen), "127.0.0.1:8843")?;
    let keys = ("server.admin_listen", "CHANCERY_ADMIN_LISTEN");
    let given = (flags.admin_listen, &raw.admin_listen);
    let admin_listen = look.address(keys, given, "127.0.0.1:8844")?;
    if listen == admin_listen && listen.port() != 0 {
        let allowed = "another address or port than server.listen: administration stays apart";
        return Err(place.refuse("server.admin_listen", &raw.admin_listen, allowed));
    }
    let tls = tls(&mut look, raw, home, flags, &[listen, admin_listen])?;
    let keys = ("server.client_ca", "CHANCERY_CLIENT_CA");
    let client_ca = look.file(keys, &raw.client_ca, home).0;
    let clients = clients(&mut look, &raw.client, client_ca, home)?;
    let hosts = hosts(&mut look, raw, listen)?;
    let cooling_off = cooling_off(&mut look, raw, flags)?;
    // 16 MiB: a batch of 10,000 events of 1.6 KB. The rest of a bomb is never unpacked.
    let given = &raw.max_body_bytes;
    let range = (64 << 10, 64 << 20);
    let max_body_bytes = look.number("server.max_body_bytes", given, 16 << 20, range)?;
    // A connection holds some 100 KiB of buffers while it sends: 1,024 are 100 MiB.
    let given = &raw.max_connections;
    let max_connections = look.number("server.max_connections", given, 1_024, (8, 65_536))?;
    let read_seconds = look.number("server.read_seconds", &raw.read_seconds, 30, (1, 300))?;
    // Less than the 30 s that the unit of systemd grants.
    let drain_seconds = look.number("server.drain_seconds", &raw.drain_seconds, 10, (1, 300))?;
    // Beside each other: an erasure of 64 handles (64 x 4 nodes of 4 KiB, twice: 2 MiB; its tags,
    // 64 bytes a record of 100,000: 6 MiB), an expiry of 365 class-days (20 KiB of nodes and 200
    // bytes of entries each: 8 MiB), 100 documents of at most 256 KiB (25 MiB), and a batch that
    // was let in before the disk filled (16 MiB): 57 MiB, rounded up.
    let given = &raw.disk_reserve_bytes;
    let range = (4 << 20, 16 << 30);
    let disk_reserve_bytes = look.number("server.disk_reserve_bytes", given, 64 << 20, range)?;
    let profile = profile(&mut look, raw)?;
    let trusted_proxies = proxies(&mut look, raw)?;
    let by = &raw.metrics_by_tenant;
    let metrics_by_tenant = by.as_ref().is_some_and(|by| *by.get_ref());
    let origin = if by.is_some() { Origin::File } else { Origin::Default };
    look.note("server.metrics_by_tenant", metrics_by_tenant.to_string(), origin);
    Ok(Server {
        listen,
        admin_listen,
        tls,
        clients,
        hosts,
        cooling_off,
        max_body_bytes,
        max_connections,
        drain_seconds,
        read_seconds,
        disk_reserve_bytes,
        profile,
        trusted_proxies,
        metrics_by_tenant,
        shown: look.shown,
    })
}

/// Certificate and key, or one that the first start makes. Nobody outside this machine can know
/// that one beforehand, so beyond loopback somebody must want it.
fn tls(
    look: &mut Look<'_>,
    raw: &RawServer,
    home: &Path,
    flags: &ServerFlags,
    listeners: &[SocketAddr],
) -> Result<Tls, ConfigError> {
    let (cert, from) = look.file(("server.tls_cert", "CHANCERY_TLS_CERT"), &raw.tls_cert, home);
    let (key, of) = look.file(("server.tls_key", "CHANCERY_TLS_KEY"), &raw.tls_key, home);
    let given = &raw.generated_certificate;
    let anywhere = match given.as_ref().map(|given| given.get_ref().as_str()) {
        None | Some("loopback") => flags.generated_anywhere,
        Some("anywhere") => true,
        Some(_) => {
            let allowed = "loopback or anywhere";
            return Err(look.place.refuse("server.generated_certificate", given, allowed));
        }
    };
    let origin = match (flags.generated_anywhere, given) {
        (true, _) => Origin::Flag,
        (false, Some(_)) => Origin::File,
        (false, None) => Origin::Default,
    };
    let value = if anywhere { "anywhere" } else { "loopback" };
    look.note("server.generated_certificate", value.to_owned(), origin);
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Tls::Files { cert, key }),
        (Some(_), None) => {
            let allowed = "together with server.tls_key";
            Err(look.refuse("server.tls_cert", &raw.tls_cert, from, allowed))
        }
        (None, Some(_)) => {
            let allowed = "together with server.tls_cert";
            Err(look.refuse("server.tls_key", &raw.tls_key, of, allowed))
        }
        (None, None) if anywhere || listeners.iter().all(|l| l.ip().is_loopback()) => {
            Ok(Tls::Generated)
        }
        (None, None) => {
            let allowed = "a certificate, since a listener is not on loopback: set server.tls_cert \
                           and server.tls_key; or generated_certificate = \"anywhere\" (flag \
                           --generated-certificate), and hand its authority to clients";
            Err(look.place.refuse("server.tls_cert", &raw.tls_cert, allowed))
        }
    }
}

/// The authorities of client certificates, one file a tenant: a certificate counts on the tenants
/// whose authority it leads to, and nowhere else.
fn clients(
    look: &mut Look<'_>,
    raw: &[RawClient],
    main: Option<PathBuf>,
    home: &Path,
) -> Result<BTreeMap<String, PathBuf>, ConfigError> {
    let mut clients: BTreeMap<String, PathBuf> =
        main.into_iter().map(|ca| (MAIN.to_owned(), ca)).collect();
    for RawClient { tenant, ca } in raw {
        let name = tenant.as_ref().map_or("", |tenant| tenant.get_ref());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = (1..=32).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(plain);
        if !is_name || clients.contains_key(name) || clients.len() >= LIST_MAX {
            let allowed = "the name of a tenant, each once, 64 at most; server.client_ca is that \
                           of main";
            return Err(look.place.refuse("server.client.tenant", tenant, allowed));
        }
        let Some(file) = ca.as_ref().filter(|file| !file.get_ref().is_empty()) else {
            let allowed = "the PEM file of the authority";
            return Err(look.place.refuse("server.client.ca", ca, allowed));
        };
        let path = home.join(file.get_ref());
        look.note("server.client", format!("{name} {}", path.display()), Origin::File);
        clients.insert(name.to_owned(), path);
    }
    Ok(clients)
}

/// Names a `Host` may bear. Loopback's own are known; a listener that others reach needs its own.
fn hosts(
    look: &mut Look<'_>,
    raw: &RawServer,
    listen: SocketAddr,
) -> Result<Vec<String>, ConfigError> {
    let key = "server.hosts";
    let from_env = (look.env)("CHANCERY_HOSTS").filter(|value| !value.is_empty());
    let (hosts, origin) = match (from_env, &raw.hosts) {
        (Some(list), _) => (list.split(',').map(str::to_owned).collect(), Origin::Environment),
        (None, Some(list)) => (list.get_ref().clone(), Origin::File),
        (None, None) if listen.ip().is_loopback() => {
            let own = ["localhost", "127.0.0.1", "[::1]"];
            (own.map(str::to_owned).to_vec(), Origin::Default)
        }
        (None, None) => (Vec::new(), Origin::Default),
    };
    if hosts.is_empty() || hosts.len() > LIST_MAX || !hosts.iter().all(|host| is_host(host)) {
        let allowed = "1 to 64 names as clients write them, without port, in lower case; needed \
                       when server.listen is not on loopback";
        return Err(look.refuse(key, &raw.hosts, origin, allowed));
    }
    look.note(key, hosts.join(" "), origin);
    Ok(hosts)
}

/// A name of a host, an address, or an address of version 6 in brackets.
fn is_host(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(v6) = v6 {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
        (1..=63).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn cooling_off(
    look: &mut Look<'_>,
    raw: &RawServer,
    flags: &ServerFlags,
) -> Result<u64, ConfigError> {
    let key = "server.cooling_off";
    let given = &raw.cooling_off;
    // A day: whoever was away when two others agreed can still object.
    let (text, origin) = look.text("CHANCERY_COOLING_OFF", given, "24h");
    let (seconds, origin) = match flags.cooling_off {
        Some(seconds) => (Some(seconds), Origin::Flag),
        None => (seconds(&text), origin),
    };
    match seconds.filter(|seconds| *seconds <= COOLING_OFF_MAX) {
        Some(seconds) => {
            look.note(key, format!("{seconds}s"), origin);
            Ok(seconds)
        }
        None => Err(look.refuse(key, given, origin, "0s to 30d, such as 90s, 30m, 24h, 7d")),
    }
}

/// A whole number of seconds with its unit: `90s`, `30m`, `24h`, `7d`.
pub fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse::<u64>().ok()?.checked_mul(unit))?
}

fn profile(look: &mut Look<'_>, raw: &RawServer) -> Result<Profile, ConfigError> {
    let (text, origin) = look.text("CHANCERY_PROFILE", &raw.profile, "production");
    let profile = match text.as_str() {
        "production" => Profile::Production,
        "dev" => Profile::Dev,
        _ => {
            let allowed = "production or dev";
            return Err(look.refuse("server.profile", &raw.profile, origin, allowed));
        }
    };
    look.note("server.profile", profile.name().to_owned(), origin);
    Ok(profile)
}

fn proxies(look: &mut Look<'_>, raw: &RawServer) -> Result<Vec<Network>, ConfigError> {
    let key = "server.trusted_proxies";
    let given = &raw.trusted_proxies;
    let list = given.as_ref().map(|list| list.get_ref().clone()).unwrap_or_default();
    let networks: Option<Vec<Network>> = list.iter().map(|text| Network::parse(text)).collect();
    // A network of everybody would let every client name its own address.
    let narrow = |all: &Vec<Network>| all.len() <= LIST_MAX && all.iter().all(|n| n.bits >= 8);
    let Some(networks) = networks.filter(narrow) else {
        let allowed = "at most 64 addresses or networks of at least 8 bits, such as 192.0.2.0/24";
        return Err(look.place.refuse(key, given, allowed));
    };
    let value = if list.is_empty() { "none".to_owned() } else { list.join(" ") };
    let origin = if given.is_some() { Origin::File } else { Origin::Default };
    look.note(key, value, origin);
    Ok(networks)
}
