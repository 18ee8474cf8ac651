//! Answers of name servers; see `checks/dns.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("dns", data));
