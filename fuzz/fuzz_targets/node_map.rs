//! Fuzz target `node_map`; its body is in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chancery_fuzz::run("node_map", data);
});
