//! In: HTTP. The vault's own service, and the small witness a customer runs on another machine.
//! It decides no policy of a vault; what a request may is in `policy::access`, what it does is a
//! verb of `vault`.

pub mod app;
pub mod audit;
pub mod body;
pub mod caller;
pub mod certificate;
pub mod cursor;
pub mod desk;
pub mod elements;
pub mod envelope;
mod flight;
pub mod gate;
pub mod hec;
pub mod http;
pub mod idempotency;
pub mod identity;
pub mod intake;
pub mod json;
mod linger;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod observe;
pub mod orders;
pub mod problem;
pub mod query;
pub mod refusals;
pub mod router;
pub mod routes;
pub mod scheduler;
pub mod silence;
pub mod sources;
pub mod tls;
pub mod version;
pub mod witness;
