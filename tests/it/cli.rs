//! Placeholder of its owner.
