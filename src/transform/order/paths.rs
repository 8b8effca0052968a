//! Paths, and what is there under them.

use bytes::Bytes;

use super::super::escape::Shortened;
use super::super::tree::{Found, Kind, NodeId, Tree, ends_in_dot, names_directory};
use super::outcome::{Outcome, Trouble, trouble};
use crate::send_stream::Command;
use crate::validate::Severity::{Error, Warning};

/// `NAME_MAX`, include/uapi/linux/limits.h: the longest part of a path, bytes.
const NAME_MAX: usize = 255;
/// `PATH_MAX`, include/uapi/linux/limits.h: a path and its end, bytes.
const PATH_MAX: usize = 4096;

/// What is wrong with the bytes of a path, whatever is there: an error where it leads out of the
/// subvolume, or could, or where Linux does not take it; a warning where it is another form of a
/// path. The name of the subvolume has `subvolume_len` bytes.
pub(super) fn fault(command: &Command, subvolume_len: usize) -> Option<Trouble> {
    // `/`, the name of the subvolume and another `/` come before the path where the filesystem
    // is mounted at `/`, and `btrfs receive` leaves two bytes unused.
    let longest = PATH_MAX.saturating_sub(subvolume_len.saturating_add(5));
    let faults = paths(command).into_iter().flatten().filter_map(|path| {
        if path.len() > longest && !is_ignored(command) {
            let message = format!(
                "a path of {} bytes; with the name of the subvolume {longest} fit at most",
                path.len()
            );
            return Some(("name-too-long", Error, message));
        }
        path_fault(path)
    });
    faults.max_by_key(|(_, severity, _)| *severity)
}

/// The name of a subvolume that cannot be one.
pub(super) fn subvolume_fault(name: &[u8]) -> Option<Trouble> {
    if name.is_empty() {
        let message = "the subvolume has no name".to_owned();
        return Some(("subvolume-name", Error, message));
    }
    if name == b"." || name.contains(&b'/') {
        let message = format!("{} is a path, not a name", Shortened(name));
        return Some(("subvolume-name", Error, message));
    }
    path_fault(name)
}

/// Receivers do not look at the path.
fn is_ignored(command: &Command) -> bool {
    matches!(command, Command::UpdateExtent(_) | Command::Fileattr(_))
}

fn paths(command: &Command) -> [Option<&Bytes>; 2] {
    match command {
        Command::Subvol(c) => [Some(&c.path), None],
        Command::Snapshot(c) => [Some(&c.path), None],
        Command::MkFile(c) => [Some(&c.path), None],
        Command::MkDir(c) => [Some(&c.path), None],
        Command::MkNod(c) => [Some(&c.path), None],
        Command::MkFifo(c) => [Some(&c.path), None],
        Command::MkSock(c) => [Some(&c.path), None],
        Command::Symlink(c) => [Some(&c.path), None],
        Command::Rename(c) => [Some(&c.path), Some(&c.path_to)],
        Command::Link(c) => [Some(&c.path), Some(&c.path_link)],
        Command::Unlink(c) => [Some(&c.path), None],
        Command::RmDir(c) => [Some(&c.path), None],
        Command::SetXattr(c) => [Some(&c.path), None],
        Command::RemoveXattr(c) => [Some(&c.path), None],
        Command::Write(c) => [Some(&c.path), None],
        Command::Clone(c) => [Some(&c.path), Some(&c.clone_path)],
        Command::Truncate(c) => [Some(&c.path), None],
        Command::Chmod(c) => [Some(&c.path), None],
        Command::Chown(c) => [Some(&c.path), None],
        Command::Utimes(c) => [Some(&c.path), None],
        Command::UpdateExtent(c) => [Some(&c.path), None],
        Command::Fallocate(c) => [Some(&c.path), None],
        Command::Fileattr(c) => [Some(&c.path), None],
        Command::EncodedWrite(c) => [Some(&c.path), None],
        Command::EnableVerity(c) => [Some(&c.path), None],
        Command::End(_) => [None, None],
    }
}

fn path_fault(path: &[u8]) -> Option<Trouble> {
    if path.is_empty() {
        return None;
    }
    let mut is_plain = true;
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b".." => {
                let message = format!("the path {} has a part `..`", Shortened(path));
                return Some(("path-outside", Error, message));
            }
            b"" | b"." => is_plain = false,
            _ if part.len() > NAME_MAX => {
                let message = format!("a part of the path has {} bytes", part.len());
                return Some(("name-too-long", Error, message));
            }
            _ => {}
        }
    }
    (!is_plain).then(|| {
        let message = format!(
            "the path {} has an empty part or `.`, which lead nowhere else",
            Shortened(path)
        );
        ("path-form", Warning, message)
    })
}

/// The node of a path that has to be there.
pub(super) fn exists(tree: &mut Tree, path: &[u8]) -> Outcome<NodeId> {
    match tree.find(path) {
        Found::Node(id) => Ok(id),
        Found::Nothing => trouble("path-unknown", "nothing has been made under this path"),
        Found::NoParent => trouble("path-unknown", "its directory has not been made"),
        Found::NotADirectory => trouble("not-a-directory", "a part of the path is no directory"),
    }
}

/// The node of a regular file, or of what may be one.
pub(super) fn file(tree: &mut Tree, path: &[u8]) -> Outcome<NodeId> {
    let id = exists(tree, path)?;
    match tree.kind(id) {
        Some(Kind::Directory | Kind::Symlink | Kind::Special) => {
            trouble("not-a-file", "it is no regular file")
        }
        _ => Ok(id),
    }
}

/// The directory of what is to be made, moved or removed under a path, and the name in it.
pub(super) fn place<'a>(
    tree: &mut Tree,
    path: &'a [u8],
    kind: Kind,
) -> Outcome<(NodeId, &'a [u8])> {
    if ends_in_dot(path) || names_directory(path) && kind.is_no_directory() {
        let message = "what ends in `.`, or in two slashes and is no directory, is no name";
        return trouble("path-form", message);
    }
    match tree.split(path) {
        None => trouble("path-exists", "the subvolume itself is there already"),
        Some((Found::Node(directory), name)) => Ok((directory, name)),
        Some((Found::NotADirectory, _)) => {
            trouble("not-a-directory", "a part of the path is no directory")
        }
        Some(_) => trouble("parent-unknown", "its directory has not been made"),
    }
}
