//! Packed files on disk: how they are made from plain ones and read in their place. It never
//! decides what is packed, and nothing above it sees a difference but in time and space.

pub mod bodies;
pub mod segment;
