//! Making streams: libdeflate, or miniz_oxide where the feature `libdeflate` is off.
//!
//! Zopfli is not offered: on binaries and text it took 0.2 to 0.9 % fewer bytes than libdeflate at
//! its highest level and one sector of 525 less, in 25 to 85 times the time.

use btrfs_payload_common::MAX_EXTENT;

use crate::error::EncodeError;
use crate::layout::PAYLOAD_MAX;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// 1 (fastest) to 9, in both libraries.
    Numbered(NumberedLevel),
    /// Most of what [`Level::Smallest`] saves in some two thirds of its time: 10 of libdeflate, 9
    /// of miniz_oxide.
    NearSmallest,
    /// The library's greatest effort: 12 of libdeflate, 10 of miniz_oxide.
    Smallest,
}

/// A level from 1 to 9; made by [`Level::numbered`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NumberedLevel(u8);

impl NumberedLevel {
    /// The number, 1 to 9.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Level {
    /// A numbered level.
    ///
    /// # Errors
    /// [`EncodeError::Level`] for a number that is not one of 1 to 9.
    pub fn numbered(level: u32) -> Result<Self, EncodeError> {
        match u8::try_from(level) {
            Ok(number @ 1..=9) => Ok(Self::Numbered(NumberedLevel(number))),
            _ => Err(EncodeError::Level {
                got: level,
                min: 1,
                max: 9,
            }),
        }
    }
}

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// How hard to try.
    pub level: Level,
}

impl Options {
    /// Encoding at a level.
    #[must_use]
    pub const fn new(level: Level) -> Self {
        Self { level }
    }
}

/// Makes zlib streams; keeps the library's state, so that nothing is allocated per payload once
/// the payload buffer has its size.
///
/// The streams declare a window of 32 KiB, whatever the length of the data.
pub struct Encoder {
    backend: Backend,
}

enum Backend {
    #[cfg(feature = "libdeflate")]
    Libdeflate(libdeflater::Compressor),
    #[cfg(not(feature = "libdeflate"))]
    Miniz(Box<miniz_oxide::deflate::core::CompressorOxide>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// Prepares the library for a level.
    ///
    /// # Errors
    /// [`EncodeError::Library`] if it has no such level; not expected.
    pub fn new(options: Options) -> Result<Self, EncodeError> {
        let backend = match options.level {
            Level::Numbered(number) => Backend::new(number.get())?,
            Level::NearSmallest => Backend::new(Backend::NEAR_SMALLEST)?,
            Level::Smallest => Backend::new(Backend::SMALLEST)?,
        };
        Ok(Self { backend })
    }

    /// Replaces the content of `payload` by the stream of `data` (1 to 131072 bytes). The
    /// stream may be longer than the data; whether to keep it is the caller's decision.
    ///
    /// # Errors
    /// [`EncodeError::Length`] for data of no or of too many bytes.
    pub fn encode(&mut self, data: &[u8], payload: &mut Vec<u8>) -> Result<(), EncodeError> {
        payload.clear();
        if data.is_empty() || data.len() > MAX_EXTENT {
            return Err(EncodeError::Length {
                got: data.len(),
                max: MAX_EXTENT,
            });
        }
        // One size for every extent, so that a buffer used again never grows.
        payload.resize(PAYLOAD_MAX, 0);
        let len = self.backend.encode(data, payload);
        payload.truncate(len.unwrap_or(0));
        len.map(|_| ()).ok_or(library("the output did not fit"))
    }
}

fn library(message: &'static str) -> EncodeError {
    EncodeError::Library { message }
}

#[cfg(feature = "libdeflate")]
impl Backend {
    const NEAR_SMALLEST: u8 = 10;
    const SMALLEST: u8 = 12;

    fn new(level: u8) -> Result<Self, EncodeError> {
        let level = libdeflater::CompressionLvl::new(i32::from(level));
        let level = level.map_err(|_| library("no such level"))?;
        Ok(Self::Libdeflate(libdeflater::Compressor::new(level)))
    }

    fn encode(&mut self, data: &[u8], payload: &mut [u8]) -> Option<usize> {
        match self {
            Self::Libdeflate(compressor) => compressor.zlib_compress(data, payload).ok(),
        }
    }
}

#[cfg(not(feature = "libdeflate"))]
impl Backend {
    const NEAR_SMALLEST: u8 = 9;
    const SMALLEST: u8 = 10;

    fn new(level: u8) -> Result<Self, EncodeError> {
        let mut compressor = Box::<miniz_oxide::deflate::core::CompressorOxide>::default();
        compressor.set_format_and_level(miniz_oxide::DataFormat::Zlib, level);
        Ok(Self::Miniz(compressor))
    }

    fn encode(&mut self, data: &[u8], payload: &mut [u8]) -> Option<usize> {
        use miniz_oxide::deflate::core::{TDEFLFlush, TDEFLStatus, compress};
        match self {
            Self::Miniz(compressor) => {
                compressor.reset();
                let (status, read, written) =
                    compress(compressor, data, payload, TDEFLFlush::Finish);
                (status == TDEFLStatus::Done && read == data.len()).then_some(written)
            }
        }
    }
}
