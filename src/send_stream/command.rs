//! The commands as Rust types, for reading and for writing.
//!
//! Each command is a struct whose fields are its attributes in the order in which the kernel
//! emits them (the table is in `kind`); [`Command`] is any of them. A field of type `Option` is an
//! attribute that a receiver does not need. Paths and names are bytes: they need not be text.
//!
//! The structs stay as they are within a major version, so that a producer writes them out, field
//! by field, and the compiler tells of one that is missing. [`Command`] may grow.

use bytes::Bytes;

use super::format::Attribute;
use super::frame::{AttributeWriter, EncodeError};
use super::issue::CommandError;
use super::kind::{CommandKind, command_table};
use super::raw::RawCommand;
use super::value::{Attributes, Field, Timespec, Uuid};
use crate::extent::{EncodedExtent, WrongPlace};
use crate::rules::limits::u64_of;
use crate::rules::{EncodedIoId, ExtentFields, Received, Target, WriteCall};

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

/// The type of a field: what is optional is an `Option`.
macro_rules! field_type {
    (needed $type:ty) => {
        $type
    };
    (optional $type:ty) => {
        Option<$type>
    };
}

/// Makes [`Command`] and the structs from the table.
macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $number:literal $since:ident $name:literal $command:ident $(check $check:path)? {
            $( $(#[$field_doc:meta])* $field:ident: $presence:ident $type:ty = $attribute:ident, )*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Hash)]
            pub struct $command {
                $( $(#[$field_doc])* pub $field: field_type!($presence $type), )*
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
        #[non_exhaustive]
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
                let attributes = Attributes::of(raw, kind)?;
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

command_table!(commands);

impl Command {
    /// Which command it is.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        sealed::Encode::kind(self)
    }
}

impl EncodedWrite {
    /// The command that writes a judged extent at an offset of a file, on a filesystem of the
    /// sector size that it was judged for. Whatever the stream does before, the file may be
    /// empty when it is received.
    ///
    /// # Errors
    /// [`WrongPlace::Inline`] at offset 0, for an extent that was not judged as an inline one.
    pub fn new(path: Bytes, file_offset: u64, extent: &EncodedExtent) -> Result<Self, WrongPlace> {
        extent.check_place(&Target::new(extent.sector_size()).at(file_offset))?;
        let (fields, payload) = (extent.fields(), extent.payload().clone());
        Ok(Self::claimed(path, file_offset, fields, payload))
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
        WriteCall::new(u64_of(self.data.len()), &self.fields(), &target)
            .broken_rules()
            .find(|rule| rule.is_too_long() || rule.received() != Received::FallsBack)
            .map_or(Ok(()), |rule| Err(EncodeError::EncodedWrite(rule)))
    }
}
