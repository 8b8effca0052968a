//! Encoding: one frame with its content size, in a window of at most 128 KiB.

use btrfs_payload_common::MAX_EXTENT;
use zstd_safe::{CCtx, CParameter};

use crate::error::EncodeError;

/// The version of libzstd that encodes, such as `1.5.7`.
#[must_use]
pub fn library_version() -> &'static str {
    zstd_safe::version_string()
}

/// Exponent of the largest window the encoder uses; see [`crate::layout::WINDOW_MAX`].
const WINDOW_LOG: u32 = 17;

/// The checksum at the end of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// The low half of XXH64 of the content, four bytes.
    Content,
}

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// A level of libzstd, [`Encoder::min_level`] to [`Encoder::max_level`].
    pub level: i32,
    /// What ends a frame.
    pub checksum: Checksum,
}

impl Options {
    /// Encoding at a level, without checksum.
    #[must_use]
    pub const fn new(level: i32) -> Self {
        Self {
            level,
            checksum: Checksum::None,
        }
    }

    /// The same with this end of a frame.
    #[must_use]
    pub const fn with_checksum(self, checksum: Checksum) -> Self {
        Self { checksum, ..self }
    }
}

/// Makes payloads; keeps libzstd's context, so that nothing is allocated per payload once the
/// payload buffer has grown.
///
/// ```
/// use btrfs_payload_zstd::{Encoder, Options};
/// let mut encoder = Encoder::new(Options::new(3))?;
/// let mut payload = Vec::new();
/// encoder.encode(&[7; 9000], &mut payload)?;
/// assert!(payload.len() < 50);
/// # Ok::<(), btrfs_payload_zstd::EncodeError>(())
/// ```
pub struct Encoder {
    context: CCtx<'static>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// The lowest level libzstd knows (fastest).
    #[must_use]
    pub fn min_level() -> i32 {
        zstd_safe::min_c_level()
    }

    /// The highest level libzstd knows (smallest).
    #[must_use]
    pub fn max_level() -> i32 {
        zstd_safe::max_c_level()
    }

    /// An encoder of this level.
    ///
    /// # Errors
    /// A level outside [`Encoder::min_level`]..=[`Encoder::max_level`], or no memory.
    pub fn new(options: Options) -> Result<Self, EncodeError> {
        let Options { level, checksum } = options;
        if !(Self::min_level()..=Self::max_level()).contains(&level) {
            return Err(EncodeError::Level {
                got: level,
                min: Self::min_level(),
                max: Self::max_level(),
            });
        }
        let mut context = CCtx::try_create().ok_or(EncodeError::Memory)?;
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::ChecksumFlag(checksum == Checksum::Content),
            CParameter::ContentSizeFlag(true),
            CParameter::DictIdFlag(false),
        ] {
            context.set_parameter(parameter).map_err(library)?;
        }
        Ok(Self { context })
    }

    /// Encodes `data` (1 to 131072 bytes) as one frame into `payload`, which is cleared first.
    /// The payload may come out longer than the data; keeping it is the caller's decision.
    ///
    /// # Errors
    /// Data of another length, or a failure of the library.
    pub fn encode(&mut self, data: &[u8], payload: &mut Vec<u8>) -> Result<(), EncodeError> {
        payload.clear();
        if data.is_empty() || data.len() > MAX_EXTENT {
            return Err(EncodeError::Length {
                got: data.len(),
                max: MAX_EXTENT,
            });
        }
        payload.reserve(zstd_safe::compress_bound(data.len()));
        self.context.compress2(payload, data).map_err(library)?;
        Ok(())
    }
}

fn library(code: usize) -> EncodeError {
    EncodeError::Library {
        message: zstd_safe::get_error_name(code),
    }
}
