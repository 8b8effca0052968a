//! LZO1X, the code inside one segment.
//!
//! The kernel describes it in
//! [Documentation/staging/lzo.rst](https://docs.kernel.org/staging/lzo.html), as its decoder
//! (lib/lzo/lzo1x_decompress_safe.c) understands it.
//!
//! A segment is a run of instructions, each of which copies earlier output (a match: `length`
//! bytes from `distance` bytes back) or input bytes (literals). Matches never reach back over
//! the start of their segment. `d` and `l` are bits of distance and length, `s` is the number
//! of literals (0 to 3) that follow the match directly.
//!
//! | bytes | allowed | length | distance |
//! | --- | --- | --- | --- |
//! | `18..=255` | first byte only | `byte - 17` literals | |
//! | `0000llll` | after a match with `s` = 0, or first | `l + 3` literals; `l` = 0: 18 + extension | |
//! | `0000ddss D` | after a match with `s` > 0 | 2 | `D * 4 + d + 1` (1 to 1024) |
//! | `0000ddss D` | after 4 or more literals | 3 | `D * 4 + d + 2049` (2049 to 3072) |
//! | `lllddDss D` with `l` 2 to 7 | | `l + 1` (3 to 8) | `D * 8 + dd + 1` (1 to 2048) |
//! | `001lllll` ext `ddddddss dddddddd` | | `l + 2`; `l` = 0: 33 + extension | `d + 1` (1 to 16384) |
//! | `0001Dlll` ext `ddddddss dddddddd` | | `l + 2`; `l` = 0: 9 + extension | `D * 16384 + d + 16384` (16385 to 49151) |
//! | `0001 0001 000000ss 0` | | end marker: the previous form with distance 16384 | |
//!
//! The extension is any number of zero bytes, each worth 255, and one byte that is not zero,
//! worth itself. An end marker whose length field is not that of 17 is refused by the kernel's
//! decoder and taken by liblzo2.
//!
//! A first byte of 17 in a segment of five bytes or more is a marker of the kernel's
//! run-length extension: the byte after it is a version, LZO1X follows. Where the version is
//! not zero, `0001 1lll 111111ss 11111111 L` writes `L * 8 + l + 4` zeroes. Readers of btrfs
//! understand this because they share the decoder (lib/lzo, 5.1 and later); liblzo2 does not.
//! No segment of ours begins like that.

mod decode;
mod emit;
mod fast;
mod matches;
mod smallest;

pub(crate) use decode::run_length_version;
pub use decode::{Error, Fault, decode, decode_as_kernel, decode_as_liblzo};
pub(crate) use emit::stored;
pub use fast::Fast;
pub use smallest::Smallest;

/// Longest data that [`Fast`] and [`Smallest`] compress at a time, bytes: the largest sector.
pub const MAX_DATA: usize = crate::layout::MAX_SECTOR;

/// Longest length of the two-byte form of 3 to 8 bytes.
pub(crate) const M2_MAX_LEN: usize = 8;
/// Farthest distance of the two-byte form of 3 to 8 bytes.
pub(crate) const M2_MAX_DISTANCE: usize = 0x800;
/// Farthest distance of the form that starts with `001`.
pub(crate) const M3_MAX_DISTANCE: usize = 0x4000;
/// Longest length of the form that starts with `001`, without extension.
pub(crate) const M3_MAX_LEN: usize = 33;
/// Farthest distance of the form that starts with `0001`.
pub(crate) const M4_MAX_DISTANCE: usize = 0xbfff;
/// Longest length of the form that starts with `0001`, without extension.
pub(crate) const M4_MAX_LEN: usize = 9;
/// Farthest distance of the two-byte match of 2 bytes after one to three literals.
pub(crate) const M1_MAX_DISTANCE: usize = 0x400;
/// The end marker.
pub(crate) const END: [u8; 3] = [17, 0, 0];
/// First byte of a segment with the kernel's run-length extension.
pub(crate) const RUN_LENGTH_MARKER: u8 = 17;
/// Shortest segment in which that byte is the marker and not an end marker.
pub(crate) const RUN_LENGTH_MIN_LEN: usize = 5;
