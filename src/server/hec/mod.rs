//! Splunk's collector protocol (HEC): how a body becomes drafts, what its channels were promised,
//! and the shape of its answers. It never decides who may send: that is the token's, as everywhere.

pub mod answer;
pub mod channels;
pub mod read;
