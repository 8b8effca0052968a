//! Colours, by what they stand for.

use btrfs_payload::rules::Codec;

/// What a colour stands for; style.css says which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ink {
    Plain,
    Zlib,
    Lzo,
    Zstd,
    Unknown,
    /// Space that is taken and has no data.
    Reserved,
    /// What is not there: saved, or free.
    Saved,
    /// What bytes of a payload are for; in a map, the later of these is shown of two.
    Padding,
    Data,
    Unexplained,
    Table,
    Header,
    Checksum,
    /// Where a rule is broken.
    Broken,
}

impl Ink {
    /// Of extents with this codec, or none that is known.
    pub(crate) fn of(codec: Option<Codec>) -> Self {
        match codec {
            Some(Codec::Zlib) => Self::Zlib,
            Some(Codec::Lzo) => Self::Lzo,
            Some(Codec::Zstd) => Self::Zstd,
            None => Self::Unknown,
        }
    }

    /// Its class in style.css.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Zlib => "zlib",
            Self::Lzo => "lzo",
            Self::Zstd => "zstd",
            Self::Unknown => "unknown",
            Self::Reserved => "reserved",
            Self::Saved => "saved",
            Self::Padding => "padding",
            Self::Data => "data",
            Self::Unexplained => "unexplained",
            Self::Table => "codes",
            Self::Header => "head",
            Self::Checksum => "checksum",
            Self::Broken => "broken",
        }
    }
}
