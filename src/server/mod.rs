//! In: what others send over the network. `witness` judges, `http` listens; `metrics`, `log` and
//! `observe` say how the service does. It never decides a policy of the vault, and no file but
//! `http` knows of sockets.

pub mod http;
pub mod log;
pub mod metrics;
pub mod observe;
pub mod witness;
