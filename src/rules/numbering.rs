//! The compression types and the two numberings they have.
//!
//! | type | on disk, in mount options | in the ioctl and in send streams |
//! | --- | --- | --- |
//! | none | 0 | 0 |
//! | zlib | 1 | 1 |
//! | LZO | 2 | 3 to 7: one for each sector size, 4096 to 65536 |
//! | zstd | 3 | 2 |
//!
//! (`enum btrfs_compression_type`, fs/btrfs/compression.h; `BTRFS_ENCODED_IO_COMPRESSION_*`,
//! include/uapi/linux/btrfs.h.) They are two Rust types so that neither is taken for the other.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::limits::MIN_SECTOR_SIZE;

/// A compression type, without a number.
///
/// A new type would need a decision wherever one is matched, so `match` may go through all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Codec {
    /// One zlib stream.
    Zlib,
    /// LZO1X segments, one a sector, each with a length header.
    Lzo,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Zlib, Self::Lzo, Self::Zstd];

    /// The name that mount options, properties and our command line use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Lzo => "lzo",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No compression type has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no compression type is called {0:?}; there are zlib, lzo and zstd")]
pub struct ParseCodecError(String);

impl FromStr for Codec {
    type Err = ParseCodecError;

    fn from_str(name: &str) -> Result<Self, ParseCodecError> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| ParseCodecError(name.to_owned()))
    }
}

/// A compression type as the ioctl and send streams number it. Holds any number: a claim may
/// be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct EncodedIoId(pub u32);

impl EncodedIoId {
    /// `BTRFS_ENCODED_IO_COMPRESSION_NONE`.
    pub const NONE: Self = Self(0);
    /// `BTRFS_ENCODED_IO_COMPRESSION_ZLIB`.
    pub const ZLIB: Self = Self(1);
    /// `BTRFS_ENCODED_IO_COMPRESSION_ZSTD`.
    pub const ZSTD: Self = Self(2);
    /// `BTRFS_ENCODED_IO_COMPRESSION_LZO_4K`; the types for larger sectors follow.
    pub const LZO_4K: Self = Self(3);
    /// `BTRFS_ENCODED_IO_COMPRESSION_LZO_64K`.
    pub const LZO_64K: Self = Self(7);
    /// `BTRFS_ENCODED_IO_COMPRESSION_TYPES`: the first number without a meaning.
    pub const TYPES: u32 = 8;

    /// The number for a codec on a filesystem of this sector size; `None` when no LZO type
    /// exists for it (it is not a power of two from 4096 to 65536).
    ///
    /// ```
    /// use btrfs_payload::rules::{Codec, EncodedIoId};
    /// assert_eq!(EncodedIoId::new(Codec::Lzo, 16384), Some(EncodedIoId(5)));
    /// assert_eq!(EncodedIoId::new(Codec::Zstd, 16384), Some(EncodedIoId::ZSTD));
    /// assert_eq!(EncodedIoId::new(Codec::Lzo, 2048), None);
    /// ```
    #[must_use]
    pub fn new(codec: Codec, sector_size: u32) -> Option<Self> {
        match codec {
            Codec::Zlib => Some(Self::ZLIB),
            Codec::Zstd => Some(Self::ZSTD),
            Codec::Lzo => (Self::LZO_4K.0..=Self::LZO_64K.0)
                .map(Self)
                .find(|id| id.lzo_sector_size() == Some(sector_size)),
        }
    }

    /// The codec the number stands for; `None` for 0 and for numbers without a meaning.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self {
            Self::ZLIB => Some(Codec::Zlib),
            Self::ZSTD => Some(Codec::Zstd),
            _ => self.lzo_sector_size().map(|_| Codec::Lzo),
        }
    }

    /// The sector size an LZO payload of this number is laid out for, bytes; `None` for other
    /// types.
    #[must_use]
    pub fn lzo_sector_size(self) -> Option<u32> {
        let index = self.0.checked_sub(Self::LZO_4K.0)?;
        let size = MIN_SECTOR_SIZE.checked_shl(index)?;
        (self <= Self::LZO_64K).then_some(size)
    }

    /// The number under which an extent of this type is stored on disk.
    #[must_use]
    pub fn on_disk(self) -> Option<OnDiskId> {
        self.codec().map(OnDiskId::from)
    }
}

impl fmt::Display for EncodedIoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.codec(), self.lzo_sector_size()) {
            (_, Some(sector_size)) => write!(f, "lzo for {sector_size}-byte sectors"),
            (Some(codec), None) => codec.fmt(f),
            (None, None) if *self == Self::NONE => f.write_str("no compression"),
            (None, None) => write!(f, "unknown compression type {}", self.0),
        }
    }
}

/// A compression type as file extent items on disk number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OnDiskId(pub u8);

impl OnDiskId {
    /// The codec the number stands for; `None` for 0 and for numbers without a meaning.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self.0 {
            1 => Some(Codec::Zlib),
            2 => Some(Codec::Lzo),
            3 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The same type as the ioctl numbers it on a filesystem of this sector size.
    #[must_use]
    pub fn encoded_io(self, sector_size: u32) -> Option<EncodedIoId> {
        EncodedIoId::new(self.codec()?, sector_size)
    }
}

impl From<Codec> for OnDiskId {
    fn from(codec: Codec) -> Self {
        Self(match codec {
            Codec::Zlib => 1,
            Codec::Lzo => 2,
            Codec::Zstd => 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numberings_differ_where_the_header_says() {
        // include/uapi/linux/btrfs.h and fs/btrfs/compression.h, written out by hand.
        let table = [
            (Codec::Zlib, 4096, 1, 1),
            (Codec::Zstd, 4096, 2, 3),
            (Codec::Lzo, 4096, 3, 2),
            (Codec::Lzo, 8192, 4, 2),
            (Codec::Lzo, 16384, 5, 2),
            (Codec::Lzo, 32768, 6, 2),
            (Codec::Lzo, 65536, 7, 2),
        ];
        for (codec, sector_size, encoded_io, on_disk) in table {
            let id = EncodedIoId::new(codec, sector_size).unwrap();
            assert_eq!(id, EncodedIoId(encoded_io));
            assert_eq!(id.codec(), Some(codec));
            assert_eq!(id.on_disk(), Some(OnDiskId(on_disk)));
            assert_eq!(OnDiskId(on_disk).encoded_io(sector_size), Some(id));
        }
        assert_eq!(EncodedIoId(0).codec(), None);
        for number in [8, 34, 35, 36, u32::MAX] {
            assert_eq!(EncodedIoId(number).codec(), None, "{number}");
        }
        assert_eq!(OnDiskId(4).codec(), None);
    }
}
