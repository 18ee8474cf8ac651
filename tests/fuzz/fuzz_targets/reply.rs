//! Replies of a peer; see `checks/reply.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("reply", data));
