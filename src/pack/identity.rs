//! The UUID of a subvolume, made from what was packed.

use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use super::error::PackError;
use super::names::InodeId;
use crate::rules::limits::u64_of;
use crate::send_stream::format::COMMAND_HEADER_LEN;
use crate::send_stream::{Command, RawCommand, Reader, Uuid, Version};
use crate::tree::digest::TreeDigest;

/// The inode number of the first file of a subvolume (`BTRFS_FIRST_FREE_OBJECTID` and its top
/// directory, fs/btrfs/ctree.h). Receivers choose their own.
const FIRST_INODE: u64 = 256;

pub(super) fn ino(inode: InodeId) -> u64 {
    FIRST_INODE.saturating_add(inode.into())
}

/// The UUID of a tree in a subvolume of this name: of version 8 (RFC 9562, section 5.8), whose other
/// bits are the maker's. That of an increment is also made from what its parent is known by: a tree
/// that is again what it was is another subvolume.
pub(super) fn uuid(subvolume: &[u8], tree: &TreeDigest, parent: Option<(Uuid, u64)>) -> Uuid {
    let mut hasher = Sha256::new();
    match parent {
        None => hasher.update(b"btrfs-payload pack 1\n"),
        Some((parent, ctransid)) => {
            hasher.update(b"btrfs-payload increment 1\n");
            hasher.update(parent.0);
            hasher.update(ctransid.to_le_bytes());
        }
    }
    hasher.update(tree.0);
    hasher.update(subvolume);
    let digest: [u8; 32] = hasher.finalize().into();
    let mut uuid = [0; 16];
    for (byte, from) in uuid.iter_mut().zip(digest) {
        *byte = from;
    }
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut uuid;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    Uuid(uuid)
}

/// An output in which commands can be written again.
pub(super) trait Seekable: Read + Write + Seek {}

impl<T: Read + Write + Seek> Seekable for T {}

/// Writes the UUID into the commands that carry it; they stand at these offsets from `start`, and
/// the output at its end, where it stands afterwards too.
pub(super) fn stamp(
    output: &mut dyn Seekable,
    start: u64,
    places: &[u64],
    version: Version,
    uuid: Uuid,
) -> Result<(), PackError> {
    let end = output.stream_position()?;
    for place in places {
        let at = start.saturating_add(*place);
        output.seek(SeekFrom::Start(at))?;
        let command = RawCommand::encode(&stamped(read(output, version)?, uuid), version)?;
        output.seek(SeekFrom::Start(at))?;
        output.write_all(command.bytes())?;
    }
    output.seek(SeekFrom::Start(end))?;
    output.flush()?;
    Ok(())
}

/// The command that begins here.
fn read(output: &mut dyn Seekable, version: Version) -> io::Result<Command> {
    let changed = || io::Error::other("the output does not hold what was written to it");
    let mut bytes = vec![0; COMMAND_HEADER_LEN];
    output.read_exact(&mut bytes)?;
    let len = bytes.first_chunk().copied().map_or(0, u32::from_le_bytes);
    // It has been written by us, and carries no data: at most two paths.
    output
        .take(u64::from(len).min(u64_of(version.max_command_len())))
        .read_to_end(&mut bytes)?;
    let mut reader = Reader::headerless(&bytes[..], version).end_optional();
    let raw = reader.read_command().map_err(|_| changed())?;
    let raw = raw.filter(RawCommand::crc_ok).ok_or_else(changed)?;
    Command::parse(&raw).map_err(|_| changed())
}

fn stamped(command: Command, uuid: Uuid) -> Command {
    match command {
        Command::Subvol(mut subvolume) => {
            subvolume.uuid = uuid;
            subvolume.into()
        }
        Command::Snapshot(mut snapshot) => {
            snapshot.uuid = uuid;
            snapshot.into()
        }
        Command::Clone(mut clone) => {
            clone.clone_uuid = uuid;
            clone.into()
        }
        other => other,
    }
}
