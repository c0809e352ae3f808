//! Bodies of requests: read up to a limit within a time, out of one budget for all callers, and
//! unpacked within the same limit. A bomb, a drip and a crowd are all refused in bounded memory.
//! It never looks into a body.

use crate::server::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of all bodies held at once: sixteen of the largest.
pub const BODIES_BYTES_MAX: usize = 256 << 20;
/// Bytes of one body, packed and unpacked.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of the body of a request that manages something: an order, a policy file.
pub const SMALL_BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of the body of somebody unknown: a login, an enrolment.
pub const STRANGER_BODY_BYTES_MAX: usize = 4 << 10;
/// Bytes of all bodies of strangers held at once, of a budget apart: they take none of what those
/// who are known send.
pub const STRANGERS_BYTES_MAX: usize = 4 << 20;
/// Seconds in which a body must have come, where nobody sets another time.
const BODY_SECONDS: u64 = 30;
/// Seconds in which that of somebody unknown must have come.
const STRANGER_BODY_SECONDS: u64 = 5;
/// Bytes one permit stands for.
const UNIT: usize = 4 << 10;
/// Largest window of zstd, as a power of two: 8 MiB, what its first 19 levels use.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What all bodies share.
#[derive(Clone)]
pub struct Budget {
    permits: Arc<Semaphore>,
    seconds: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget::of(BODIES_BYTES_MAX)
    }
}

/// A body with its part of the budget, given back when dropped.
pub struct Held {
    /// Its bytes, unpacked.
    pub bytes: Vec<u8>,
    budget: Budget,
    permits: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        Budget { permits: Arc::new(Semaphore::new(bytes / UNIT)), seconds: BODY_SECONDS }
    }

    /// With another time in which a body must have come.
    #[must_use]
    pub fn within(self, seconds: u64) -> Self {
        Budget { seconds, ..self }
    }

    fn hold(&self) -> Held {
        Held { bytes: Vec::new(), budget: self.clone(), permits: None }
    }
}

impl Held {
    /// Makes sure of room for so many bytes in all.
    fn grow(&mut self, len: usize) -> Result<(), Problem> {
        let units = len.div_ceil(UNIT);
        let has = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(units.saturating_sub(has)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let Ok(got) = self.budget.permits.clone().try_acquire_many_owned(more) else {
            let detail = "too many bytes are on their way in: try again in a second";
            return Err(Problem::busy("OVERLOADED", detail));
        };
        match &mut self.permits {
            Some(permits) => permits.merge(got),
            None => self.permits = Some(got),
        }
        Ok(())
    }
}

/// Reads a body of at most `most` bytes, packed or unpacked, as its headers say.
///
/// # Errors
/// 413 `BODY_TOO_LARGE`, 408 `BODY_TIMEOUT`, 400 `BODY_BROKEN`, 415 `CONTENT_ENCODING`,
/// 503 `OVERLOADED`.
pub async fn read(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    budget: &Budget,
) -> Result<Held, Problem> {
    let packing = Packing::of(headers)?;
    let held = arrived(headers, body, most, (budget, budget.seconds)).await?;
    match packing {
        Packing::None => Ok(held),
        packing => {
            let unpacked = tokio::task::spawn_blocking(move || unpack(packing, &held, most));
            unpacked.await.unwrap_or_else(|_| Err(Problem::internal()))
        }
    }
}

/// Reads a body of at most `most` bytes as it came.
///
/// # Errors
/// 413 `BODY_TOO_LARGE`, 408 `BODY_TIMEOUT`, 400 `BODY_BROKEN`, 503 `OVERLOADED`.
pub async fn raw(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    budget: &Budget,
) -> Result<Held, Problem> {
    arrived(headers, body, most, (budget, BODY_SECONDS)).await
}

/// Reads the body of somebody unknown: small, not packed, soon there.
///
/// # Errors
/// As `read`.
pub async fn read_of_stranger(
    headers: &HeaderMap,
    body: Body,
    budget: &Budget,
) -> Result<Held, Problem> {
    if Packing::of(headers)? != Packing::None {
        let detail = "send this body without a Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_ENCODING", detail));
    }
    arrived(headers, body, STRANGER_BODY_BYTES_MAX, (budget, STRANGER_BODY_SECONDS)).await
}

/// The bytes of a body as they come.
async fn arrived(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    (budget, seconds): (&Budget, u64),
) -> Result<Held, Problem> {
    if let Some(length) = headers.get(header::CONTENT_LENGTH)
        && length.to_str().ok().and_then(|l| l.parse::<u64>().ok()).is_some_and(|l| l > most as u64)
    {
        return Err(too_large(most));
    }
    let reading = collect(body, most, budget.hold());
    timeout(Duration::from_secs(seconds), reading).await.unwrap_or_else(|_| {
        let detail =
            format!("the body did not come within {seconds} seconds: send less, or faster");
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", detail))
    })
}

async fn collect(mut body: Body, most: usize, mut held: Held) -> Result<Held, Problem> {
    while let Some(frame) = body.frame().await {
        let broken = |_| Problem::bad("BODY_BROKEN", "the body ended before its end: send it anew");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let len = held.bytes.len() + data.len();
        if len > most {
            return Err(too_large(most));
        }
        held.grow(len)?;
        held.bytes.extend_from_slice(&data);
    }
    Ok(held)
}

fn too_large(most: usize) -> Problem {
    let detail = "the body is too large, packed or unpacked: send smaller batches";
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail);
    problem.limit(most as u64)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(headers: &HeaderMap) -> Result<Packing, Problem> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let packing = match values.next().map(|value| value.as_bytes().to_ascii_lowercase()) {
            None => Some(Packing::None),
            Some(value) => match value.as_slice() {
                b"identity" => Some(Packing::None),
                b"gzip" | b"x-gzip" => Some(Packing::Gzip),
                b"zstd" => Some(Packing::Zstd),
                _ => None,
            },
        };
        packing.filter(|_| values.next().is_none()).ok_or_else(|| {
            let detail = "send the body with one Content-Encoding, gzip or zstd, or none";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_ENCODING", detail)
        })
    }
}

fn unpack(packing: Packing, packed: &Held, most: usize) -> Result<Held, Problem> {
    let mut held = packed.budget.hold();
    let done = match packing {
        Packing::None => Ok(()),
        Packing::Gzip => {
            drain(&mut flate2::read::MultiGzDecoder::new(packed.bytes.as_slice()), most, &mut held)
        }
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(packed.bytes.as_slice());
            let decoder = decoder.and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            decoder.map_err(broken).and_then(|mut d| drain(&mut d, most, &mut held))
        }
    };
    done.map(|()| held)
}

fn broken(_: io::Error) -> Problem {
    let detail = "the body is not what its Content-Encoding says, or uses a window over 8 MiB";
    Problem::bad("BODY_BROKEN", detail)
}

fn drain(from: &mut dyn Read, most: usize, into: &mut Held) -> Result<(), Problem> {
    let mut piece = [0; 64 * 1024];
    loop {
        let len = from.read(&mut piece).map_err(broken)?;
        let Some(read) = piece.get(..len).filter(|read| !read.is_empty()) else { return Ok(()) };
        let len = into.bytes.len() + read.len();
        if len > most {
            return Err(too_large(most));
        }
        into.grow(len)?;
        into.bytes.extend_from_slice(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn headers(encoding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        headers
    }

    fn run(
        headers: &HeaderMap,
        body: Vec<u8>,
        most: usize,
        budget: &Budget,
    ) -> Result<Held, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(read(headers, Body::from(body), most, budget))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn packed_bodies_come_out_as_they_were() {
        let (budget, text) = (Budget::default(), b"{\"a\":1}\n".repeat(9_000));
        let packed = [("gzip", gzip(&text)), ("zstd", zstd::encode_all(&text[..], 3).unwrap())];
        for (name, packed) in packed {
            let held = run(&headers(name), packed, 1 << 20, &budget).unwrap();
            assert_eq!(held.bytes, text, "{name}");
        }
        assert_eq!(budget.permits.available_permits(), BODIES_BYTES_MAX / UNIT, "given back");
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let budget = Budget::default();
        let bomb = vec![0; 32 << 20];
        let packed = [("gzip", gzip(&bomb)), ("zstd", zstd::encode_all(&bomb[..], 3).unwrap())];
        for (name, packed) in packed {
            assert!(packed.len() < 64 << 10);
            let refused = run(&headers(name), packed, 1 << 20, &budget).err().unwrap();
            assert_eq!((refused.code, refused.limit), ("BODY_TOO_LARGE", Some(1 << 20)), "{name}");
        }
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&vec![7; 1 << 20]).unwrap();
        let packed = encoder.finish().unwrap();
        let refused = run(&headers("zstd"), packed, 4 << 20, &Budget::default()).err().unwrap();
        assert_eq!(refused.code, "BODY_BROKEN");
    }

    #[test]
    fn other_encodings_rubbish_and_crowds_are_refused() {
        let budget = Budget::default();
        let code = |name, body: &[u8]| {
            run(&headers(name), body.to_vec(), 1 << 10, &budget).err().unwrap().code
        };
        assert_eq!(code("br", b"x"), "CONTENT_ENCODING");
        assert_eq!(code("gzip, gzip", b"x"), "CONTENT_ENCODING");
        assert_eq!(code("gzip", b"no gzip"), "BODY_BROKEN");
        assert_eq!(code("zstd", b"no zstd"), "BODY_BROKEN");
        assert_eq!(code("identity", &[0; 2 << 10]), "BODY_TOO_LARGE");
        let tight = Budget::of(UNIT);
        let refused = run(&HeaderMap::new(), vec![0; UNIT + 1], 1 << 20, &tight).err().unwrap();
        assert_eq!((refused.code, refused.retry_after), ("OVERLOADED", Some(1)));
    }
}
