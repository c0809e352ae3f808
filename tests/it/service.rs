//! The service as a whole: the built program on loopback, met over TLS as clients, browsers and
//! attackers meet it. Nothing here looks inside; what the program says and does is all there is.

mod alone;
mod copies;
mod emitters;
mod full;
mod glass;
mod hostile;
mod input;
mod killed;
mod kills;
mod named;
mod openapi;
pub(crate) mod person;
pub(crate) mod raw;
mod reloads;
mod repeats;
mod scope;
mod sessions;
pub(crate) mod stage;
mod subjects;
mod two;
mod walk;
