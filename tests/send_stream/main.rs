//! Send streams: the reader and the writer against bytes made by hand, against each other,
//! against damaged input, and against what a kernel and btrfs-progs make and take.
#![allow(unreachable_pub)] // modules of one test binary
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod arbitrary;
mod by_hand;
mod damage;
mod dump;
mod example;
mod issues;
mod kept;
mod kernel;
mod refusals;
mod round_trip;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tree;
