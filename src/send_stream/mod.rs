//! Reading and writing send streams of versions 1, 2 and 3.
//!
//! A send stream carries a subvolume, or the difference between two, as a series of commands.
//! This module takes streams apart and puts them together; it knows no codec and does not judge
//! what the commands say. From bottom to top: `format` (byte tables), `kind` (the table of
//! commands), `issue` and `frame` (what can be wrong, how a command is framed), `raw` (a command
//! as it stands), `lint` and `read`, `value` and `command` (typed commands), `write`.
//! [`Reader`] and [`Writer`] mirror each other.
//!
//! * [`Reader`] hands out [`RawCommand`]s: whole, in one buffer, with offset and number, the
//!   checksum verified, the attributes as bytes;
//! * [`RawCommand::issues`] tells what is wrong with one that can still be framed;
//! * [`Reader::skim_command`] passes over data without reading it;
//! * [`Command::parse`] gives the typed command;
//! * [`Writer`] takes typed commands, raw ones and extents.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use btrfs_payload::send_stream::{Command, Reader, Version, Writer, command};
//!
//! let mut writer = Writer::new(Vec::new(), Version::V2)?;
//! let end = command::Truncate { path: "log".into(), size: 0 };
//! writer.write_command(&end)?;
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
mod foreign;
pub mod format;
mod frame;
mod issue;
mod kind;
mod lint;
mod raw;
mod read;
mod resync;
mod skim;
mod value;
mod write;

pub use btrfs_payload_common::Truncated;
pub use command::{Command, Encode};
pub use foreign::Foreign;
pub use format::{Attribute, ValueType, Version};
pub use frame::EncodeError;
pub use issue::{CommandError, Issue};
pub use kind::{AttributeUse, CommandKind};
pub use raw::{RawAttribute, RawCommand};
pub use read::{IntoReader, ReadError, Reader};
pub use skim::{Skimmed, Skip};
pub use value::{AttributeValue, Timespec, Uuid};
pub use write::{WriteError, Writer};
