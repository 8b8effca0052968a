//! Options for making extents.

use std::fmt;
use std::str::FromStr;

use btrfs_payload_zstd::Checksum;
use thiserror::Error;

use crate::rules::{Codec, Target};

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Level {
    /// What the kernel takes when no level is named: 3 for zlib and zstd, the fast encoder for
    /// LZO.
    #[default]
    Default,
    /// A level by number: zlib 1 to 9; zstd from the lowest negative one to 22; LZO 1 (fast)
    /// and 9 (high ratio).
    Number(i32),
    /// The smallest payload this crate can make with the codec, whatever it costs.
    Smallest,
    /// The fewest sectors on disk for the least effort: tries the default level, and a high one
    /// only where that can save another sector, as bytes saved inside a sector save nothing.
    /// For data that stays, where a number would be a guess: take a number where speed has to be
    /// foreseen, [`Level::Smallest`] where bytes count and not sectors, as in a send stream on its
    /// way.
    ///
    /// The high level saves nearly all that [`Level::Smallest`] does in half its time (zstd 16,
    /// near the smallest of zlib). For LZO it makes segments as small as can be until those left
    /// are not expected to save a sector; that takes 0.90 to 1.03 of the time of
    /// [`Level::Smallest`], and 0.30 on noise. Data that the default level of zstd or zlib does
    /// not shrink at all is not tried again.
    Auto,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Number(number) => number.fmt(f),
            Self::Smallest => f.write_str("smallest"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// The text is not a level.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a level; a level is a number, auto, smallest or default")]
pub struct ParseLevelError(String);

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, ParseLevelError> {
        match text {
            "default" => Ok(Self::Default),
            "smallest" | "max" => Ok(Self::Smallest),
            "auto" => Ok(Self::Auto),
            number => number
                .parse()
                .map(Self::Number)
                .map_err(|_| ParseLevelError(text.to_owned())),
        }
    }
}

/// When an encoded extent is worth having.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Keep {
    /// When it takes at least one sector less on disk than plain data, as the kernel decides
    /// for its own writes (fs/btrfs/inode.c, `compress_file_range`).
    #[default]
    SectorSaved,
    /// When the payload is smaller than the data, which is all the ioctl asks for.
    Smaller,
}

/// What data of nothing but zeroes becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Zeroes {
    /// A hole.
    #[default]
    Hole,
    /// An extent as any other, where something else may stand in the place of a hole.
    Data,
}

/// What only zstd can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ZstdOptions {
    /// Whether every frame ends with a checksum of its content.
    pub checksum: Checksum,
}

/// How to make extents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The codecs to try, each with its level. The smallest payload wins, the first of equals.
    pub methods: Vec<(Codec, Level)>,
    /// The filesystem they are for, and for single extents the place in the file.
    pub target: Target,
    /// When to keep the result.
    pub keep: Keep,
    /// How zstd, where it is tried, makes frames.
    pub zstd: ZstdOptions,
    /// Where files are cut, bytes: a multiple of the sector size, at most 128 KiB.
    pub extent_size: usize,
    /// What zeroes become.
    pub zeroes: Zeroes,
}

impl Options {
    /// One codec at one level, for a filesystem with 4096-byte sectors.
    #[must_use]
    pub fn new(codec: Codec, level: Level) -> Self {
        Self {
            methods: vec![(codec, level)],
            target: Target::default(),
            keep: Keep::default(),
            zstd: ZstdOptions::default(),
            extent_size: crate::MAX_EXTENT,
            zeroes: Zeroes::default(),
        }
    }

    /// The same for another sector size, bytes.
    #[must_use]
    pub fn sector_size(mut self, sector_size: u32) -> Self {
        self.target = Target::new(sector_size);
        self
    }
}
