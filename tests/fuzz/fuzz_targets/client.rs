//! The sending side of SMTP; see `checks/client.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("client", data));
