//! The network half of the client: `POST /v1/events` of a vault elsewhere, and what was answered.
//! It never judges, never retries, never follows a redirect, and sends the token to the address it
//! was given and nowhere else. Certificates are verified always; plain HTTP stays on this machine.

use crate::client::spool::is_source;
use crate::client::{Receiver, Reply};
use crate::forward::http::{BadAddress, Plain, agent, check_address};
use std::time::Duration;
use zeroize::Zeroizing;

/// For a whole exchange: the vault syncs within milliseconds, a slow line takes its time for 4 MiB.
pub const SECONDS: u64 = 60;
/// Longest answer: 10,000 receipts of 250 bytes, with room.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Characters of a token.
const TOKEN_CHARS_MAX: usize = 512;

/// A vault behind an address.
pub struct HttpVault {
    agent: ureq::Agent,
    url: String,
    authorization: Zeroizing<String>,
}

impl HttpVault {
    /// The vault at `base` (`https://vault.example:8843`), for events of `source`.
    ///
    /// # Errors
    /// An address, a source or a token that no request can hold.
    pub fn new(
        base: &str,
        source: &str,
        token: &str,
        roots: &[Vec<u8>],
        patience: Duration,
    ) -> Result<HttpVault, BadAddress> {
        check_address(base, Plain::Loopback)?;
        if !is_source(source) {
            let why = "a source is 1 to 128 letters, digits, `.`, `_`, `-`, `/`";
            return Err(BadAddress(why));
        }
        let token = token.trim_matches([' ', '\t', '\r', '\n']);
        let good = (1..=TOKEN_CHARS_MAX).contains(&token.len());
        if !good || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadAddress("a token is 1 to 512 visible ASCII characters"));
        }
        let source = source.replace('/', "%2F");
        let url = format!("{}/v1/events?source={source}&partial=true", base.trim_end_matches('/'));
        let authorization = Zeroizing::new(format!("Bearer {token}"));
        Ok(HttpVault { agent: agent(roots, patience), url, authorization })
    }
}

impl Receiver for HttpVault {
    fn post(&self, ndjson: &[u8]) -> Result<Reply, String> {
        let request = self.agent.post(&self.url).content_type("application/x-ndjson");
        let request = request.header("accept", "application/json, application/problem+json");
        let request = request.header("authorization", self.authorization.as_str());
        let mut response = request.send(ndjson).map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_vec().map_err(|e| e.to_string())?;
        Ok(Reply { status, retry_after, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_request_can_hold_is_taken() {
        let make = |base: &str, source: &str, token: &str| {
            HttpVault::new(base, source, token, &[], Duration::from_secs(1)).map(|vault| vault.url)
        };
        assert_eq!(
            make("http://127.0.0.1:1/", "aws/prod", " t\n"),
            Ok("http://127.0.0.1:1/v1/events?source=aws%2Fprod&partial=true".to_owned())
        );
        for (base, source, token) in [
            ("http://vault.example", "s", "t"),
            ("https://a@vault.example", "s", "t"),
            ("https://vault.example/?x", "s", "t"),
            ("https://vault.example", "", "t"),
            ("https://vault.example", "a&tenant=b", "t"),
            ("https://vault.example", "s", ""),
            ("https://vault.example", "s", "a\r\nx: y"),
            ("https://vault.example", "s", "a b"),
        ] {
            assert!(make(base, source, token).is_err(), "{base} {source} {token:?}");
        }
    }
}
