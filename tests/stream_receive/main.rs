//! Random send streams: `btrfs receive` and `stream check` have to stop at the same command.
//!
//! A case is one input of up to three streams: one to clone from, a parent, and at last a full
//! stream or an increment. Most of its commands are right; a tail of others is made without a look
//! at what is there. Both get the same bytes. Where everything is meant to be right, the subvolumes
//! are looked at as well: names, kinds, sizes, links.
//!
//! A disagreement is shrunk, printed as `stream dump` prints it, and kept beside the test program.
//! Where receivers do something that no sender asks for, [`compare`] lists what and why.
//!
//! ```text
//! BTRFS_PAYLOAD_RECEIVE_CASES=2000 BTRFS_PAYLOAD_RECEIVE_SEED=7 cargo test --test stream_receive
//! BTRFS_PAYLOAD_RECEIVE_SEED=7 BTRFS_PAYLOAD_RECEIVE_ONLY=full:123 cargo test --test stream_receive
//! ```
//!
//! The first runs so many full streams and so many increments. Needs root and btrfs.
#![cfg(feature = "cli")]
#![allow(unreachable_pub)] // modules of one test binary
#![allow(clippy::cast_possible_truncation)] // lengths of at most 200,000 bytes
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod blind;
mod case;
mod compare;
mod maker;
mod receive;
mod report;
mod right;
mod shrink;
#[path = "../support/mod.rs"]
mod support;
mod tree;

use std::env;

use case::{Case, Shape};
use compare::{Comparison, compare};
use report::Tally;
use support::Random;

/// Cases of each shape in an ordinary run of the tests.
const CASES: u64 = 120;
/// The seed of an ordinary run.
const SEED: u64 = 1;

#[test]
fn full_streams() {
    run("full_streams", Shape::Full);
}

#[test]
fn increments() {
    run("increments", Shape::Increment);
}

fn run(test: &str, shape: Shape) {
    // A device node that is written to by mistake must be no device.
    let options = support::Options::default().mounted_with("nodev");
    let Some(mount) = support::btrfs(test, &options) else {
        return;
    };
    let seed = variable("SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let numbers: Vec<u64> = match variable("ONLY") {
        None => {
            let cases = variable("CASES").map_or(CASES, |cases| cases.parse().unwrap());
            (0..cases).collect()
        }
        Some(only) => only
            .split(',')
            .filter_map(|only| only.strip_prefix(shape.name())?.strip_prefix(':'))
            .map(|number| number.parse().unwrap())
            .collect(),
    };
    let mut tally = Tally::new(shape, seed);
    for number in numbers {
        let mut random = Random::of_case(seed, shape.number() << 32 | number);
        let case = Case::generate(&mut random, shape);
        let comparison = compare(&mount, &case);
        if let Comparison::Differs(difference) = &comparison
            && tally.is_new(difference)
        {
            let small = shrink::shrink(&mount, &case, difference);
            tally.keep(number, &small);
        }
        tally.count(number, &case, &comparison);
    }
    tally.finish();
}

fn variable(name: &str) -> Option<String> {
    env::var(format!("BTRFS_PAYLOAD_RECEIVE_{name}")).ok()
}
