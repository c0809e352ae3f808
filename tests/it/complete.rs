//! Completeness: range and answer files against files made from the page alone, against a naive
//! scan, and against everybody who would leave something out.

mod answers;
pub(crate) mod maker;
mod ranges;
mod real;
