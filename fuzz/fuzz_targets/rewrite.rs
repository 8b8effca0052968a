//! `cargo fuzz run rewrite`; see `rewrite` in bodies.rs.
#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code, unreachable_pub)]
mod bodies;

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::rewrite(input));
