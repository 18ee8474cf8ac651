//! The spool after a start; see `checks/spool.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("spool", data));
