//! Splunk's collector protocol over the whole service: what products send is durable before they
//! are told so, and what they are told has the shape they know.
