//! The encoders of the three codecs as one type.

use thiserror::Error;

use super::{Level, ZstdOptions};
use crate::rules::{Codec, EncodedIoId};

/// A codec's encoder at one level.
#[derive(Debug)]
pub(super) struct Encoder {
    id: EncodedIoId,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Zlib(Box<btrfs_payload_zlib::Encoder>),
    Lzo(Box<btrfs_payload_lzo::Encoder>),
    Zstd(Box<btrfs_payload_zstd::Encoder>),
}

/// A level in the terms of its codec.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effort {
    Zlib(btrfs_payload_zlib::Level),
    Lzo(btrfs_payload_lzo::Effort),
    Zstd(i32),
}

impl Effort {
    /// What a level means for a codec; for [`Level::Auto`] where it begins.
    pub(super) fn of(codec: Codec, level: Level) -> Result<Self, EncoderError> {
        Ok(match codec {
            Codec::Zlib => Self::Zlib(zlib(level)?),
            Codec::Lzo => Self::Lzo(lzo(level)?),
            Codec::Zstd => Self::Zstd(zstd(level)?),
        })
    }
}

/// Why an encoder cannot be had, or has failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The codec has no such level. Choose one that it has.
    #[error("{codec} has no level {level}; it has {range}")]
    Level {
        /// The codec.
        codec: Codec,
        /// The level asked for.
        level: i32,
        /// The levels there are.
        range: String,
    },
    /// The zlib encoder failed.
    #[error("zlib: {0}")]
    Zlib(#[from] btrfs_payload_zlib::EncodeError),
    /// The LZO encoder failed.
    #[error("lzo: {0}")]
    Lzo(#[from] btrfs_payload_lzo::EncodeError),
    /// The zstd encoder failed.
    #[error("zstd: {0}")]
    Zstd(#[from] btrfs_payload_zstd::EncodeError),
    /// LZO exists for sector sizes from 4096 to 65536 bytes only.
    #[error("there is no LZO for {sector_size}-byte sectors")]
    NoLzo {
        /// The sector size, bytes.
        sector_size: u32,
    },
}

impl Encoder {
    pub(super) fn new(
        effort: Effort,
        sector_size: u32,
        zstd: ZstdOptions,
    ) -> Result<Self, EncoderError> {
        let (codec, inner) = match effort {
            Effort::Zlib(level) => {
                let encoder =
                    btrfs_payload_zlib::Encoder::new(btrfs_payload_zlib::Options::new(level))?;
                (Codec::Zlib, Inner::Zlib(Box::new(encoder)))
            }
            Effort::Lzo(effort) => {
                let sector_size = usize::try_from(sector_size)
                    .map_err(|_| EncoderError::NoLzo { sector_size })?;
                let encoder = btrfs_payload_lzo::Encoder::new(btrfs_payload_lzo::Options::new(
                    effort,
                    sector_size,
                ))?;
                (Codec::Lzo, Inner::Lzo(Box::new(encoder)))
            }
            Effort::Zstd(level) => {
                let encoder = btrfs_payload_zstd::Encoder::new(
                    btrfs_payload_zstd::Options::new(level).with_checksum(zstd.checksum),
                )?;
                (Codec::Zstd, Inner::Zstd(Box::new(encoder)))
            }
        };
        let id = EncodedIoId::new(codec, sector_size).ok_or(EncoderError::NoLzo { sector_size })?;
        Ok(Self { id, inner })
    }

    /// The number of the payloads it makes.
    pub(super) fn id(&self) -> EncodedIoId {
        self.id
    }

    /// Replaces the content of `payload` by the payload of `data`.
    pub(super) fn encode(
        &mut self,
        data: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(), EncoderError> {
        match &mut self.inner {
            Inner::Zlib(encoder) => encoder.encode(data, payload)?,
            Inner::Lzo(encoder) => encoder.encode(data, payload)?,
            Inner::Zstd(encoder) => encoder.encode(data, payload)?,
        }
        Ok(())
    }
}

fn zlib(level: Level) -> Result<btrfs_payload_zlib::Level, EncoderError> {
    use btrfs_payload_zlib::Level as Zlib;
    let number = match level {
        Level::Smallest => return Ok(Zlib::Smallest),
        Level::Default | Level::Auto => 3,
        Level::Number(number) => number,
    };
    u32::try_from(number)
        .ok()
        .and_then(|number| Zlib::numbered(number).ok())
        .ok_or_else(|| EncoderError::Level {
            codec: Codec::Zlib,
            level: number,
            range: "1 to 9".to_owned(),
        })
}

fn lzo(level: Level) -> Result<btrfs_payload_lzo::Effort, EncoderError> {
    use btrfs_payload_lzo::Effort;
    match level {
        Level::Default | Level::Auto | Level::Number(1) => Ok(Effort::Fast),
        Level::Number(9) => Ok(Effort::High),
        Level::Smallest => Ok(Effort::Smallest),
        Level::Number(level) => Err(EncoderError::Level {
            codec: Codec::Lzo,
            level,
            range: "1 (fast) and 9 (high ratio)".to_owned(),
        }),
    }
}

fn zstd(level: Level) -> Result<i32, EncoderError> {
    let levels =
        btrfs_payload_zstd::Encoder::min_level()..=btrfs_payload_zstd::Encoder::max_level();
    match level {
        Level::Smallest => Ok(*levels.end()),
        Level::Default | Level::Auto => Ok(3),
        Level::Number(level) if levels.contains(&level) => Ok(level),
        Level::Number(level) => Err(EncoderError::Level {
            codec: Codec::Zstd,
            level,
            range: format!("{} to {}", levels.start(), levels.end()),
        }),
    }
}
