//! The mappings of products: each reads small records written here as docs/events.md says, answers
//! hostile ones, and takes the real ones of the shared data with every person they name.

mod language;
mod products;
mod real;
