//! Fuzz target `timestamp`; its body is in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chancery_fuzz::run("timestamp", data);
});
