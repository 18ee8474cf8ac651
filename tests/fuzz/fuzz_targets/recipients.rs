//! Lists of recipients; see `checks/recipients.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("recipients", data));
