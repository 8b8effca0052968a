//! The layout of send streams: header, commands, attributes, and the numbers that bound them.
//!
//! All numbers are little-endian; nothing is aligned or padded. A stream is one header and
//! then commands up to and including `END`. Structures and numbers are those of
//! fs/btrfs/send.h (Linux 6.0 for version 2, 6.1 for version 3). btrfs-progs describe the format, and
//! which command needs what, in
//! [Send stream format](https://btrfs.readthedocs.io/en/latest/dev/dev-send-stream.html).
//!
//! | stream header | bytes | |
//! | --- | --- | --- |
//! | magic | 13 | `btrfs-stream` and a zero byte |
//! | version | 4 | 1, 2 or 3 |
//!
//! | command | bytes | |
//! | --- | --- | --- |
//! | length | 4 | of everything after this header |
//! | number | 2 | which command: [`CommandKind`](super::CommandKind) |
//! | checksum | 4 | CRC-32C of header (this field zero) and attributes |
//! | attributes | length | one after the other |
//!
//! | attribute | bytes | |
//! | --- | --- | --- |
//! | number | 2 | which attribute: [`Attribute`] |
//! | length | 2 | of the value; **absent for `DATA` since version 2** |
//! | value | length | `DATA` since version 2: everything up to the end of the command |
//!
//! The checksum starts at 0 and is not inverted at the end, unlike what CRC-32C usually means.
//!
//! The stream header has no checksum: a version damaged into another one that exists cannot be
//! told from its bytes.

use std::fmt;

/// The first bytes of every stream (`BTRFS_SEND_STREAM_MAGIC`).
pub const MAGIC: [u8; 13] = *b"btrfs-stream\0";

/// Bytes of the stream header (`struct btrfs_stream_header`).
pub const STREAM_HEADER_LEN: usize = 17;

/// Bytes of a command header (`struct btrfs_cmd_header`).
pub const COMMAND_HEADER_LEN: usize = 10;

/// Bytes of file data the kernel puts into one `WRITE` of version 1
/// (`BTRFS_SEND_READ_SIZE`, send.c up to 5.19).
pub const WRITE_DATA_V1: usize = 48 * 1024;

/// Bytes of file data the kernel puts into one `WRITE` since version 2 on 4 KiB pages, and the
/// largest payload of an `ENCODED_WRITE` (`BTRFS_MAX_COMPRESSED`). On 64 KiB pages kernels put
/// 176 KiB into a `WRITE`.
pub const WRITE_DATA_V2: usize = 128 * 1024;

/// Longest value an attribute with a length field can have, bytes.
pub const MAX_VALUE_LEN: usize = 0xffff;

/// Longest path a receiver can use, bytes without the terminating zero (`PATH_MAX`).
pub const MAX_PATH_LEN: usize = 4095;

/// Longest name of an extended attribute, bytes (`XATTR_NAME_MAX`).
pub const MAX_XATTR_NAME_LEN: usize = 255;

/// In the mode of a `FALLOCATE`: the size of the file stays (`FALLOC_FL_KEEP_SIZE`,
/// include/uapi/linux/falloc.h).
pub const KEEP_SIZE: u32 = 1;

/// In the mode of a `FALLOCATE`: the range becomes a hole (`FALLOC_FL_PUNCH_HOLE`). Linux wants
/// [`KEEP_SIZE`] with it.
pub const PUNCH_HOLE: u32 = 2;

/// In the mode of a `FALLOCATE`: the range reads as zeroes (`FALLOC_FL_ZERO_RANGE`).
pub const ZERO_RANGE: u32 = 16;

/// Longest command that is read unless the reader is told otherwise, bytes with its header. Since
/// version 2 no limit should be assumed (fs/btrfs/send.h of Linux 6.0); this one is for the memory.
pub const MAX_COMMAND_LEN: usize = 16 << 20;

/// Nanoseconds of a second: a time has fewer.
pub const NANOSECONDS: u32 = 1_000_000_000;

/// A version of the format. Ordered, so that what came with a version is written
/// `version >= Version::V2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// All kernels: plain data only, commands 1 to 22.
    V1,
    /// Linux 6.0: `ENCODED_WRITE`, `FALLOCATE`, `FILEATTR`, creation times, long `DATA`.
    V2,
    /// `ENABLE_VERITY`; kernels make it only in experimental builds.
    V3,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// The number in the stream header.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version of this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.number() == number)
    }

    /// True where `DATA` has no length field and runs to the end of its command.
    #[must_use]
    pub fn data_is_unbounded(self) -> bool {
        self >= Self::V2
    }

    /// Longest command written, bytes with its header; [`MAX_COMMAND_LEN`] is what is read.
    ///
    /// Version 1: 64 KiB, the kernel's buffer (`BTRFS_SEND_BUF_SIZE_V1`). Since version 2 the
    /// format has no limit; the kernel's buffer is 16 KiB + 128 KiB rounded up to a page
    /// (`BTRFS_SEND_BUF_SIZE_V2`), which for the largest page that Linux has, 256 KiB, is
    /// 256 KiB.
    ///
    /// ```
    /// use btrfs_payload::send_stream::Version;
    /// assert_eq!(Version::V1.max_command_len(), 65536);
    /// assert_eq!(Version::V2.max_command_len(), 262144);
    /// ```
    #[must_use]
    pub const fn max_command_len(self) -> usize {
        match self {
            Self::V1 => 64 * 1024,
            Self::V2 | Self::V3 => 256 * 1024,
        }
    }

    /// Bytes of file data one `WRITE` should carry: what the kernel puts in.
    #[must_use]
    pub const fn write_data_len(self) -> usize {
        match self {
            Self::V1 => WRITE_DATA_V1,
            Self::V2 | Self::V3 => WRITE_DATA_V2,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// The form of an attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// One byte.
    U8,
    /// Four bytes, little-endian.
    U32,
    /// Eight bytes, little-endian.
    U64,
    /// Sixteen bytes.
    Uuid,
    /// Eight bytes of seconds, four of nanoseconds.
    Timespec,
    /// Any bytes but zero, without a terminator.
    String,
    /// Any bytes.
    Data,
}

impl ValueType {
    /// Length of every value of this form, bytes; `None` for forms of any length.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::U8 => Some(1),
            Self::U32 => Some(4),
            Self::U64 => Some(8),
            Self::Uuid => Some(16),
            Self::Timespec => Some(12),
            Self::String | Self::Data => None,
        }
    }
}

/// Makes [`Attribute`] from one table: number, since which version, name, form.
macro_rules! attributes {
    ($( $(#[$doc:meta])* $number:literal $since:ident $name:literal $attribute:ident: $form:ident; )*) => {
        /// The attributes that commands are made of (`enum btrfs_send_attr`).
        #[non_exhaustive]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Attribute {
            $( $(#[$doc])* $attribute, )*
        }

        impl Attribute {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$( Self::$attribute, )*];

            /// The number in the stream.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    $( Self::$attribute => $number, )*
                }
            }

            /// The attribute of this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$attribute), )*
                    _ => None,
                }
            }

            /// The kernel's name of it, lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$attribute => $name, )*
                }
            }

            /// The form of its value.
            #[must_use]
            pub const fn value_type(self) -> ValueType {
                match self {
                    $( Self::$attribute => ValueType::$form, )*
                }
            }

            /// The first version whose streams carry it.
            #[must_use]
            pub const fn since(self) -> Version {
                match self {
                    $( Self::$attribute => Version::$since, )*
                }
            }
        }
    };
}

attributes! {
    /// Identity of the subvolume that is sent.
    1 V1 "uuid" Uuid: Uuid;
    /// Transaction in which it was last changed.
    2 V1 "ctransid" Ctransid: U64;
    /// Inode number.
    3 V1 "ino" Ino: U64;
    /// Bytes: a file's new size, or the length of a range.
    4 V1 "size" Size: U64;
    /// Permissions, and for device nodes the file type.
    5 V1 "mode" Mode: U64;
    /// Owner.
    6 V1 "uid" Uid: U64;
    /// Group.
    7 V1 "gid" Gid: U64;
    /// Device number, in the kernel's `new_encode_dev` form.
    8 V1 "rdev" Rdev: U64;
    /// Time of last change of the inode.
    9 V1 "ctime" Ctime: Timespec;
    /// Time of last change of the data.
    10 V1 "mtime" Mtime: Timespec;
    /// Time of last access.
    11 V1 "atime" Atime: Timespec;
    /// Time of creation. It has a number since version 1 and is sent since version 2.
    12 V2 "otime" Otime: Timespec;
    /// Name of an extended attribute.
    13 V1 "xattr_name" XattrName: String;
    /// Value of an extended attribute.
    14 V1 "xattr_data" XattrData: Data;
    /// The path a command is about, relative to the subvolume.
    15 V1 "path" Path: String;
    /// The new path.
    16 V1 "path_to" PathTo: String;
    /// What a link leads to.
    17 V1 "path_link" PathLink: String;
    /// Offset in the file, bytes.
    18 V1 "file_offset" FileOffset: U64;
    /// File data, or a payload.
    19 V1 "data" Data: Data;
    /// Identity of the subvolume cloned from.
    20 V1 "clone_uuid" CloneUuid: Uuid;
    /// Transaction of the subvolume cloned from.
    21 V1 "clone_ctransid" CloneCtransid: U64;
    /// Path of the file cloned from.
    22 V1 "clone_path" ClonePath: String;
    /// Offset in the file cloned from, bytes.
    23 V1 "clone_offset" CloneOffset: U64;
    /// Length of the cloned range, bytes.
    24 V1 "clone_len" CloneLen: U64;
    /// The mode argument of fallocate(2).
    25 V2 "fallocate_mode" FallocateMode: U32;
    /// The inode's flags as btrfs stores them (`BTRFS_INODE_*`).
    26 V2 "fileattr" Fileattr: U64;
    /// Bytes of the file that an encoded extent stands for.
    27 V2 "unencoded_file_len" UnencodedFileLen: U64;
    /// Bytes a payload decodes to.
    28 V2 "unencoded_len" UnencodedLen: U64;
    /// Where in the decoded bytes the file's part begins, bytes.
    29 V2 "unencoded_offset" UnencodedOffset: U64;
    /// Compression type, in the ioctl's numbering.
    30 V2 "compression" Compression: U32;
    /// Encryption type; only 0 is known.
    31 V2 "encryption" Encryption: U32;
    /// Hash algorithm of fs-verity.
    32 V3 "verity_algorithm" VerityAlgorithm: U8;
    /// Block size of fs-verity, bytes.
    33 V3 "verity_block_size" VerityBlockSize: U32;
    /// Salt of fs-verity.
    34 V3 "verity_salt_data" VeritySaltData: Data;
    /// Signature of fs-verity.
    35 V3 "verity_sig_data" VeritySigData: Data;
}

impl Attribute {
    /// Longest value a receiver can use where the attribute has a length field, bytes.
    #[must_use]
    pub const fn max_len(self) -> usize {
        match self {
            Self::Path | Self::PathTo | Self::PathLink | Self::ClonePath => MAX_PATH_LEN,
            Self::XattrName => MAX_XATTR_NAME_LEN,
            _ => MAX_VALUE_LEN,
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
