//! Names: what is made, moved, linked and removed under them.

use super::super::escape::Shortened;
use super::super::tree::{Kind, Name, NodeId, ROOT, Tree};
use super::outcome::{Outcome, Trouble, trouble};
use super::paths::{exists, place};
use super::xattr;
use crate::send_stream::command;
use crate::validate::Severity::Warning;

/// `BTRFS_LINK_MAX`, fs/btrfs/ctree.h: names that a file can have.
const LINK_MAX: u32 = 65_535;

/// What is there under a name that is to be made.
fn taken(tree: &Tree, directory: NodeId, name: &[u8], damaged: bool) -> Option<NodeId> {
    match tree.look(directory, name) {
        // After damage, what was there may have been moved away.
        Name::Taken(id) if !damaged => Some(id),
        _ => None,
    }
}

pub(super) fn make(tree: &mut Tree, path: &[u8], kind: Kind, damaged: bool) -> Outcome {
    let (directory, name) = place(tree, path, kind)?;
    if taken(tree, directory, name, damaged).is_some() {
        return trouble("path-exists", "something has been made under this path");
    }
    let id = tree.make(directory, name, kind);
    xattr::inherit(tree, directory, id);
    Ok(())
}

/// `btrfs receive` makes files with creat(2), which takes one that is there.
pub(super) fn make_file(tree: &mut Tree, path: &[u8], damaged: bool) -> Outcome {
    let (directory, name) = place(tree, path, Kind::File)?;
    let Some(there) = taken(tree, directory, name, damaged) else {
        return make(tree, path, Kind::File, damaged);
    };
    let Some(node) = tree.node_mut(there).filter(|node| {
        let kind = node.kind;
        matches!(kind, Kind::File | Kind::Unknown)
    }) else {
        return trouble(
            "path-exists",
            "something else has been made under this path",
        );
    };
    node.size = 0;
    node.size_is_known = true;
    trouble(
        "path-exists",
        "a file has been made under this path; btrfs receive goes on, and the file is emptied",
    )
}

/// The kinds are those of mknod(2), include/uapi/linux/stat.h.
pub(super) fn make_node(tree: &mut Tree, c: &command::MkNod, damaged: bool) -> Outcome {
    let kind = match c.mode & 0o170_000 {
        0 | 0o100_000 => Kind::File,
        0o010_000 | 0o020_000 | 0o060_000 | 0o140_000 => Kind::Special,
        other => {
            return trouble(
                "node-kind",
                format!("mknod(2) makes nothing of type {other:#o}"),
            );
        }
    };
    if u32::try_from(c.rdev).is_err() {
        let message = format!("the device number {:#x} has more than 32 bits", c.rdev);
        return trouble("node-kind", message);
    }
    make(tree, &c.path, kind, damaged)
}

pub(super) fn make_symlink(tree: &mut Tree, c: &command::Symlink, damaged: bool) -> Outcome {
    if c.path_link.is_empty() {
        return trouble("empty-target", "the symbolic link leads to an empty path");
    }
    make(tree, &c.path, Kind::Symlink, damaged)
}

pub(super) fn link(tree: &mut Tree, c: &command::Link, damaged: bool) -> Outcome {
    let id = exists(tree, &c.path_link)?;
    if tree.kind(id) == Some(Kind::Directory) {
        return trouble("is-a-directory", "a directory has one name only");
    }
    let (directory, name) = place(tree, &c.path, Kind::File)?;
    if taken(tree, directory, name, damaged).is_some() {
        return trouble("path-exists", "something has been made under this path");
    }
    if tree.node(id).is_some_and(|node| node.names >= LINK_MAX) {
        return trouble("too-many-links", format!("the file has {LINK_MAX} names"));
    }
    tree.put(directory, name, id);
    Ok(())
}

/// The rules of rename(2).
pub(super) fn rename(tree: &mut Tree, c: &command::Rename) -> Outcome<Option<Trouble>> {
    let id = exists(tree, &c.path)?;
    let kind = tree.kind(id).unwrap_or(Kind::Unknown);
    let (from, old) = place(tree, &c.path, kind)?;
    let (to, new) = place(tree, &c.path_to, kind)?;
    if kind == Kind::Directory && tree.is_inside(to, id) {
        return trouble("into-itself", "a directory cannot be moved into itself");
    }
    let replaced = match tree.look(to, new) {
        // Two names of one file: nothing happens, and both stay.
        Name::Taken(there) if there == id => return Ok(None),
        Name::Taken(there) => Some(there),
        Name::Free | Name::Unknown => None,
    };
    if let Some(there) = replaced {
        may_replace(tree, kind, there)?;
    }
    tree.take(from, old);
    tree.put(to, new, id);
    Ok(replaced.map(|_| {
        let message = format!("{} is replaced", Shortened(&c.path_to));
        ("path-exists", Warning, message)
    }))
}

/// Only files and the like replace each other, and directories an empty one.
fn may_replace(tree: &Tree, kind: Kind, there: NodeId) -> Outcome {
    let other = tree.kind(there).unwrap_or(Kind::Unknown);
    if kind == Kind::Directory && other.is_no_directory() {
        let message = "a directory cannot replace what is no directory";
        return trouble("not-a-directory", message);
    }
    if kind.is_no_directory() && other == Kind::Directory {
        let message = "what is no directory cannot replace a directory";
        return trouble("is-a-directory", message);
    }
    match tree.entries_of(there) {
        0 => Ok(()),
        left => trouble(
            "directory-not-empty",
            format!("a directory with {left} entries that are known would be replaced"),
        ),
    }
}

pub(super) fn unlink(tree: &mut Tree, path: &[u8]) -> Outcome {
    let id = exists(tree, path)?;
    if id == ROOT || tree.kind(id) == Some(Kind::Directory) {
        return trouble("is-a-directory", "UNLINK is about files");
    }
    remove(tree, path, id)
}

pub(super) fn rmdir(tree: &mut Tree, path: &[u8]) -> Outcome {
    let id = exists(tree, path)?;
    if tree.kind(id).is_some_and(Kind::is_no_directory) {
        return trouble("not-a-directory", "RMDIR is about directories");
    }
    if id == ROOT {
        return trouble("directory-not-empty", "it is the subvolume itself");
    }
    match tree.entries_of(id) {
        0 => remove(tree, path, id),
        left => trouble(
            "directory-not-empty",
            format!("{left} entries that are known are left in it"),
        ),
    }
}

fn remove(tree: &mut Tree, path: &[u8], id: NodeId) -> Outcome {
    let kind = tree.kind(id).unwrap_or(Kind::Unknown);
    let (directory, name) = place(tree, path, kind)?;
    tree.take(directory, name);
    tree.drop_nameless(id);
    Ok(())
}

/// chmod(2) goes through symbolic links.
pub(super) fn chmod(tree: &mut Tree, path: &[u8]) -> Outcome {
    let id = exists(tree, path)?;
    if tree.kind(id) == Some(Kind::Symlink) {
        let message = "it is a symbolic link; btrfs receive changes what that leads to";
        return trouble("through-symlink", message);
    }
    Ok(())
}
