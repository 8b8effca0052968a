//! The commands as Rust types: one table that both the reader and the writer go by.
//!
//! Each command is a struct whose fields are its attributes in the order in which the kernel
//! emits them (fs/btrfs/send.c); [`Command`] is any of them. A field of type `Option` is an
//! attribute that a receiver does not need. Paths and names are bytes: they need not be text.

use std::fmt;

use bytes::Bytes;

use super::format::{Attribute, Version};
use super::issue::CommandError;
use super::raw::RawCommand;
use super::value::{Field, Timespec, Uuid};
use super::write::{AttributeWriter, EncodeError};
use crate::extent::EncodedExtent;
use crate::rules::{EncodedIoId, ExtentFields, Target, WriteCall, WriteRule};

/// A command that can be written.
///
/// [`Command`] and the structs of this module are all there are: the trait cannot be
/// implemented elsewhere.
pub trait Encode: sealed::Encode {}

pub(super) mod sealed {
    use super::{AttributeWriter, CommandKind, EncodeError};

    pub trait Encode {
        /// Which command it is.
        fn kind(&self) -> CommandKind;

        /// Writes the attributes in the kernel's order.
        fn put(&self, to: &mut AttributeWriter<'_>) -> Result<(), EncodeError>;
    }
}

/// How a command uses an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttributeUse {
    /// The attribute.
    pub attribute: Attribute,
    /// A receiver does without it.
    pub optional: bool,
}

/// Makes [`CommandKind`], [`Command`] and the structs from one table: number, since which
/// version, name, fields with their attributes. `check` names a function that refuses values
/// no receiver takes.
macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $number:literal $since:ident $name:literal $command:ident $(check $check:path)? {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty = $attribute:ident, )*
        }
    )*) => {
        /// The commands (`enum btrfs_send_cmd`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CommandKind {
            $( $(#[$doc])* $command, )*
        }

        impl CommandKind {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$( Self::$command, )*];

            /// The number in the stream.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    $( Self::$command => $number, )*
                }
            }

            /// The command of this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$command), )*
                    _ => None,
                }
            }

            /// The kernel's name of it, lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$command => $name, )*
                }
            }

            /// The first version that has it.
            #[must_use]
            pub const fn since(self) -> Version {
                match self {
                    $( Self::$command => Version::$since, )*
                }
            }

            /// Its attributes in the order in which the kernel emits them.
            #[must_use]
            pub fn attributes(self) -> &'static [AttributeUse] {
                match self {
                    $( Self::$command => const { &[$(
                        AttributeUse {
                            attribute: Attribute::$attribute,
                            optional: <$type as Field>::OPTIONAL,
                        },
                    )*] }, )*
                }
            }
        }

        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Hash)]
            pub struct $command {
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            impl sealed::Encode for $command {
                fn kind(&self) -> CommandKind {
                    CommandKind::$command
                }

                #[allow(unused_variables)] // END has no attributes.
                fn put(&self, to: &mut AttributeWriter<'_>) -> Result<(), EncodeError> {
                    $( $check(self)?; )?
                    $( self.$field.write(Attribute::$attribute, to)?; )*
                    Ok(())
                }
            }

            impl Encode for $command {}

            impl From<$command> for Command {
                fn from(command: $command) -> Self {
                    Self::$command(command)
                }
            }
        )*

        /// A command of any kind.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Command {
            $( $(#[$doc])* $command($command), )*
        }

        impl Command {
            /// Reads the attributes of a command. Byte strings are slices of the command's
            /// buffer.
            ///
            /// A wrong checksum, unknown attributes and the like do not stand in the way:
            /// [`RawCommand::issues`] tells of them.
            ///
            /// # Errors
            /// [`CommandError`] when the command is unknown, an attribute it needs is missing
            /// or has the wrong size, or the attributes do not fit the command's length.
            pub fn parse(raw: &RawCommand) -> Result<Self, CommandError> {
                let kind = raw.kind().ok_or_else(|| raw.unknown())?;
                #[allow(unused_variables)] // END has no attributes.
                let attributes = raw.index_attributes(kind)?;
                Ok(match kind {
                    $( CommandKind::$command => Self::$command($command {
                        $( $field: Field::read(&attributes, Attribute::$attribute)?, )*
                    }), )*
                })
            }
        }

        impl sealed::Encode for Command {
            fn kind(&self) -> CommandKind {
                match self {
                    $( Self::$command(_) => CommandKind::$command, )*
                }
            }

            fn put(&self, to: &mut AttributeWriter<'_>) -> Result<(), EncodeError> {
                match self {
                    $( Self::$command(command) => command.put(to), )*
                }
            }
        }

        impl Encode for Command {}
    };
}

commands! {
    /// Creates the subvolume of a full stream.
    1 V1 "subvol" Subvol {
        /// Name of the subvolume.
        path: Bytes = Path,
        /// Its identity at the sender.
        uuid: Uuid = Uuid,
        /// Transaction of its last change at the sender.
        ctransid: u64 = Ctransid,
    }

    /// Creates the subvolume of an incremental stream from one already received.
    2 V1 "snapshot" Snapshot {
        /// Name of the subvolume.
        path: Bytes = Path,
        /// Its identity at the sender.
        uuid: Uuid = Uuid,
        /// Transaction of its last change at the sender.
        ctransid: u64 = Ctransid,
        /// Identity of the parent.
        clone_uuid: Uuid = CloneUuid,
        /// Transaction of the parent's last change.
        clone_ctransid: u64 = CloneCtransid,
    }

    /// Creates an empty file.
    3 V1 "mkfile" MkFile {
        /// Path of the file.
        path: Bytes = Path,
        /// Inode number at the sender.
        ino: u64 = Ino,
    }

    /// Creates a directory.
    4 V1 "mkdir" MkDir {
        /// Path of the directory.
        path: Bytes = Path,
        /// Inode number at the sender.
        ino: u64 = Ino,
    }

    /// Creates a device node.
    5 V1 "mknod" MkNod {
        /// Path of the node.
        path: Bytes = Path,
        /// Inode number at the sender.
        ino: u64 = Ino,
        /// Device number.
        rdev: u64 = Rdev,
        /// File type and permissions.
        mode: u64 = Mode,
    }

    /// Creates a named pipe.
    6 V1 "mkfifo" MkFifo {
        /// Path of the pipe.
        path: Bytes = Path,
        /// Inode number at the sender.
        ino: u64 = Ino,
        /// Device number, without a meaning here.
        rdev: Option<u64> = Rdev,
        /// File type and permissions.
        mode: Option<u64> = Mode,
    }

    /// Creates a socket.
    7 V1 "mksock" MkSock {
        /// Path of the socket.
        path: Bytes = Path,
        /// Inode number at the sender.
        ino: u64 = Ino,
        /// Device number, without a meaning here.
        rdev: Option<u64> = Rdev,
        /// File type and permissions.
        mode: Option<u64> = Mode,
    }

    /// Creates a symbolic link.
    8 V1 "symlink" Symlink {
        /// Path of the link.
        path: Bytes = Path,
        /// Inode number at the sender.
        ino: u64 = Ino,
        /// What it points to.
        path_link: Bytes = PathLink,
    }

    /// Moves a file or directory.
    9 V1 "rename" Rename {
        /// Old path.
        path: Bytes = Path,
        /// New path.
        path_to: Bytes = PathTo,
    }

    /// Adds a name to a file.
    10 V1 "link" Link {
        /// The new name's path.
        path: Bytes = Path,
        /// A path the file has.
        path_link: Bytes = PathLink,
    }

    /// Removes a name of a file.
    11 V1 "unlink" Unlink {
        /// The path.
        path: Bytes = Path,
    }

    /// Removes an empty directory.
    12 V1 "rmdir" RmDir {
        /// The path.
        path: Bytes = Path,
    }

    /// Sets an extended attribute.
    13 V1 "set_xattr" SetXattr {
        /// Path of the file.
        path: Bytes = Path,
        /// The attribute's name, with its namespace.
        xattr_name: Bytes = XattrName,
        /// The attribute's value.
        xattr_data: Bytes = XattrData,
    }

    /// Removes an extended attribute.
    14 V1 "remove_xattr" RemoveXattr {
        /// Path of the file.
        path: Bytes = Path,
        /// The attribute's name, with its namespace.
        xattr_name: Bytes = XattrName,
    }

    /// Writes plain data.
    15 V1 "write" Write {
        /// Path of the file.
        path: Bytes = Path,
        /// Offset in the file, bytes.
        file_offset: u64 = FileOffset,
        /// The data.
        data: Bytes = Data,
    }

    /// Shares a range of a file already received.
    16 V1 "clone" Clone {
        /// Offset in the file, bytes.
        file_offset: u64 = FileOffset,
        /// Length of the range, bytes.
        clone_len: u64 = CloneLen,
        /// Path of the file.
        path: Bytes = Path,
        /// Identity of the subvolume cloned from.
        clone_uuid: Uuid = CloneUuid,
        /// Transaction of that subvolume's last change.
        clone_ctransid: u64 = CloneCtransid,
        /// Path of the file cloned from.
        clone_path: Bytes = ClonePath,
        /// Offset in the file cloned from, bytes.
        clone_offset: u64 = CloneOffset,
    }

    /// Sets the size of a file.
    17 V1 "truncate" Truncate {
        /// Path of the file.
        path: Bytes = Path,
        /// The size, bytes.
        size: u64 = Size,
    }

    /// Sets the permissions.
    18 V1 "chmod" Chmod {
        /// The path.
        path: Bytes = Path,
        /// The permissions.
        mode: u64 = Mode,
    }

    /// Sets owner and group.
    19 V1 "chown" Chown {
        /// The path.
        path: Bytes = Path,
        /// Owner.
        uid: u64 = Uid,
        /// Group.
        gid: u64 = Gid,
    }

    /// Sets the times.
    20 V1 "utimes" Utimes {
        /// The path.
        path: Bytes = Path,
        /// Last access.
        atime: Timespec = Atime,
        /// Last change of the data.
        mtime: Timespec = Mtime,
        /// Last change of the inode.
        ctime: Timespec = Ctime,
        /// Creation; since version 2.
        otime: Option<Timespec> = Otime,
    }

    /// Ends a stream.
    21 V1 "end" End {}

    /// Tells of changed data without sending it (`btrfs send --no-data`).
    22 V1 "update_extent" UpdateExtent {
        /// Path of the file.
        path: Bytes = Path,
        /// Offset in the file, bytes.
        file_offset: u64 = FileOffset,
        /// Length of the range, bytes.
        size: u64 = Size,
    }

    /// Calls fallocate(2): kernels punch holes with it.
    23 V2 "fallocate" Fallocate {
        /// Path of the file.
        path: Bytes = Path,
        /// Mode argument of the call.
        fallocate_mode: u32 = FallocateMode,
        /// Offset in the file, bytes.
        file_offset: u64 = FileOffset,
        /// Length of the range, bytes.
        size: u64 = Size,
    }

    /// Sets the inode's flags.
    24 V2 "fileattr" Fileattr {
        /// The path.
        path: Bytes = Path,
        /// The flags as btrfs stores them.
        fileattr: u64 = Fileattr,
    }

    /// Writes an encoded extent.
    25 V2 "encoded_write" EncodedWrite check EncodedWrite::check {
        /// Path of the file.
        path: Bytes = Path,
        /// Offset in the file, bytes.
        file_offset: u64 = FileOffset,
        /// Bytes of the file it stands for.
        unencoded_file_len: u64 = UnencodedFileLen,
        /// Bytes the payload decodes to.
        unencoded_len: u64 = UnencodedLen,
        /// Where in the decoded bytes the file's part begins, bytes.
        unencoded_offset: u64 = UnencodedOffset,
        /// Compression type; absent means none.
        compression: Option<EncodedIoId> = Compression,
        /// Encryption type; absent means none. Kernels leave it out for inline extents.
        encryption: Option<u32> = Encryption,
        /// The payload. Kernels send it with its padding to the sector.
        data: Bytes = Data,
    }

    /// Turns fs-verity on for a file.
    26 V3 "enable_verity" EnableVerity {
        /// Path of the file.
        path: Bytes = Path,
        /// Hash algorithm.
        verity_algorithm: u8 = VerityAlgorithm,
        /// Block size, bytes.
        verity_block_size: u32 = VerityBlockSize,
        /// Salt.
        verity_salt_data: Bytes = VeritySaltData,
        /// Signature.
        verity_sig_data: Bytes = VeritySigData,
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Command {
    /// Which command it is.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        sealed::Encode::kind(self)
    }
}

impl EncodedWrite {
    /// The command that writes a checked extent at an offset of a file.
    #[must_use]
    pub fn new(path: Bytes, file_offset: u64, extent: &EncodedExtent) -> Self {
        Self::claimed(path, file_offset, extent.fields(), extent.payload().clone())
    }

    /// The command for a payload of which nothing is known but what somebody claims.
    #[must_use]
    pub fn claimed(path: Bytes, file_offset: u64, fields: &ExtentFields, data: Bytes) -> Self {
        Self {
            path,
            file_offset,
            unencoded_file_len: fields.len,
            unencoded_len: fields.unencoded_len,
            unencoded_offset: fields.unencoded_offset,
            compression: Some(fields.compression),
            encryption: Some(fields.encryption),
            data,
        }
    }

    /// What the command claims of its payload.
    #[must_use]
    pub fn fields(&self) -> ExtentFields {
        ExtentFields {
            len: self.unencoded_file_len,
            unencoded_len: self.unencoded_len,
            unencoded_offset: self.unencoded_offset,
            compression: self.compression.unwrap_or(EncodedIoId::NONE),
            encryption: self.encryption.unwrap_or(0),
        }
    }

    /// Refuses what `btrfs receive` ends on, or takes without writing anything. Broken rules
    /// of the ioctl that only make it decode the payload itself are no reason to refuse:
    /// kernels send such extents.
    fn check(&self) -> Result<(), EncodeError> {
        let target = Target::default().at(self.file_offset);
        // `usize` has at most 64 bits on every platform Rust knows.
        let payload_len = u64::try_from(self.data.len()).unwrap_or(u64::MAX);
        WriteCall::new(payload_len, &self.fields(), &target)
            .broken_rules()
            .find(|rule| {
                matches!(
                    rule,
                    WriteRule::NotEncoded
                        | WriteRule::UnknownCompression { .. }
                        | WriteRule::Encryption { .. }
                        | WriteRule::OffsetBeyondEnd { .. }
                        | WriteRule::SliceBeyondEnd { .. }
                        | WriteRule::EmptyPayload
                        | WriteRule::EmptySlice
                        | WriteRule::BeyondLargestFile { .. }
                        | WriteRule::UnencodedTooLong { .. }
                        | WriteRule::PayloadTooLong { .. }
                )
            })
            .map_or(Ok(()), |rule| Err(EncodeError::EncodedWrite(rule)))
    }
}
