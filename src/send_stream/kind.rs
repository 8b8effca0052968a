//! The table of commands, and what it says of each kind: number, version, name, attributes.

use std::fmt;

use super::format::{Attribute, Version};

/// The table of commands, handed to the macro named: number, since which version, name, and the
/// attributes in the order in which the kernel emits them (fs/btrfs/send.c). `needed` is what
/// every receiver needs, `optional` what it does without. `check` names a function that refuses
/// values no receiver takes.
///
/// It is expanded here into [`CommandKind`], and in `command` into the structs.
macro_rules! command_table {
    ($expand:ident) => {
        $expand! {
            /// Creates the subvolume of a full stream.
            1 V1 "subvol" Subvol {
                /// Name of the subvolume.
                path: needed Bytes = Path,
                /// Its identity at the sender.
                uuid: needed Uuid = Uuid,
                /// Transaction of its last change at the sender.
                ctransid: needed u64 = Ctransid,
            }

            /// Creates the subvolume of an incremental stream from one already received.
            2 V1 "snapshot" Snapshot {
                /// Name of the subvolume.
                path: needed Bytes = Path,
                /// Its identity at the sender.
                uuid: needed Uuid = Uuid,
                /// Transaction of its last change at the sender.
                ctransid: needed u64 = Ctransid,
                /// Identity of the parent.
                clone_uuid: needed Uuid = CloneUuid,
                /// Transaction of the parent's last change.
                clone_ctransid: needed u64 = CloneCtransid,
            }

            /// Creates an empty file.
            3 V1 "mkfile" MkFile {
                /// Path of the file.
                path: needed Bytes = Path,
                /// Inode number at the sender.
                ino: needed u64 = Ino,
            }

            /// Creates a directory.
            4 V1 "mkdir" MkDir {
                /// Path of the directory.
                path: needed Bytes = Path,
                /// Inode number at the sender.
                ino: needed u64 = Ino,
            }

            /// Creates a device node.
            5 V1 "mknod" MkNod {
                /// Path of the node.
                path: needed Bytes = Path,
                /// Inode number at the sender.
                ino: needed u64 = Ino,
                /// Device number.
                rdev: needed u64 = Rdev,
                /// File type and permissions.
                mode: needed u64 = Mode,
            }

            /// Creates a named pipe.
            6 V1 "mkfifo" MkFifo {
                /// Path of the pipe.
                path: needed Bytes = Path,
                /// Inode number at the sender.
                ino: needed u64 = Ino,
                /// Device number, without a meaning here.
                rdev: optional u64 = Rdev,
                /// File type and permissions.
                mode: optional u64 = Mode,
            }

            /// Creates a socket.
            7 V1 "mksock" MkSock {
                /// Path of the socket.
                path: needed Bytes = Path,
                /// Inode number at the sender.
                ino: needed u64 = Ino,
                /// Device number, without a meaning here.
                rdev: optional u64 = Rdev,
                /// File type and permissions.
                mode: optional u64 = Mode,
            }

            /// Creates a symbolic link.
            8 V1 "symlink" Symlink {
                /// Path of the link.
                path: needed Bytes = Path,
                /// Inode number at the sender.
                ino: needed u64 = Ino,
                /// What it points to.
                path_link: needed Bytes = PathLink,
            }

            /// Moves a file or directory.
            9 V1 "rename" Rename {
                /// Old path.
                path: needed Bytes = Path,
                /// New path.
                path_to: needed Bytes = PathTo,
            }

            /// Adds a name to a file.
            10 V1 "link" Link {
                /// The new name's path.
                path: needed Bytes = Path,
                /// A path the file has.
                path_link: needed Bytes = PathLink,
            }

            /// Removes a name of a file.
            11 V1 "unlink" Unlink {
                /// The path.
                path: needed Bytes = Path,
            }

            /// Removes an empty directory.
            12 V1 "rmdir" RmDir {
                /// The path.
                path: needed Bytes = Path,
            }

            /// Sets an extended attribute.
            13 V1 "set_xattr" SetXattr {
                /// Path of the file.
                path: needed Bytes = Path,
                /// The attribute's name, with its namespace.
                xattr_name: needed Bytes = XattrName,
                /// The attribute's value.
                xattr_data: needed Bytes = XattrData,
            }

            /// Removes an extended attribute.
            14 V1 "remove_xattr" RemoveXattr {
                /// Path of the file.
                path: needed Bytes = Path,
                /// The attribute's name, with its namespace.
                xattr_name: needed Bytes = XattrName,
            }

            /// Writes plain data.
            15 V1 "write" Write {
                /// Path of the file.
                path: needed Bytes = Path,
                /// Offset in the file, bytes.
                file_offset: needed u64 = FileOffset,
                /// The data.
                data: needed Bytes = Data,
            }

            /// Shares a range of a file already received.
            16 V1 "clone" Clone {
                /// Offset in the file, bytes.
                file_offset: needed u64 = FileOffset,
                /// Length of the range, bytes.
                clone_len: needed u64 = CloneLen,
                /// Path of the file.
                path: needed Bytes = Path,
                /// Identity of the subvolume cloned from.
                clone_uuid: needed Uuid = CloneUuid,
                /// Transaction of that subvolume's last change.
                clone_ctransid: needed u64 = CloneCtransid,
                /// Path of the file cloned from.
                clone_path: needed Bytes = ClonePath,
                /// Offset in the file cloned from, bytes.
                clone_offset: needed u64 = CloneOffset,
            }

            /// Sets the size of a file.
            17 V1 "truncate" Truncate {
                /// Path of the file.
                path: needed Bytes = Path,
                /// The size, bytes.
                size: needed u64 = Size,
            }

            /// Sets the permissions.
            18 V1 "chmod" Chmod {
                /// The path.
                path: needed Bytes = Path,
                /// The permissions.
                mode: needed u64 = Mode,
            }

            /// Sets owner and group.
            19 V1 "chown" Chown {
                /// The path.
                path: needed Bytes = Path,
                /// Owner.
                uid: needed u64 = Uid,
                /// Group.
                gid: needed u64 = Gid,
            }

            /// Sets the times.
            20 V1 "utimes" Utimes {
                /// The path.
                path: needed Bytes = Path,
                /// Last access.
                atime: needed Timespec = Atime,
                /// Last change of the data.
                mtime: needed Timespec = Mtime,
                /// Last change of the inode.
                ctime: needed Timespec = Ctime,
                /// Creation; since version 2.
                otime: optional Timespec = Otime,
            }

            /// Ends a stream.
            21 V1 "end" End {}

            /// Tells of changed data without sending it (`btrfs send --no-data`).
            22 V1 "update_extent" UpdateExtent {
                /// Path of the file.
                path: needed Bytes = Path,
                /// Offset in the file, bytes.
                file_offset: needed u64 = FileOffset,
                /// Length of the range, bytes.
                size: needed u64 = Size,
            }

            /// Calls fallocate(2): kernels punch holes with it.
            23 V2 "fallocate" Fallocate {
                /// Path of the file.
                path: needed Bytes = Path,
                /// Mode argument of the call.
                fallocate_mode: needed u32 = FallocateMode,
                /// Offset in the file, bytes.
                file_offset: needed u64 = FileOffset,
                /// Length of the range, bytes.
                size: needed u64 = Size,
            }

            /// Sets the inode's flags.
            24 V2 "fileattr" Fileattr {
                /// The path.
                path: needed Bytes = Path,
                /// The flags as btrfs stores them.
                fileattr: needed u64 = Fileattr,
            }

            /// Writes an encoded extent.
            25 V2 "encoded_write" EncodedWrite check EncodedWrite::check {
                /// Path of the file.
                path: needed Bytes = Path,
                /// Offset in the file, bytes.
                file_offset: needed u64 = FileOffset,
                /// Bytes of the file it stands for.
                unencoded_file_len: needed u64 = UnencodedFileLen,
                /// Bytes the payload decodes to.
                unencoded_len: needed u64 = UnencodedLen,
                /// Where in the decoded bytes the file's part begins, bytes.
                unencoded_offset: needed u64 = UnencodedOffset,
                /// Compression type; absent means none.
                compression: optional EncodedIoId = Compression,
                /// Encryption type; absent means none. Kernels leave it out for inline extents.
                encryption: optional u32 = Encryption,
                /// The payload. Kernels send it with its padding to the sector.
                data: needed Bytes = Data,
            }

            /// Turns fs-verity on for a file.
            26 V3 "enable_verity" EnableVerity {
                /// Path of the file.
                path: needed Bytes = Path,
                /// Hash algorithm.
                verity_algorithm: needed u8 = VerityAlgorithm,
                /// Block size, bytes.
                verity_block_size: needed u32 = VerityBlockSize,
                /// Salt.
                verity_salt_data: needed Bytes = VeritySaltData,
                /// Signature.
                verity_sig_data: needed Bytes = VeritySigData,
            }
        }
    };
}
pub(super) use command_table;

/// How a command uses an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AttributeUse {
    /// The attribute.
    pub attribute: Attribute,
    /// A receiver does without it.
    pub optional: bool,
}

/// The word of the table as [`AttributeUse::optional`].
macro_rules! is_optional {
    (needed) => {
        false
    };
    (optional) => {
        true
    };
}

/// Makes [`CommandKind`] from the table.
macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $number:literal $since:ident $name:literal $command:ident $(check $check:path)? {
            $( $(#[$field_doc:meta])* $field:ident: $presence:ident $type:ty = $attribute:ident, )*
        }
    )*) => {
        /// The commands (`enum btrfs_send_cmd`).
        #[non_exhaustive]
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
                            optional: is_optional!($presence),
                        },
                    )*] }, )*
                }
            }
        }
    };
}

command_table!(kinds);

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
