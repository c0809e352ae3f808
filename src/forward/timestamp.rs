//! The network half of a time-stamp client: one POST (RFC 3161 section 3.4). It never judges an
//! answer; the vault verifies it.

use crate::format::timestamp::{QUERY_TYPE, REPLY_TYPE, RESPONSE_BYTES_MAX};
use crate::forward::http::{BadAddress, NoAnswer, Peer, Plain};
use crate::vault::anchor::Authority;

/// An authority behind an address. Plain HTTP is allowed, as authorities use it: the question is a
/// hash, and the answer is signed.
pub struct HttpAuthority {
    peer: Peer,
}

impl HttpAuthority {
    /// The authority at this address.
    ///
    /// # Errors
    /// An address that is refused.
    pub fn new(url: &str, roots: &[Vec<u8>]) -> Result<HttpAuthority, BadAddress> {
        Ok(HttpAuthority { peer: Peer::new(url, Plain::Anywhere, roots)? })
    }
}

impl Authority for HttpAuthority {
    fn place(&self) -> &str {
        self.peer.url()
    }

    fn stamp(&self, query: &[u8]) -> Result<Vec<u8>, String> {
        let reply = self.peer.post(QUERY_TYPE, query, RESPONSE_BYTES_MAX as u64);
        let reply = reply.map_err(|NoAnswer(why)| why)?;
        match (reply.status, reply.content_type.as_str()) {
            (200, REPLY_TYPE) => Ok(reply.body),
            (200, _) => Err("its answer is no time-stamp reply".to_owned()),
            (status, _) => Err(format!("status {status}")),
        }
    }
}
