//! The bodies of the fuzz targets on random input: they must keep working without a fuzzer.
//!
//! ```text
//! BTRFS_PAYLOAD_FUZZ_CASES=100000 cargo test --test fuzz_bodies rewrite
//! ```
#![allow(clippy::unwrap_used)] // a failing test may panic

#[path = "../fuzz/bodies.rs"]
#[allow(unreachable_pub)]
mod bodies;

use quickcheck::{Gen, QuickCheck, TestResult};

/// Runs a body on random bytes; it panics where something does not hold.
fn run(property: fn(Vec<u8>) -> TestResult) {
    let cases = std::env::var("BTRFS_PAYLOAD_FUZZ_CASES");
    let cases = cases.map_or(1000, |cases| cases.parse().unwrap());
    QuickCheck::new()
        .tests(cases)
        .max_tests(cases)
        .rng(Gen::new(3000))
        .quickcheck(property);
}

#[test]
fn payload() {
    run(|input| {
        bodies::payload(&input);
        TestResult::passed()
    });
}

#[test]
fn stream() {
    run(|mut input| {
        // Random bytes never start like a stream.
        input.splice(0..0, *b"btrfs-stream\0\x02\0\0\0");
        bodies::stream(&input);
        TestResult::passed()
    });
}

#[test]
fn rewrite() {
    run(|input| {
        bodies::rewrite(&input);
        TestResult::passed()
    });
}

#[test]
fn encode() {
    run(|input| {
        // Twice the same, so that it compresses.
        bodies::encode(&[input.as_slice(), &input].concat());
        TestResult::passed()
    });
}
