//! Shaping files; see `checks/shaping.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("shaping", data));
