//! What each code of a finding means, and which readers fail when its rule is broken, and how.

use std::fmt;

/// The meaning of one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The code that findings carry.
    pub code: &'static str,
    /// The rule, in one sentence.
    pub rule: &'static str,
    /// Which kernels or programs show it when the rule is broken, and how.
    pub effect: &'static str,
}

impl Explanation {
    /// The explanation of a code of somebody's own, beside those of this library.
    #[must_use]
    pub const fn new(code: &'static str, rule: &'static str, effect: &'static str) -> Self {
        Self { code, rule, effect }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  rule:   {}\n  effect: {}",
            self.code, self.rule, self.effect
        )
    }
}

/// The explanation of a code, if there is such a code.
///
/// ```
/// use btrfs_payload::validate::explain;
/// assert!(explain("lzo-header-straddles").unwrap().rule.contains("sector"));
/// assert!(explain("no-such-code").is_none());
/// ```
#[must_use]
pub fn explain(code: &str) -> Option<&'static Explanation> {
    explanations()
        .iter()
        .find(|explanation| explanation.code == code)
}

/// Every code with its explanation; the first table of docs/findings.md is made of it.
#[must_use]
pub fn explanations() -> &'static [Explanation] {
    &TABLE
}

macro_rules! table {
    ($($code:literal, $rule:literal, $effect:literal;)*) => {
        [$(Explanation::new($code, $rule, $effect)),*]
    };
}

const TABLE: [Explanation; 65] = table![
    // What the ioctl refuses, whatever the payload.
    "not-encoded", "an encoded write names a compression type", "every kernel refuses it with EINVAL; plain data takes an ordinary write";
    "unknown-compression", "the compression type is one of 1 to 7", "every kernel refuses it with EINVAL";
    "encrypted", "the encryption type is 0", "every kernel refuses it with EINVAL, and btrfs receive stops";
    "slice-offset-beyond-end", "unencoded_offset lies inside the decoded bytes", "every kernel refuses it with EINVAL";
    "slice-beyond-end", "the slice that the file shows ends inside the decoded bytes", "every kernel refuses it with EINVAL";
    "empty-payload", "there is at least one byte of payload", "every kernel returns 0 and writes nothing, which looks like success";
    "empty-slice", "len is at least 1", "every kernel returns 0 and writes nothing, which looks like success";
    "beyond-largest-file", "the write ends at or below file offset 2^63 - 1", "every kernel refuses it with EINVAL";
    "lzo-other-sector-size", "an LZO payload is laid out for the sector size of the filesystem", "every kernel refuses it with EINVAL; btrfs receive then decompresses and writes plain data";
    "file-without-checksums", "the file is neither NODATASUM nor NODATACOW", "kernels refuse it with EINVAL; those from before the fix of early 2024 store an extent without checksums";
    "unencoded-too-long", "unencoded_len is at most 131072 bytes", "every kernel refuses it with EINVAL";
    "payload-too-long", "the payload is at most 131072 bytes", "every kernel refuses it with EINVAL";
    "not-smaller", "the payload is smaller than unencoded_len", "every kernel refuses it with EINVAL";
    "unaligned-offset", "the file offset is a multiple of the sector size", "every kernel refuses it with EINVAL";
    "unaligned-end", "a write that ends before the end of the file ends at a multiple of the sector size", "every kernel refuses it with EINVAL";
    "unaligned-unencoded-offset", "unencoded_offset is a multiple of the sector size", "every kernel refuses it with EINVAL";

    // What concerns every codec.
    "unsafe-payload", "the payload keeps clear of what some kernel does not survive", "undefined on some kernels; this crate never submits such a payload";
    "decodes-too-long", "the payload decodes to at most unencoded_len bytes", "kernels cut the rest off, and so does the fallback of btrfs receive for zstd, but not for zlib and LZO; a warning where it is a small file's only extent and decodes to at most a sector, as Linux 7 makes inline extents; an inline zlib extent of more than that gives memory that no decoder wrote (undefined-read) from 6.8 on";
    "decodes-too-short", "the payload decodes to everything that the file shows", "a regular extent reads as zeroes after it, for every reader; an inline extent gives EIO from 6.8 on (zstd 6.9), and before that zeroes for LZO, memory that no decoder wrote (undefined-read) for zlib and zstd";

    // zlib
    "zlib-header", "the payload starts with the header of a zlib stream: method 8, a correct FCHECK", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zlib-dictionary", "the stream needs no preset dictionary", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zlib-truncated", "the stream ends inside the payload", "kernels decode the padding as if it were data: wrong bytes, EIO, or (inline) memory that no decoder wrote; the fallback of btrfs receive fails";
    "zlib-no-final-block", "the last block of the stream is marked as the last", "kernels give EIO for the last page, or (inline, from 6.8 on) memory that no decoder wrote; the fallback of btrfs receive fails";
    "zlib-block-damaged", "every block obeys RFC 1951", "kernels give EIO from the page on where the damage is; the fallback of btrfs receive fails";
    "zlib-no-end-of-block", "every dynamic block has a code for its end", "the fallback of btrfs receive fails, kernels decode it";
    "zlib-distance", "a match starts inside the decoded bytes", "kernels give EIO from the page on where it is; the fallback of btrfs receive fails";
    "zlib-beyond-window", "a match starts inside the declared window", "none while no output chunk lies between; it works by luck";
    "zlib-adler32", "the stream ends with the adler32 of what it decodes to", "6.1 and older on x86 give EIO for the headers 78 9c and 78 da, the fallback of btrfs receive fails, other kernels do not look";
    "zlib-behind-stream", "nothing lies after the stream but the zeroes that fill the sector", "every reader stops at the end of the stream, so the bytes are wasted; it is an error where a second stream follows and the first lacks data, which then reads as zeroes";
    "zlib-silent-page", "every page of the payload yields at least one byte", "kernels with pages of that size (4 or 64 KiB) give EIO there when they still want data; the fallback of btrfs receive decodes it";

    // LZO
    "lzo-too-short", "the payload has a total, a segment header and an end marker: 11 bytes", "kernels read zeroes or give EIO or (inline) EUCLEAN; the fallback of btrfs receive reads zeroes or fails";
    "lzo-total", "the total is at most 131072 and not more than the payload", "kernels give EIO unless padding makes up for it, the fallback of btrfs receive fails";
    "lzo-total-not-in-last-sector", "the total ends in the last sector of the payload", "every kernel gives EIO for the whole extent; the fallback of btrfs receive decodes what the total covers";
    "lzo-behind-total", "nothing lies after the total but the zeroes that fill the sector", "an inline extent gives EUCLEAN; in a regular one the bytes are wasted";
    "lzo-header-truncated", "every segment header lies inside the total and the payload", "kernels give EIO where they still want data, the fallback of btrfs receive fails";
    "lzo-header-straddles", "no segment header crosses a sector boundary: fewer than 4 bytes before it are padding", "every kernel gives EIO from that segment on, the fallback of btrfs receive fails";
    "lzo-padding-not-zero", "padding before a header is zero", "none: every reader skips it unseen, but the bytes may be anything, other people's data included";
    "lzo-segment-length", "a segment has at least 3 bytes and at most what an incompressible sector grows to", "kernels give EIO from that segment on, those before 7.0 measuring by the page where it is larger; the fallback of btrfs receive fails where there are fewer than 3";
    "lzo-segment-truncated", "a segment ends inside the total and the payload", "the fallback of btrfs receive fails; kernels decode what lies after, or give EIO";
    "lzo-run-length", "a segment is plain LZO1X, without the run-length marker", "the fallback of btrfs receive fails, kernels decode it";
    "lzo-segment-damaged", "a segment obeys LZO1X and ends with its end marker", "every kernel gives EIO from that segment on, the fallback of btrfs receive fails";
    "lzo-segment-output", "a segment decodes to at most a sector", "the fallback of btrfs receive fails; kernels take up to the same excess as for segment lengths";
    "lzo-segment-not-a-sector", "every segment but the last decodes to a sector", "none: readers join what they decode; nobody else writes such payloads";
    "lzo-too-many-segments", "there are no more segments than an extent has sectors", "none: every reader stops when it has what it wants, and joins what is short; nobody else writes such payloads";
    "lzo-inline-shape", "what may become inline is one segment that fills the payload", "every kernel gives EUCLEAN where it lands inline; elsewhere, and by the fallback of btrfs receive, it is decoded";

    // zstd
    "zstd-magic", "the payload starts with the magic number of a zstd frame", "every kernel gives EIO, the fallback of btrfs receive fails, or reads zeroes where the payload ends inside the frame header";
    "zstd-skippable-first", "the first frame is not a skippable one", "kernels read zeroes for the whole extent without an error (inline: EIO from 6.9 on), and so does the fallback of btrfs receive";
    "zstd-empty-frame", "the frame holds data", "kernels read zeroes for the whole extent without an error (inline: EIO from 6.9 on), and so does the fallback of btrfs receive";
    "zstd-reserved-bit", "the reserved bit of the frame header is 0", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zstd-unused-bit", "the unused bit of the frame header is 0", "none: no decoder looks at it";
    "zstd-window", "the window is at most 128 KiB", "whether a kernel can read a larger one depends on its memory at that time: EIO otherwise";
    "zstd-dictionary", "the frame needs no dictionary", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zstd-dictionary-id-zero", "the frame header has no dictionary field", "none: a dictionary ID of 0 means none; the bytes are wasted";
    "zstd-content-size-absent", "the frame header states the content size", "none up to a window of 128 KiB; tools cannot tell the size without decoding";
    "zstd-content-size", "the stated content size is what the frame decodes to, at most 131072", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zstd-truncated", "the frame ends inside the payload, with a block marked as the last", "kernels read zeroes from the cut on, often for the whole extent, without an error, or give EIO where the padding seems to complete a block; inline EIO from 6.9 on; the fallback of btrfs receive reads zeroes";
    "zstd-checksum-truncated", "an announced checksum is there", "kernels take padding for the checksum and give EIO for the last page; the fallback of btrfs receive does not miss it";
    "zstd-checksum", "the checksum is that of the content", "kernels give EIO for the last page (where the checksum starts an input page they never look), the fallback of btrfs receive fails";
    "zstd-reserved-block", "no block is of the reserved type", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zstd-block-too-large", "a block, stored and decoded, is not larger than the window", "kernels give EIO where they do not decode the frame in one step; the fallback of btrfs receive may decode it";
    "zstd-offset-beyond-window", "a match starts inside the window", "kernels give EIO where their buffer is no larger than the window; the fallback of btrfs receive may decode it";
    "zstd-offset-beyond-start", "a match starts inside the decoded bytes", "every kernel gives EIO, the fallback of btrfs receive fails";
    "zstd-behind-frame", "nothing lies after the frame but the zeroes that fill the sector", "none: every reader stops at the end of the frame; the bytes are wasted";
    "zstd-second-frame", "there is one frame", "every reader stops at the end of the first, so what the second holds never appears; it is an error where the first lacks data, which then reads as zeroes; zstd's own tools join frames";
    "zstd-block-damaged", "every block obeys the zstd format (RFC 8878)", "every kernel gives EIO from there on, the fallback of btrfs receive fails";
];
