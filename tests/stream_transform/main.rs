//! What is done to whole send streams: checked, compressed again, decompressed, reframed. Against
//! streams made by hand, by the running kernel, and damaged; the program's face as well.
#![allow(unreachable_pub)] // modules of one test binary
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod by_hand;
mod damage;
mod frames;
mod kernel;
mod odd_extents;
mod order;
mod program;
mod random_files;
mod receive_rules;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
#[path = "../send_stream/tree.rs"]
mod tree;
mod work;
