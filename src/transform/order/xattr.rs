//! Extended attributes: what setxattr(2) and removexattr(2) on btrfs take.

use super::super::escape::Shortened;
use super::super::tree::{Kind, NodeId, Tree};
use super::outcome::{Outcome, trouble};
use super::paths;
use crate::rules::Target;
use crate::rules::limits::u64_of;
use crate::send_stream::command;
use crate::send_stream::format::MAX_XATTR_NAME_LEN;

/// What a leaf needs beside the name and value of one attribute, bytes: its header (101), one
/// item (25) and the head of a directory item (30) (`BTRFS_MAX_XATTR_SIZE`,
/// fs/btrfs/accessors.h).
const OVERHEAD: u64 = 101 + 25 + 30;

/// Capabilities of a file, which Linux drops when the file is changed.
const CAPABILITY: &[u8] = b"security.capability";
const COMPRESSION: &[u8] = b"btrfs.compression";
/// No attribute has this name. It is set where a directory hands its compression down.
const HANDED_DOWN: &[u8] = b"";
const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

pub(super) fn set(tree: &mut Tree, c: &command::SetXattr, target: &Target) -> Outcome {
    let id = paths::exists(tree, &c.path)?;
    let name = &c.xattr_name[..];
    let kind = tree.kind(id).unwrap_or(Kind::Unknown);
    name_for(name, kind)?;
    value(name, &c.xattr_data, kind)?;
    // Nodes are not smaller than sectors.
    let node_size = u64::from(target.node_size.max(target.sector_size));
    let room = node_size.saturating_sub(OVERHEAD);
    let len = u64_of(name.len().saturating_add(c.xattr_data.len()));
    if len > room {
        return trouble(
            "xattr-too-long",
            format!("name and value have {len} bytes; a node of {node_size} bytes takes {room}"),
        );
    }
    if name == COMPRESSION {
        // On anything else it is ignored.
        if !matches!(kind, Kind::Symlink | Kind::Special) {
            let is_codec = !matches!(&c.xattr_data[..], b"" | b"no" | b"none");
            put(tree, id, HANDED_DOWN, is_codec);
            put(tree, id, COMPRESSION, !c.xattr_data.is_empty());
        }
    } else if !is_access(name) {
        put(tree, id, name, true);
    }
    Ok(())
}

pub(super) fn remove(tree: &mut Tree, c: &command::RemoveXattr) -> Outcome {
    let id = paths::exists(tree, &c.path)?;
    let name = &c.xattr_name[..];
    let kind = tree.kind(id).unwrap_or(Kind::Unknown);
    name_for(name, kind)?;
    let is_ignored = name == COMPRESSION && matches!(kind, Kind::Symlink | Kind::Special);
    // Of an access list, Linux does not mind that it is not there.
    if is_access(name) || is_ignored {
        return Ok(());
    }
    if tree.xattr(id, name) == Some(false) {
        return trouble(
            "xattr-unknown",
            format!("{} has not been set", Shortened(name)),
        );
    }
    put(tree, id, name, false);
    if name == COMPRESSION {
        put(tree, id, HANDED_DOWN, false);
    }
    Ok(())
}

fn put(tree: &mut Tree, id: NodeId, name: &[u8], is_set: bool) {
    if tree.xattr(id, name) != Some(is_set) {
        tree.set_xattr(id, name, is_set);
    }
}

/// What is made in a directory takes its compression (`btrfs_inode_inherit_props`,
/// fs/btrfs/props.c).
pub(super) fn inherit(tree: &mut Tree, directory: NodeId, id: NodeId) {
    if tree.xattr(directory, HANDED_DOWN) == Some(true)
        && matches!(tree.kind(id), Some(Kind::Directory | Kind::File))
    {
        put(tree, id, HANDED_DOWN, true);
        put(tree, id, COMPRESSION, true);
    }
}

/// The file is changed (`file_remove_privs`, fs/inode.c).
pub(super) fn drop_capability(tree: &mut Tree, id: NodeId) {
    if tree.xattr(id, CAPABILITY) == Some(true) && tree.kind(id) != Some(Kind::Directory) {
        tree.set_xattr(id, CAPABILITY, false);
    }
}

fn is_access(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

/// btrfs has a handler for the name (fs/btrfs/xattr.c), and takes it for what it is to be set on.
fn name_for(name: &[u8], kind: Kind) -> Outcome {
    if name.is_empty() {
        return trouble("xattr-name", "the attribute has no name");
    }
    // The reader has told of names that are too long.
    if name.len() > MAX_XATTR_NAME_LEN {
        return Ok(());
    }
    let is_in = |namespace: &[u8]| name.len() > namespace.len() && name.starts_with(namespace);
    if is_in(b"user.") {
        return match kind {
            Kind::Symlink | Kind::Special => trouble(
                "xattr-kind",
                "attributes of users are for files and directories only",
            ),
            _ => Ok(()),
        };
    }
    if is_access(name) {
        return match kind {
            Kind::Symlink => trouble("xattr-kind", "a symbolic link has no access list"),
            _ => Ok(()),
        };
    }
    if is_in(b"trusted.") || is_in(b"security.") || name == COMPRESSION {
        return Ok(());
    }
    let message = format!("btrfs has no attribute {}", Shortened(name));
    trouble("xattr-name", message)
}

fn value(name: &[u8], value: &[u8], kind: Kind) -> Outcome {
    let is_right = match name {
        CAPABILITY => value.is_empty() || is_capability(value),
        COMPRESSION => is_compression(value),
        DEFAULT if !value.is_empty() && kind.is_no_directory() => {
            let message = "only a directory has an access list for what is made in it";
            return trouble("xattr-kind", message);
        }
        ACCESS | DEFAULT => value.is_empty() || is_access_list(value),
        _ => true,
    };
    if is_right {
        Ok(())
    } else {
        trouble("xattr-value", format!("not a value of {}", Shortened(name)))
    }
}

/// Revision 2, or 3 with the user it is for (`validheader`, security/commoncap.c).
fn is_capability(value: &[u8]) -> bool {
    let revision = value.get(3);
    match value.len() {
        20 => revision == Some(&2),
        24 => revision == Some(&3),
        _ => false,
    }
}

/// `prop_compression_validate`, fs/btrfs/props.c.
fn is_compression(value: &[u8]) -> bool {
    let is_codec = [&b"zlib"[..], b"lzo", b"zstd"]
        .iter()
        .any(|codec| value.starts_with(codec));
    is_codec || matches!(value, b"" | b"no" | b"none")
}

/// Version 2, and entries of eight bytes: kind, permissions, whom they are for
/// (`posix_acl_from_xattr` and `posix_acl_valid`, fs/posix_acl.c).
fn is_access_list(value: &[u8]) -> bool {
    let Some(entries) = value.strip_prefix(&[2, 0, 0, 0]) else {
        return false;
    };
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return false;
    }
    // The owner, users, the group, groups, the mask, others: in this order.
    let mut last = 0;
    let mut count = [0_usize; 6];
    for &[tag, high, permissions, none, ..] in entries {
        let Some(place) = [1, 2, 4, 8, 16, 32].iter().position(|&known| known == tag) else {
            return false;
        };
        let may_repeat = place == 1 || place == 3;
        let again = last > place || last == place && !may_repeat && count.iter().any(|&n| n > 0);
        if high != 0 || none != 0 || permissions > 7 || again {
            return false;
        }
        last = place;
        if let Some(count) = count.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }
    // Named users and groups need the mask.
    matches!(
        count,
        [0, 0, 0, 0, 0, 0] | [1, 0, 1, 0, 0 | 1, 1] | [1, _, 1, _, 1, 1]
    )
}
