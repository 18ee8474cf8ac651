//! The receiving side of SMTP; see `checks/server.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("server", data));
