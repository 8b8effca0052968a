//! The tree that a chain of send streams describes: a full stream and its increments.
//!
//! [`Chain`] reads streams, without their data, and has the subvolumes they make: names, inodes,
//! and for each byte of a file where it stands in which stream.
//!
//! | file | what it does |
//! | --- | --- |
//! | `chain` | [`Chain`]: reads streams, finds parents and clone sources |
//! | `follow` | what each command does to a tree |
//! | `names` | [`Tree`]: names and inodes, shared between snapshots |
//! | `inode` | [`Inode`]: what is known of a file, directory or the like |
//! | `data` | [`Extent`]: where the data of a file is |
//! | `walk` | [`Walk`]: all entries, each directory before what is in it |
//! | `read` | [`Data`]: the bytes of an extent |
//! | `unpack` | [`unpack()`]: files in a directory |
//! | `directory` | a directory of a filesystem as a tree |
//! | `compare` | [`compare()`]: a chain beside a directory |
//! | `sum` | [`tree_digest`], [`directory_digest`] |
//! | `content` | the content of files, digested and compared |
//! | `digest` | [`digest`]: one number for a tree, whatever the streams it comes from |
//! | `error` | [`TreeError`] |
//!
//! A stream at which `btrfs receive` would fail is refused, with the finding that `stream check`
//! has: src/transform/order judges each command before it is followed here.
//!
//! Memory is bounded by [`Options::max_memory`]: [`BYTES_PER_NAME`] for each name, and its bytes
//! past 32; [`BYTES_PER_EXTENT`] for each extent, [`BYTES_PER_CHANGE`] for what an increment
//! changes.

mod chain;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod compare;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod content;
mod data;
pub mod digest;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod directory;
mod error;
mod follow;
mod inode;
mod names;
mod read;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod sum;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod unpack;
mod walk;

pub use chain::{Chain, Options, Parent, Source, Subvolume};
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
pub use compare::{Compared, Difference, compare};
pub use data::{Content, Extent, Place};
pub use error::{PathError, TreeError};
pub use follow::{BYTES_PER_CHANGE, BYTES_PER_EXTENT, BYTES_PER_NAME};
pub use inode::{Inode, Kind, Times};
pub(crate) use names::ROOT as TOP;
pub use names::Tree;
pub(crate) use read::LastRead;
pub use read::{Data, ReadAt};
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
pub use sum::{directory_digest, tree_digest};
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
pub use unpack::{FLAGS_XATTR, Flags, LeftOut, UnpackError, UnpackOptions, UnpackSummary, unpack};
pub use walk::{MAX_DEPTH, Step, Visit, Walk};
