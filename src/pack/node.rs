//! What has no content: what it may be, and the command that makes it.

use bytes::Bytes;

use super::entry::Node;
use super::error::EntryFault;
use crate::send_stream::{Command, command};

/// File types of mknod(2) (include/uapi/linux/stat.h).
const CHAR_DEVICE: u32 = 0o020_000;
const BLOCK_DEVICE: u32 = 0o060_000;

/// Longest target of a symbolic link, bytes (`PATH_MAX` without the end of the path).
const MAX_TARGET: usize = 4095;

/// Whether there can be such a node.
pub(super) fn check_node(node: Node<'_>) -> Result<(), EntryFault> {
    match node {
        Node::Symlink(target) => {
            let got = target.len();
            if got == 0 || got > MAX_TARGET || target.contains(&0) {
                return Err(EntryFault::SymlinkTarget { got });
            }
        }
        Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
            if major > 0xfff || minor > 0xf_ffff {
                return Err(EntryFault::Device { major, minor });
            }
        }
        Node::Directory | Node::HardLink(_) | Node::Fifo | Node::Socket => {}
    }
    Ok(())
}

/// The command that makes a node, with these permissions where the command has some. A hard link is
/// made from its target's path as it is.
pub(super) fn made(path: &Bytes, ino: u64, node: Node<'_>, mode: u32) -> Command {
    let path = path.clone();
    let device = |path, kind: u32, major: u32, minor: u32| command::MkNod {
        path,
        ino,
        rdev: device_number(major, minor),
        mode: u64::from(kind | mode),
    };
    match node {
        Node::Directory => command::MkDir { path, ino }.into(),
        Node::HardLink(target) => command::Link {
            path,
            path_link: Bytes::copy_from_slice(target),
        }
        .into(),
        Node::Symlink(target) => command::Symlink {
            path,
            ino,
            path_link: Bytes::copy_from_slice(target),
        }
        .into(),
        Node::CharDevice { major, minor } => device(path, CHAR_DEVICE, major, minor).into(),
        Node::BlockDevice { major, minor } => device(path, BLOCK_DEVICE, major, minor).into(),
        Node::Fifo => command::MkFifo {
            path,
            ino,
            rdev: None,
            mode: None,
        }
        .into(),
        Node::Socket => command::MkSock {
            path,
            ino,
            rdev: None,
            mode: None,
        }
        .into(),
    }
}

/// A device number as send streams and mknod(2) have it (`new_encode_dev`,
/// include/linux/kdev_t.h).
fn device_number(major: u32, minor: u32) -> u64 {
    let (low, high) = (minor & 0xff, minor & 0xfff00);
    u64::from(low | (major & 0xfff) << 8) | u64::from(high) << 12
}
