//! Every byte of a payload explained.

use std::fmt;

use btrfs_payload_common::Piece;

use super::report::{Finding, Report};
use super::validator::validate;
use crate::rules::{Codec, EncodedIoId, ExtentFields, Target};

/// Decoded bytes past which a dump goes no further.
const LIMIT: usize = 1 << 20;

/// A structure of a payload; its `Display` is the meaning in words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Structure {
    /// Of a zlib stream.
    Zlib(btrfs_payload_zlib::Kind),
    /// Of an LZO payload.
    Lzo(btrfs_payload_lzo::Kind),
    /// Of a zstd frame.
    Zstd(btrfs_payload_zstd::Kind),
}

/// What a structure of a payload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Tells what follows: magic numbers, headers, lengths.
    Header,
    /// Tells how data is coded: code lengths, trees, distributions.
    Table,
    /// Data, coded or as it is.
    Data,
    /// A checksum of the data.
    Checksum,
    /// Nothing: what fills a byte or a sector, or lies after the end.
    Padding,
    /// What nobody looked at, or what cannot be told after a fault.
    Unexplained,
}

impl Structure {
    /// What it is for.
    #[must_use]
    pub fn part(&self) -> Part {
        use btrfs_payload_lzo::Kind as Lzo;
        use btrfs_payload_zlib::Kind as Zlib;
        use btrfs_payload_zstd::Kind as Zstd;
        match self {
            Self::Zlib(kind) => match kind {
                Zlib::Symbols { .. } | Zlib::StoredData => Part::Data,
                Zlib::CodeLengths { .. } => Part::Table,
                Zlib::Adler32(_) => Part::Checksum,
                Zlib::Padding | Zlib::Trailing { .. } => Part::Padding,
                Zlib::CutOff(_) | Zlib::Unexplained | Zlib::Unexamined => Part::Unexplained,
                _ => Part::Header,
            },
            Self::Lzo(kind) => match kind {
                Lzo::Segment { .. } => Part::Data,
                Lzo::Padding { .. } | Lzo::Behind { .. } => Part::Padding,
                Lzo::Unexplained | Lzo::Unexamined => Part::Unexplained,
                _ => Part::Header,
            },
            Self::Zstd(kind) => match kind {
                Zstd::RawBlock
                | Zstd::RleBlock { .. }
                | Zstd::RawLiterals
                | Zstd::RleLiteral { .. }
                | Zstd::Stream { .. }
                | Zstd::Bitstream { .. }
                | Zstd::SkippableContent => Part::Data,
                Zstd::Tree { .. } | Zstd::TableDescription { .. } | Zstd::TableSymbol { .. } => {
                    Part::Table
                }
                Zstd::Checksum { .. } => Part::Checksum,
                Zstd::Padding => Part::Padding,
                Zstd::NotExamined | Zstd::Unexplained => Part::Unexplained,
                _ => Part::Header,
            },
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zlib(kind) => kind.fmt(f),
            Self::Lzo(kind) => kind.fmt(f),
            Self::Zstd(kind) => kind.fmt(f),
        }
    }
}

/// A line of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpLine<'a> {
    /// What some bits are. Pieces come in order and leave no bit out.
    Structure(Piece<Structure>),
    /// What is wrong with the claims (before the first structure), or with a byte (after the
    /// structure that has it).
    Finding(&'a Finding),
}

/// Explains a payload from its first byte to its last, and judges it as [`super::validate()`]
/// does. Where it decodes to more than 1 MiB, what comes after is one piece.
///
/// ```
/// use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target};
/// use btrfs_payload::validate::{DumpLine, dump};
///
/// let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 4, 0x23, 0, 0, b'A'];
/// let fields = ExtentFields::whole(4, EncodedIoId::ZSTD);
/// let mut lines = Vec::new();
/// dump(&frame, &fields, &Target::default(), &mut |line| {
///     if let DumpLine::Structure(piece) = line {
///         lines.push((piece.bytes(), piece.kind.to_string()));
///     }
/// });
/// assert_eq!(lines.first().map(|line| line.0.clone()), Some(0..4));
/// ```
pub fn dump(
    payload: &[u8],
    fields: &ExtentFields,
    target: &Target,
    visit: &mut dyn FnMut(DumpLine<'_>),
) -> Report {
    let report = validate(payload, fields, target);
    let mut findings: Vec<&Finding> = report.findings().iter().collect();
    // What is about claims and not about a byte comes first.
    findings.sort_by_key(|finding| finding.offset);
    let mut findings = findings.into_iter().peekable();
    let mut show = |piece: Option<Piece<Structure>>| {
        let end = piece.as_ref().map_or(u64::MAX, |piece| piece.bytes().end);
        // A payload without bytes has no structure; the claims come first all the same.
        while let Some(finding) = findings.next_if(|finding| finding.offset.is_none()) {
            visit(DumpLine::Finding(finding));
        }
        if let Some(piece) = piece {
            visit(DumpLine::Structure(piece));
        }
        while let Some(finding) =
            findings.next_if(|finding| finding.offset.is_none_or(|offset| offset < end))
        {
            visit(DumpLine::Finding(finding));
        }
    };
    match (fields.codec(), fields.compression.lzo_sector_size()) {
        (Some(Codec::Zlib), _) => {
            use btrfs_payload_zlib::{Event, walk};
            walk(payload, LIMIT, &mut |event| {
                if let Event::Piece(piece) = event {
                    show(Some(piece.map(Structure::Zlib)));
                }
            });
        }
        (Some(Codec::Lzo), Some(sector_size)) => {
            use btrfs_payload_lzo::{Event, walk};
            walk(payload, sector_size as usize, LIMIT, &mut |event| {
                if let Event::Piece(piece) = event {
                    show(Some(piece.map(Structure::Lzo)));
                }
            });
        }
        (Some(Codec::Zstd), _) => {
            use btrfs_payload_zstd::{Event, walk};
            walk(payload, LIMIT, &mut |event| {
                if let Event::Piece(piece) = event {
                    show(Some(piece.map(Structure::Zstd)));
                }
            });
        }
        // There is no way to look inside; the report says that no such type exists.
        _ => {}
    }
    show(None);
    report
}

/// What the first bytes of a payload say; its `Display` is a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Headline {
    /// A zlib header.
    Zlib {
        /// The declared window, bytes.
        window: usize,
        /// The two bits FLEVEL, 0 to 3.
        level: u8,
    },
    /// The beginning of an LZO payload.
    Lzo {
        /// The type with its sector size.
        compression: EncodedIoId,
        /// The declared length of the payload, bytes.
        total: usize,
        /// The declared length of the first segment, bytes.
        first_segment: usize,
    },
    /// A zstd frame header.
    Zstd {
        /// The declared window, bytes.
        window: u64,
        /// The declared content size, bytes, where there is one.
        content_size: Option<u64>,
        /// The frame is a single segment.
        single_segment: bool,
        /// A checksum follows the content.
        checksum: bool,
    },
    /// No beginning of a payload of this codec.
    Unreadable(Codec),
    /// No codec has this number.
    Unknown(EncodedIoId),
}

impl Headline {
    /// Reads the first bytes of a payload. It judges nothing: a payload that begins well may be
    /// wrong further on.
    #[must_use]
    pub fn of(payload: &[u8], fields: &ExtentFields) -> Self {
        let Some(codec) = fields.codec() else {
            return Self::Unknown(fields.compression);
        };
        let headline = match codec {
            Codec::Zlib => btrfs_payload_zlib::layout::Header::of(payload)
                .filter(|header| header.check_ok())
                .map(|header| Self::Zlib {
                    window: header.window(),
                    level: header.level(),
                }),
            Codec::Lzo => {
                use btrfs_payload_lzo::layout::{first_segment, total};
                total(payload)
                    .zip(first_segment(payload))
                    .map(|(total, first_segment)| Self::Lzo {
                        compression: fields.compression,
                        total,
                        first_segment,
                    })
            }
            Codec::Zstd => btrfs_payload_zstd::layout::FrameHeader::parse(payload)
                .ok()
                .map(|header| Self::Zstd {
                    window: header.window(),
                    content_size: header.known_size(),
                    single_segment: header.single_segment(),
                    checksum: header.checksum(),
                }),
        };
        headline.unwrap_or(Self::Unreadable(codec))
    }
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Zlib { window, level } => {
                write!(f, "zlib stream, window {window}, level flag {level}")
            }
            Self::Lzo {
                compression,
                total,
                first_segment,
            } => write!(
                f,
                "{compression}, total {total}, first segment {first_segment}"
            ),
            Self::Zstd {
                window,
                content_size,
                single_segment,
                checksum,
            } => {
                write!(f, "zstd frame, window {window}, content size ")?;
                match content_size {
                    Some(size) => write!(f, "{size}")?,
                    None => f.write_str("absent")?,
                }
                if single_segment {
                    f.write_str(", single segment")?;
                }
                if checksum {
                    f.write_str(", checksum")?;
                }
                Ok(())
            }
            Self::Unreadable(Codec::Zlib) => f.write_str("no zlib header"),
            Self::Unreadable(Codec::Lzo) => f.write_str("too short for LZO"),
            Self::Unreadable(Codec::Zstd) => f.write_str("no zstd frame header"),
            Self::Unknown(compression) => compression.fmt(f),
        }
    }
}
