//! The first person of a fresh service enrols, logs in and issues a token that appends.

use crate::engine::served::wire::{Reach, Wire};
use anyhow::{Context, Result, anyhow, ensure};
use chancery::base::unit::UtcNanos;
use chancery::cli::world::world;
use chancery::server::identity::totp::{SharedSecret, Step};
use serde_json::{Value, json};
use std::path::Path;

/// Of a person who lives as long as a bench.
const PASSWORD: &str = "correct horse battery staple";

/// How long the token may live.
const TOKEN_NANOS: u64 = 86_400_000_000_000;

/// A token for every source.
pub(crate) async fn token(admin: &Reach, bootstrap: &Path) -> Result<String> {
    let bootstrap = std::fs::read_to_string(bootstrap).context("no bootstrap token")?;
    let bootstrap = bootstrap.trim();
    let mut wire = Wire::open(admin).await?;
    let wish = json!({"token": bootstrap, "login": "bench", "password": PASSWORD});
    let shown = ask(&mut wire, "/v1/enrolment", "", &wish).await?;
    let secret = SharedSecret::new(unbase32(text(&shown, "secret")?)?);
    let step = Step::at(world().clock.wall());
    let code = |step| secret.code(step).context("no code");
    let wish = json!({"token": bootstrap, "code": code(step)?});
    ask(&mut wire, "/v1/enrolment/confirm", "", &wish).await?;
    // Each code is good for one use; that of the next half minute is taken already.
    let wish = json!({"login": "bench", "password": PASSWORD, "code": code(Step(step.0 + 1))?});
    ask(&mut wire, "/v1/session", "", &wish).await?;
    let cookie = wire.header("set-cookie").context("no session")?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let until = UtcNanos(world().clock.wall().0 + TOKEN_NANOS).to_string();
    let wish = json!({"name": "bench", "roles": ["ingest"], "expires": until});
    let issued = ask(&mut wire, "/v1/tokens", &format!("cookie: {cookie}\r\n"), &wish).await?;
    Ok(text(&issued, "token")?.to_owned())
}

async fn ask(wire: &mut Wire, path: &str, more: &str, wish: &Value) -> Result<Value> {
    let body = wish.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{more}\r\n{body}",
        body.len()
    );
    let status = wire.ask(request.as_bytes()).await?;
    let told = String::from_utf8_lossy(wire.body()).into_owned();
    ensure!((200..300).contains(&status), "{path}: {status}: {told}");
    Ok(serde_json::from_str(&told)?)
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value.get(member).and_then(Value::as_str).ok_or_else(|| anyhow!("no {member}"))
}

/// RFC 4648 base 32, of 20 bytes.
fn unbase32(text: &str) -> Result<[u8; 20]> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return Err(anyhow!("no base 32")),
        };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes.try_into().map_err(|_| anyhow!("not 20 bytes"))
}
