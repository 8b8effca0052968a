//! Making extents.
//!
//! [`prepare_extent`] makes one, a [`Preparer`] makes many, `prepare_file` (Linux) and
//! [`prepare_reader`] split a whole input. What they make is an
//! [`EncodedExtent`](crate::extent::EncodedExtent).

mod encoder;
mod extent;
mod file;
mod ladder;
mod options;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod regular;
pub(crate) mod sample;

pub use btrfs_payload_zstd::Checksum;
pub use encoder::EncoderError;
pub(crate) use extent::is_zero;
pub use extent::{PlainReason, PrepareError, Prepared, Preparer, prepare_extent};
pub use file::{Made, PrepareFileError, prepare_reader, prepare_reader_with};
pub use options::{Keep, Level, Options, ParseLevelError, Zeroes, ZstdOptions};
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
pub use regular::{prepare_file, prepare_file_with};
pub use sample::Estimate;
