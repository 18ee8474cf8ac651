//! Own checks of content; see `checks/form.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| relay_fast_fuzz::check("form", data));
