//! In: what others send over the network. `witness` judges, `http` listens. It never decides a
//! policy of the vault, and no file but `http` knows of sockets.

pub mod http;
pub mod scheduler;
pub mod witness;
