//! Fuzz target `id_run`; its body is in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chancery_fuzz::run("id_run", data);
});
