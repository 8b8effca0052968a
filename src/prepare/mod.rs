//! Making extents.
//!
//! [`prepare_extent`] makes one, a [`Preparer`] makes many, [`prepare_file`] and
//! [`prepare_reader`] split a whole input. What they make is an
//! [`EncodedExtent`](crate::extent::EncodedExtent).

mod encoder;
mod extent;
mod file;
mod ladder;
mod options;

pub use encoder::EncoderError;
pub use extent::{PlainReason, PrepareError, Prepared, Preparer, prepare_extent};
pub use file::{
    Made, PrepareFileError, prepare_file, prepare_file_with, prepare_reader, prepare_reader_with,
};
pub use options::{Keep, Level, NotALevel, Options};
