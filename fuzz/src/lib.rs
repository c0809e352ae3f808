//! What is fuzzed: one function per decoder, over arbitrary bytes. Each panics when a promise of
//! the decoder is broken, and says whether the bytes were accepted. The same file is the fuzz
//! crate's library and a module of the test binary, which replays the corpora with it, so nothing
//! is written twice. It never reads a file.
//!
//! A promise is more than "no panic": where a format has one encoding, what is accepted is what
//! the encoder writes, to the byte; what is not accepted is refused without repeating it.
#![allow(unreachable_pub, missing_docs)]

mod bytes;
mod input;
mod maths;
mod memory;
mod shown;
mod stored;
mod texts;

/// Bytes in, whether they were accepted out.
pub type Target = fn(&[u8]) -> bool;

/// Every target by name. The fuzz crate has a binary for each, `fuzz/corpus` a directory.
pub const TARGETS: [(&str, Target); 47] = [
    ("body_frame", bytes::body_frame),
    ("body_plain", bytes::body_plain),
    ("cell", bytes::cell),
    ("commit_record", bytes::commit_record),
    ("entry", bytes::entry),
    ("node", bytes::node),
    ("seal_rows", bytes::seal_rows),
    ("slot", bytes::slot),
    ("tile", bytes::tile),
    ("unit", bytes::unit),
    ("unit_head", bytes::unit_head),
    ("checkpoint", texts::checkpoint),
    ("control", texts::control),
    ("disclosure", texts::disclosure),
    ("growth", texts::growth),
    ("ledger", texts::ledger),
    ("manifest", texts::manifest),
    ("note", texts::note),
    ("proof", texts::proof),
    ("roll", texts::roll),
    ("seal", texts::seal),
    ("tile_path", texts::tile_path),
    ("trust", texts::trust),
    ("vkey", texts::vkey),
    ("canon", input::canon),
    ("filter", input::filter),
    ("intake", input::intake),
    ("json", input::json),
    ("mapping", input::mapping),
    ("policy", input::policy),
    ("schedule", input::schedule),
    ("siem_cef", input::siem_cef),
    ("siem_leef", input::siem_leef),
    ("packed_block", stored::packed_block),
    ("packed_rows", stored::packed_rows),
    ("packed_plain", stored::packed_plain),
    ("snapshot", stored::snapshot),
    ("id_run", stored::id_run),
    ("node_map", stored::node_map),
    ("mirror", stored::mirror),
    ("range", shown::range),
    ("answer", shown::answer),
    ("witness_request", shown::witness_request),
    ("witness_answer", shown::witness_answer),
    ("timestamp", shown::timestamp),
    ("lanes", maths::lanes),
    ("merkle", maths::merkle),
];

/// Runs a target by its name.
///
/// # Panics
/// When a promise is broken, or nobody knows the target.
pub fn run(name: &str, data: &[u8]) -> bool {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("no target of the name {name}"),
    }
}
