//! The thin kernel interface: extents go in and come out as they are.
//!
//! Nothing is encoded or decoded here. The kernel does not look into a payload when it takes one,
//! so [`encoded_write`] takes only an [`EncodedExtent`](crate::extent::EncodedExtent), and only at
//! a place that it was judged for.
//!
//! | file | what it does |
//! | --- | --- |
//! | `sys` | the argument structures, the ioctl numbers, every unsafe line of this library; a file per family of calls |
//! | `write` | [`encoded_write`], [`encoded_write_vectored`] |
//! | `read` | [`encoded_read`], [`extents`] |
//! | `probe` | [`probe`]: what a descriptor's filesystem and kernel can do |
//! | `writer` | [`ExtentWriter`]: a file written extent by extent, with fallbacks |
//! | `verify` | [`verify`]: read back cold, compare |
//! | `proposals` | the argument layouts of 2019 and how they map to the merged ones |
//! | `error` | every error number as a cause and what to do |
//! | `tree` | [`items`]: the items of a tree |
//! | `references` | [`inodes_of`] an extent, [`paths_of`] an inode |
//! | `open` | [`open_inode`]: a file by its number, in any subvolume; [`is_open_for_writing`] |
//! | `subvolume` | [`subvolume`], [`subvolume_id`], [`directory_path`] |
//! | `space` | [`filesystem`], [`space_used`], [`commit`] |
//! | `fiemap` | [`fiemap`]: the extents of a file, for who is not root |
//! | `clone` | [`clone_range`]: shows a range of a file elsewhere, without copying |
//! | `dedupe` | [`dedupe`]: has the kernel compare ranges and share what is equal |
//! | `defrag` | [`compress_range`]: has the kernel compress what is written already |
//!
//! ```no_run
//! use std::fs::File;
//! use btrfs_payload::extent::{ClaimedExtent, Content, EncodedExtent};
//! use btrfs_payload::ioctl;
//!
//! // Moves every compressed extent of a file to another, as it is stored.
//! fn copy(from: &File, to: &File) -> Result<(), Box<dyn std::error::Error>> {
//!     let target = ioctl::probe(to)?.target(0);
//!     for extent in ioctl::extents(from) {
//!         let extent = extent?;
//!         if let Content::Encoded(ClaimedExtent { payload, fields }) = extent.content {
//!             let target = target.at(extent.offset);
//!             let extent = EncodedExtent::new(payload, fields, &target)?;
//!             ioctl::encoded_write(to, target.offset, &extent)?;
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The kernel describes the calls where it declares them, in
//! [include/uapi/linux/btrfs.h](https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/btrfs.h);
//! [btrfs-ioctl(2)](https://btrfs.readthedocs.io/en/latest/btrfs-ioctl.html) says how ioctls of btrfs
//! are called.
//!
//! # Error numbers
//!
//! | number | meaning | what to do |
//! | --- | --- | --- |
//! | EPERM | no `CAP_SYS_ADMIN` in the initial user namespace (a container's root has not) | run as root, or write plain data |
//! | EBADF | the descriptor is not open for writing; directories cannot be | open the file for writing |
//! | EINVAL | a rule of [`WriteCall`](crate::rules::WriteCall) is broken; [`WriteError::Refused`] names all of them | correct the arguments, or write plain data |
//! | ENOTTY | no btrfs, a kernel before 5.18, or (6.18) a sector larger than a page | write plain data |
//! | ENOSPC | no contiguous space for the payload, or none for metadata | free space, or write plain data |
//! | EDQUOT | the quota group is full | raise the limit or free space |
//! | EFBIG | beyond the file size limit of the process or of the descriptor; a write is never shortened | raise `ulimit -f`, open with `O_LARGEFILE` |
//! | ETXTBSY | the file is an active swap file | `swapoff` first |
//! | EROFS | the filesystem is read-only, or became so after an error | see the kernel's log |
//! | EIO | the filesystem is shut down, or earlier writes of the file failed; reading: the stored data fails its checksum | see the kernel's log |
//! | ENOMEM | no memory in the kernel | try again later |
//! | EFAULT | the address of a buffer is not mapped | cannot happen with Rust slices |
//! | EBUSY | a page of the range could not be dropped from the page cache | try again |
//! | ENOBUFS | reading: the extent is larger than the buffer | 128 KiB always suffice |
//! | EUCLEAN | reading: the extent's type is unknown to the kernel | run `btrfs check` |
//! | EINTR | a signal came while waiting for space or locks; nothing was written | repeated here |
//!
//! A call that is interrupted (EINTR) is repeated: an encoded write happens as a whole or not at
//! all, so nothing is written twice. Whoever wants a signal to end a run looks between calls.
//!
//! A write that fails with EINVAL may have changed the file's times and, where it begins after
//! the end of the file, put a hole there. A write that succeeds is not on disk yet: errors of
//! the device appear in `fsync`, or not before the data is read; see [`ExtentWriter`].

mod clone;
mod dedupe;
mod defrag;
mod error;
mod fiemap;
mod open;
mod probe;
pub mod proposals;
mod read;
mod references;
mod space;
mod subvolume;
mod sys;
mod tree;
mod verify;
mod write;
mod writer;

pub use clone::clone_range;
pub use dedupe::{Deduped, Destination, MAX_DEDUPE, dedupe};
pub use defrag::compress_range;
pub use error::{ProbeError, QueryError, ReadError, WriteError};
pub use fiemap::{FiemapExtent, fiemap};
pub use open::{is_open_for_writing, open_inode};
pub use probe::{EncodedIo, Probe, probe};
pub use read::{EncodedRead, Extents, encoded_read, extents};
pub use references::{InodeReference, InodeReferences, inodes_of, paths_of};
pub use space::{Filesystem, SpaceUsed, commit, filesystem, space_used};
pub use subvolume::{Subvolume, directory_path, subvolume, subvolume_id};
pub use sys::{ENCODED_READ, ENCODED_WRITE, EncodedIoArgs};
pub use tree::{Item, Items, Key, items};
pub use verify::{VerifyError, verify};
pub(crate) use write::encoded_write_at;
// The ioctl without a judge, for tests that ask the kernel.
#[doc(hidden)]
pub use write::{Submission, submit};
pub use write::{encoded_write, encoded_write_vectored};
pub use writer::{ExtentWriter, Fallback, FallbackReason, Tally, WriteSummary, WriterError};
