//! May we? Pure decisions over the texts in `policies/`: what a field is, whom it names, how long
//! it is kept, whether an act is allowed. It never acts.

pub mod classes;
pub mod classify;
pub mod fields;
pub mod sources;
