//! In: what others send over the network. `witness` judges, `http` listens, `identity` knows who
//! is there, `audit` writes down what they did to the service. It never decides a policy of the
//! vault, and no file but `http` knows of sockets.

pub mod audit;
pub mod http;
pub mod identity;
pub mod witness;
