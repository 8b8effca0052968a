//! What an input is that should be a send stream and is not.

use std::fmt;

use super::format::MAGIC;
use super::kind::CommandKind;
use super::{format, raw};
use crate::rules::limits::u64_of;

/// What the bytes look like where a stream header is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Nothing that is known here.
    Unknown,
    /// Zeroes.
    Zeroes,
    /// The magic of a compressor; its name is that of the program that undoes it.
    Compressed(&'static str),
    /// Something else, and a stream header at this offset of the input.
    HeaderAt(u64),
}

/// Magics of compressed files, each with the program that decompresses it to standard output when
/// it is given `-dc`.
const COMPRESSED: [(&[u8], &str); 10] = [
    (&[0x1f, 0x8b, 0x08], "gzip"),
    // Of compress(1), which gzip undoes too.
    (&[0x1f, 0x9d], "gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    // The skippable frame that pzstd begins with.
    (&[0x50, 0x2a, 0x4d, 0x18], "zstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"BZh", "bzip2"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
    // The older frame of `lz4 -l`.
    (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
    (&[0x89, b'L', b'Z', b'O', 0], "lzop"),
    (b"LZIP", "lzip"),
];

impl Foreign {
    /// Looks at the bytes at an offset of the input.
    pub(super) fn of(bytes: &[u8], offset: u64) -> Self {
        let mut magics = COMPRESSED.iter();
        if let Some((_, program)) = magics.find(|(magic, _)| bytes.starts_with(magic)) {
            return Self::Compressed(program);
        }
        if is_lzma(bytes) {
            return Self::Compressed("lzma");
        }
        if let Some(at) = find_header(bytes) {
            return Self::HeaderAt(offset.saturating_add(u64_of(at)));
        }
        if !bytes.is_empty() && bytes.iter().all(|&byte| byte == 0) {
            return Self::Zeroes;
        }
        Self::Unknown
    }
}

/// A `.lzma` file has no magic: a byte of properties and the size of the dictionary (4 bytes), both
/// as lzma(1) chooses them, then the length (8 bytes), which it does not know. The first three bytes
/// may begin an LZO payload too.
fn is_lzma(bytes: &[u8]) -> bool {
    let length = bytes.get(5..).and_then(<[u8]>::first_chunk);
    bytes.starts_with(&[0x5d, 0, 0]) && length == Some(&[0xff; 8])
}

/// The rest of a sentence that says that no stream begins.
impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Zeroes => f.write_str(": there are zeroes"),
            Self::Compressed(program) => write!(
                f,
                ": it is compressed with {program}; `{program} -dc FILE | ...` gives the stream"
            ),
            Self::HeaderAt(offset) => write!(f, ": a stream begins at offset {offset}"),
        }
    }
}

/// Bytes from the start of a header up to the end of its first command's number.
pub(super) const HEADER_AND_NUMBER: usize = format::STREAM_HEADER_LEN + 6;

/// Where in some bytes a stream begins: a header of a version that exists, and where there is room
/// for it the number of a command that creates a subvolume.
pub(super) fn find_header(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = memchr::memmem::find(rest, &MAGIC)?;
        let at = from.saturating_add(at);
        if begins_stream(bytes.get(at..)?) {
            return Some(at);
        }
        from = at.saturating_add(1);
    }
}

pub(super) fn begins_stream(bytes: &[u8]) -> bool {
    let version = bytes.get(MAGIC.len()..).and_then(<[u8]>::first_chunk);
    let is_version = version
        .is_none_or(|bytes| format::Version::from_number(u32::from_le_bytes(*bytes)).is_some());
    let command = bytes.get(format::STREAM_HEADER_LEN..).unwrap_or_default();
    let number = raw::parse_header(command).map(|(_, number, _)| number);
    is_version
        && number.is_none_or(|number| {
            let kind = CommandKind::from_number(number);
            matches!(kind, Some(CommandKind::Subvol | CommandKind::Snapshot))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u8, number: u8) -> Vec<u8> {
        let mut bytes = b"btrfs-stream\0".to_vec();
        bytes.extend([version, 0, 0, 0, 9, 0, 0, 0, number, 0, 1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn headers_are_found_and_look_alikes_are_not() {
        let good = header(2, 1);
        for before in [
            &b""[..],
            b"x",
            b"btrfs-stream",
            &header(9, 1),
            &header(2, 15),
        ] {
            let bytes = [before, &good].concat();
            assert_eq!(find_header(&bytes), Some(before.len()), "{before:?}");
        }
        assert_eq!(find_header(&header(4, 1)), None);
        // Cut short, it may be one.
        assert_eq!(find_header(&good[..14]), Some(0));
        assert_eq!(find_header(&good[..12]), None);
        assert_eq!(find_header(b""), None);
    }

    #[test]
    fn compressors_are_named() {
        assert_eq!(
            Foreign::of(&[0x1f, 0x8b, 8, 0], 0),
            Foreign::Compressed("gzip")
        );
        // As `xz --format=lzma` begins: a dictionary of 8 MiB, no length.
        let lzma = b"]\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0";
        assert_eq!(Foreign::of(lzma, 0), Foreign::Compressed("lzma"));
        assert_eq!(Foreign::of(b"]\0\0\0Y\0\0\0\x12lzo", 0), Foreign::Unknown);
        assert_eq!(Foreign::of(b"\0\0\0", 0), Foreign::Zeroes);
        assert_eq!(Foreign::of(b"At subvol x\n", 0), Foreign::Unknown);
        let text = [&b"At subvol snapshot\n\n"[..], &header(1, 2)].concat();
        assert_eq!(Foreign::of(&text, 100), Foreign::HeaderAt(120));
    }
}
