//! Witnesses: the judge, the network around it, and the vault that is witnessed.

mod anchor;
mod http;
mod judge;
mod vault;
