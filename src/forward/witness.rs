//! The network half of a witness client: one POST, its status turned into what was said.
//! It never judges, never retries and never follows a redirect.

use crate::format::vkey::Verifier;
use crate::format::witness::{ADD_CHECKPOINT, ANSWER_BYTES_MAX, SIZE_TYPE, parse_size};
use crate::forward::http::{BadAddress, NoAnswer, Peer, Plain, Reply};
use crate::vault::witness::{Cosigner, KEY_UNKNOWN, Said};

/// A witness behind an address.
pub struct HttpWitness {
    key: Verifier,
    place: String,
    peer: Peer,
}

impl HttpWitness {
    /// The witness with this key at this submission prefix.
    ///
    /// # Errors
    /// An address that is refused.
    pub fn new(prefix: &str, key: Verifier, roots: &[Vec<u8>]) -> Result<HttpWitness, BadAddress> {
        let place = prefix.trim_end_matches('/').to_owned();
        let peer = Peer::new(&format!("{place}/{ADD_CHECKPOINT}"), Plain::Loopback, roots)?;
        Ok(HttpWitness { key, place, peer })
    }
}

impl Cosigner for HttpWitness {
    fn key(&self) -> &Verifier {
        &self.key
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn submit(&self, request: &str) -> Said {
        let limit = ANSWER_BYTES_MAX as u64;
        match self.peer.post("text/plain; charset=utf-8", request.as_bytes(), limit) {
            Ok(reply) => said(reply),
            Err(NoAnswer(why)) => Said::Unreachable(why),
        }
    }
}

/// What an answer says. A body is quoted only as far as it is a short plain line.
fn said(Reply { status, content_type, body }: Reply) -> Said {
    match status {
        200 => Said::Cosigned(body),
        409 if content_type == SIZE_TYPE => match parse_size(&body) {
            Some(size) => Said::Holds(size),
            None => Said::Refused("409 without a size".to_owned()),
        },
        422 => Said::Unproven,
        500.. => Said::Unreachable(format!("status {status}")),
        403 => Said::Refused(format!("403: {KEY_UNKNOWN}")),
        404 => Said::Refused("404: it does not watch this log".to_owned()),
        _ => Said::Refused(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::unit::TreeSize;

    #[test]
    fn a_size_needs_its_content_type() {
        let reply = |status, kind: &str, body: &str| {
            said(Reply { status, content_type: kind.into(), body: body.into() })
        };
        assert_eq!(reply(409, SIZE_TYPE, "7\n"), Said::Holds(TreeSize(7)));
        assert!(matches!(reply(409, "text/html", "7\n"), Said::Refused(_)));
        assert!(matches!(reply(409, SIZE_TYPE, "07\n"), Said::Refused(_)));
        assert_eq!(reply(422, "", ""), Said::Unproven);
        assert!(matches!(reply(302, "", ""), Said::Refused(_)));
        assert!(matches!(reply(503, "", ""), Said::Unreachable(_)));
    }
}
