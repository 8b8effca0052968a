//! Extended attributes: what setxattr(2) and removexattr(2) on btrfs take.

use super::super::escape::Shortened;
use super::super::tree::{Kind, NodeId, Tree};
use super::outcome::{Outcome, trouble};
use super::paths;
use crate::rules::Target;
use crate::rules::xattr::{
    CAPABILITY, COMPRESSION, XattrFault, XattrOn, fault, is_access, name_fault,
};
use crate::send_stream::command;

/// No attribute has this name. It is set where a directory hands its compression down.
const HANDED_DOWN: &[u8] = b"";

pub(super) fn set(tree: &mut Tree, c: &command::SetXattr, target: &Target) -> Outcome {
    let id = paths::exists(tree, &c.path)?;
    let name = &c.xattr_name[..];
    let kind = tree.kind(id).unwrap_or(Kind::Unknown);
    // Nodes are not smaller than sectors.
    let node_size = target.node_size.max(target.sector_size);
    told(name, fault(name, &c.xattr_data, on(kind), node_size))?;
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
    told(name, name_fault(name, on(kind)))?;
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

/// What is wrong, as a finding. The reader has told of names that are too long.
fn told(name: &[u8], fault: Option<XattrFault>) -> Outcome {
    match fault {
        None => Ok(()),
        Some(XattrFault::Nameless) => trouble("xattr-name", "the attribute has no name"),
        Some(XattrFault::Name) => trouble(
            "xattr-name",
            format!("btrfs has no attribute {}", Shortened(name)),
        ),
        Some(XattrFault::Kind(message)) => trouble("xattr-kind", message),
        Some(XattrFault::Value) => {
            trouble("xattr-value", format!("not a value of {}", Shortened(name)))
        }
        Some(XattrFault::TooLong {
            len,
            most,
            node_size,
        }) => trouble(
            "xattr-too-long",
            format!("name and value have {len} bytes; a node of {node_size} bytes takes {most}"),
        ),
    }
}

fn on(kind: Kind) -> XattrOn {
    match kind {
        Kind::Unknown => XattrOn::Unknown,
        Kind::Directory => XattrOn::Directory,
        Kind::File => XattrOn::File,
        Kind::Symlink => XattrOn::Symlink,
        Kind::Special => XattrOn::Special,
    }
}
