//! Addresses; see `checks/address.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("address", data));
