//! A SOCKS5 proxy's answers; see `checks/socks.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("socks", data));
