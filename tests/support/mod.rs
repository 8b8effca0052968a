//! What the tests on a real kernel share: loop-mounted filesystems, content to put into them,
//! comparison of trees.
//!
//! A test that needs a kernel begins with
//!
//! ```ignore
//! let Some(fs) = support::btrfs("name_of_the_test", &support::Options::default()) else { return };
//! ```
//!
//! Without root, btrfs or mkfs.btrfs that prints `SKIPPED: name: reason` to the terminal, past
//! the capture of test output, and the test passes. With BTRFS_PAYLOAD_REQUIRE_KERNEL in the
//! environment it panics, so that nobody takes a skipped run for a passed one.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test binary uses a part of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail as tests do

mod corpus;
mod files;
pub mod image;
mod mount;
mod payloads;
mod random;
mod subvolumes;
mod tree;

pub use corpus::{Sample, corpus, generated};
pub use files::{chattr_c, copy_program, create, from, unprivileged};
pub use mount::{Mount, Options, btrfs, skip};
pub use payloads::{extent, lzo_of_a, text, whole, zlib_of, zstd_of};
pub use random::Random;
pub use subvolumes::{delete_subvolume, snapshot, subvolume};
pub use tree::assert_same_tree;
