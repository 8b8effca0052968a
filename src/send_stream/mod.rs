//! Reading and writing send streams of versions 1, 2 and 3.
//!
//! A send stream carries a subvolume, or the difference between two, as a series of commands.
//! This room takes streams apart and puts them together; it knows no codec and does not judge
//! what the commands say. `format` has the byte tables, `command` the commands with their
//! attributes; [`Reader`] and [`Writer`] mirror each other.
//!
//! * [`Reader`] hands out [`RawCommand`]s: whole, in one buffer, with offset and number, the
//!   checksum verified, the attributes as bytes;
//! * [`RawCommand::issues`] tells what is wrong with one that can still be framed;
//! * [`Command::parse`] gives the typed command;
//! * [`Writer`] takes typed commands, raw ones and extents.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use btrfs_payload::send_stream::{Command, Reader, Version, Writer, command};
//!
//! let mut writer = Writer::new(Vec::new(), Version::V2)?;
//! let end = command::Truncate { path: "log".into(), size: 0 };
//! writer.command(&end)?;
//! let stream = writer.finish()?;
//!
//! let commands: Vec<Command> = Reader::new(&stream[..])
//!     .map(|raw| Ok(Command::parse(&raw?)?))
//!     .collect::<Result<_, Box<dyn std::error::Error>>>()?;
//! assert_eq!(commands, [end.into(), command::End {}.into()]);
//! # Ok(())
//! # }
//! ```

pub mod command;
mod crc;
pub mod format;
mod issue;
mod raw;
mod read;
mod value;
mod write;

pub use command::{AttributeUse, Command, CommandKind, Encode};
pub use format::{Attribute, ValueType, Version};
pub use issue::{CommandError, Issue};
pub use raw::{RawAttribute, RawCommand};
pub use read::{ReadError, Reader};
pub use value::{Timespec, Uuid};
pub use write::{EncodeError, WriteError, Writer};
