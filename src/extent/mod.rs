//! Making extents.
//!
//! [`prepare_extent`] makes one, a [`Preparer`] makes many, [`prepare_file`] and
//! [`prepare_reader`] split a whole input. What they make is an [`EncodedExtent`], the only
//! thing that the ioctl and the writer of send streams take.

mod encoded;
mod encoder;
mod file;
mod ladder;
mod options;
mod prepare;

pub use encoded::{EncodedExtent, ExtentError};
pub use encoder::EncoderError;
pub use file::{
    Content, FileExtent, PrepareFileError, prepare_file, prepare_file_with, prepare_reader,
    prepare_reader_with,
};
pub use options::{Keep, Level, NotALevel, Options};
pub use prepare::{PlainReason, PrepareError, Prepared, Preparer, prepare_extent, sectors};
