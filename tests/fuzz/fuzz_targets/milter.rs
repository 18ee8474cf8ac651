//! The words of a milter; see `checks/milter.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("milter", data));
