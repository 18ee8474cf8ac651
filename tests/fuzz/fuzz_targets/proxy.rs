//! The PROXY header; see `checks/proxy.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("proxy", data));
