//! Making extents.

mod encoded;

pub use encoded::{EncodedExtent, ExtentError};
