//! The order of commands: whether a receiver can do what each one says when it comes to it.
//!
//! A full stream starts from nothing, so every path has to be made before it is used. An
//! incremental one starts from a snapshot that is not at hand: what the stream has not touched
//! may be there, and only what it has made or removed itself is known.

use bytes::Bytes;

use super::finding::StreamFinding;
use super::tree::{Found, Full, Kind, Name, NodeId, ROOT, Tree};
use crate::rules::limits::MAX_FILE_SIZE;
use crate::send_stream::format::{KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE};
use crate::send_stream::{Command, RawCommand, Uuid, command};
use crate::validate::Severity::{self, Error, Note, Warning};

/// What is wrong with a command: code, severity, sentence.
type Trouble = (&'static str, Severity, String);

/// Why a command is not looked into any further.
enum Stop {
    Trouble(Trouble),
    Full,
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

fn trouble<T>(code: &'static str, message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Trouble((code, Error, message.into())))
}

/// Follows the commands of an input.
#[derive(Debug)]
pub(super) struct Order {
    /// `None` before the first subvolume, and where there are too many names.
    tree: Option<Tree>,
    /// Identity of the subvolume being received.
    own: Option<Uuid>,
    stream: Option<u64>,
    /// A command was lost: what is not known may be there.
    damaged: bool,
    max_names: usize,
}

impl Order {
    pub(super) fn new(max_names: usize) -> Self {
        Self {
            tree: None,
            own: None,
            stream: None,
            damaged: false,
            max_names,
        }
    }

    /// A command that cannot be read may have made or moved anything.
    pub(super) fn lost(&mut self) {
        if !std::mem::replace(&mut self.damaged, true)
            && let Some(tree) = &mut self.tree
        {
            tree.forget_completeness();
        }
    }

    /// Follows a command; what is wrong with it is added to `findings`. Returns the size the
    /// file has before an encoded write, 0 where that is not known.
    pub(super) fn follow(
        &mut self,
        raw: &RawCommand,
        command: &Command,
        findings: &mut Vec<StreamFinding>,
    ) -> u64 {
        let mut add = |(code, severity, message): Trouble| {
            findings.push(StreamFinding::of(raw, code, severity, message));
        };
        let starts_subvolume = matches!(command, Command::Subvol(_) | Command::Snapshot(_));
        if self.stream != Some(raw.stream()) {
            self.stream = Some(raw.stream());
            self.tree = None;
            self.own = None;
            if !starts_subvolume && !self.damaged {
                add((
                    "no-subvolume",
                    Error,
                    "a stream begins with SUBVOL or SNAPSHOT".to_owned(),
                ));
            }
        }
        if let Some(fault) = path_faults(command) {
            add(fault);
            return 0;
        }
        if starts_subvolume {
            self.start(command);
            return 0;
        }
        match self.step(command) {
            Ok((size, warning)) => {
                warning.into_iter().for_each(add);
                size
            }
            Err(Stop::Trouble(trouble)) => {
                add(trouble);
                0
            }
            Err(Stop::Full) => {
                self.tree = None;
                add((
                    "order-unchecked",
                    Note,
                    format!(
                        "more than {} names; paths are not followed from here on",
                        self.max_names
                    ),
                ));
                0
            }
        }
    }

    fn start(&mut self, command: &Command) {
        let (uuid, complete) = match command {
            Command::Subvol(subvol) => (subvol.uuid, true),
            Command::Snapshot(snapshot) => (snapshot.uuid, false),
            _ => return,
        };
        // A subvolume of its own begins, whatever happened to the one before.
        self.damaged = false;
        self.own = Some(uuid);
        self.tree = Some(Tree::new(complete, self.max_names));
    }

    /// The size of the file before an encoded write, and a warning.
    fn step(&mut self, command: &Command) -> Result<(u64, Option<Trouble>), Stop> {
        let own = self.own;
        let damaged = self.damaged;
        let Some(tree) = &mut self.tree else {
            return Ok((0, None));
        };
        let done = Ok((0, None));
        match command {
            Command::MkDir(c) => make(tree, &c.path, Kind::Directory, damaged)?,
            Command::MkFile(c) => make(tree, &c.path, Kind::File, damaged)?,
            Command::MkNod(c) => make(tree, &c.path, Kind::Other, damaged)?,
            Command::MkFifo(c) => make(tree, &c.path, Kind::Other, damaged)?,
            Command::MkSock(c) => make(tree, &c.path, Kind::Other, damaged)?,
            Command::Symlink(c) => make(tree, &c.path, Kind::Other, damaged)?,
            Command::Rename(c) => return Ok((0, rename(tree, c)?)),
            Command::Link(c) => link(tree, c)?,
            Command::Unlink(c) => unlink(tree, &c.path)?,
            Command::RmDir(c) => rmdir(tree, &c.path)?,
            Command::SetXattr(c) => exists(tree, &c.path).map(drop)?,
            Command::RemoveXattr(c) => exists(tree, &c.path).map(drop)?,
            Command::Chmod(c) => exists(tree, &c.path).map(drop)?,
            Command::Chown(c) => exists(tree, &c.path).map(drop)?,
            Command::Utimes(c) => exists(tree, &c.path).map(drop)?,
            Command::Fileattr(c) => exists(tree, &c.path).map(drop)?,
            Command::EnableVerity(c) => file(tree, &c.path).map(drop)?,
            Command::Truncate(c) => {
                range(c.size, 0)?;
                let id = file(tree, &c.path)?;
                if let Some(node) = tree.node(id) {
                    node.size = Some(c.size);
                }
            }
            Command::Write(c) => {
                let len = u64::try_from(c.data.len()).unwrap_or(u64::MAX);
                grow(tree, &c.path, c.file_offset, len)?;
            }
            // Not written, but it is data that the sender has there.
            Command::UpdateExtent(c) => {
                grow(tree, &c.path, c.file_offset, c.size)?;
            }
            Command::EncodedWrite(c) => {
                let id = file(tree, &c.path)?;
                let before = tree.node(id).and_then(|node| node.size);
                // The judge of payloads tells of ranges that are empty or too far.
                if range(c.file_offset, c.unencoded_file_len).is_ok() {
                    grow_node(tree, id, c.file_offset, c.unencoded_file_len);
                }
                return Ok((before.unwrap_or(0), None));
            }
            Command::Fallocate(c) => fallocate(tree, c)?,
            Command::Clone(c) => clone(tree, c, own)?,
            Command::Subvol(_) | Command::Snapshot(_) | Command::End(_) => {}
        }
        done
    }
}

/// A path that leads out of the subvolume, or could.
fn path_faults(command: &Command) -> Option<Trouble> {
    let paths: [Option<&Bytes>; 2] = match command {
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
    };
    paths
        .into_iter()
        .flatten()
        .find(|path| leads_outside(path))
        .map(|path| {
            let path = super::Escaped(path);
            let message = format!("the path {path} has an empty part, `.` or `..`");
            ("path-outside", Error, message)
        })
}

fn leads_outside(path: &[u8]) -> bool {
    !path.is_empty()
        && path
            .split(|&byte| byte == b'/')
            .any(|part| matches!(part, b"" | b"." | b".."))
}

/// The node of a path that has to be there.
fn exists(tree: &mut Tree, path: &[u8]) -> Result<NodeId, Stop> {
    match tree.find(path)? {
        Found::Node(id) => Ok(id),
        Found::Nothing => trouble("path-unknown", "nothing has been made under this path"),
        Found::NoParent => trouble("path-unknown", "its directory has not been made"),
        Found::NotADirectory => trouble("not-a-directory", "a part of the path is no directory"),
    }
}

/// The node of a regular file, or of what may be one.
fn file(tree: &mut Tree, path: &[u8]) -> Result<NodeId, Stop> {
    let id = exists(tree, path)?;
    match tree.node(id).map(|node| node.kind) {
        Some(Kind::Directory | Kind::Other) => trouble("not-a-file", "it is no regular file"),
        _ => Ok(id),
    }
}

/// The directory of a path that is to be made, and the name in it.
fn place<'a>(tree: &mut Tree, path: &'a [u8]) -> Result<(NodeId, &'a [u8]), Stop> {
    match tree.split(path)? {
        None => trouble("path-exists", "the subvolume itself is there already"),
        Some((Found::Node(directory), name)) => Ok((directory, name)),
        Some((Found::NotADirectory, _)) => {
            trouble("not-a-directory", "a part of the path is no directory")
        }
        Some(_) => trouble("parent-unknown", "its directory has not been made"),
    }
}

fn make(tree: &mut Tree, path: &[u8], kind: Kind, damaged: bool) -> Result<(), Stop> {
    let (directory, name) = place(tree, path)?;
    let taken = matches!(tree.look(directory, name), Name::Taken(_));
    // Behind damage, what was there may have been moved away.
    if taken && !damaged {
        return trouble("path-exists", "something has been made under this path");
    }
    Ok(tree.make(directory, name, kind)?)
}

fn link(tree: &mut Tree, c: &command::Link) -> Result<(), Stop> {
    let id = exists(tree, &c.path_link)?;
    if tree.node(id).map(|node| node.kind) == Some(Kind::Directory) {
        return trouble("is-a-directory", "a directory has one name only");
    }
    let (directory, name) = place(tree, &c.path)?;
    if let Name::Taken(_) = tree.look(directory, name) {
        return trouble("path-exists", "something has been made under this path");
    }
    Ok(tree.put(directory, name, id)?)
}

fn rename(tree: &mut Tree, c: &command::Rename) -> Result<Option<Trouble>, Stop> {
    let id = exists(tree, &c.path)?;
    let (from, old) = place(tree, &c.path)?;
    let (to, new) = place(tree, &c.path_to)?;
    let is_directory = tree.node(id).map(|node| node.kind) == Some(Kind::Directory);
    if is_directory && tree.is_inside(to, id) {
        return trouble("into-itself", "a directory cannot be moved into itself");
    }
    let replaced = match tree.look(to, new) {
        Name::Taken(there) if there != id => Some(there),
        _ => None,
    };
    tree.take(from, old);
    tree.put(to, new, id)?;
    Ok(replaced.map(|_| {
        let message = format!("{} is replaced", super::Escaped(&c.path_to));
        ("path-exists", Warning, message)
    }))
}

fn unlink(tree: &mut Tree, path: &[u8]) -> Result<(), Stop> {
    let id = exists(tree, path)?;
    if id == ROOT || tree.node(id).map(|node| node.kind) == Some(Kind::Directory) {
        return trouble("is-a-directory", "UNLINK is about files");
    }
    remove(tree, path, id)
}

fn rmdir(tree: &mut Tree, path: &[u8]) -> Result<(), Stop> {
    let id = exists(tree, path)?;
    match tree.node(id).map(|node| node.kind) {
        Some(Kind::File | Kind::Other) => {
            return trouble("not-a-directory", "RMDIR is about directories");
        }
        _ if id == ROOT => return trouble("directory-not-empty", "it is the subvolume itself"),
        _ => {}
    }
    match tree.entries_of(id) {
        0 => remove(tree, path, id),
        left => trouble(
            "directory-not-empty",
            format!("{left} entries that are known are left in it"),
        ),
    }
}

fn remove(tree: &mut Tree, path: &[u8], id: NodeId) -> Result<(), Stop> {
    let (directory, name) = place(tree, path)?;
    tree.take(directory, name);
    tree.drop_nameless(id);
    Ok(())
}

/// Bytes `offset..offset + len` are inside what a file can have.
fn range(offset: u64, len: u64) -> Result<u64, Stop> {
    match offset.checked_add(len).filter(|&end| end <= MAX_FILE_SIZE) {
        Some(end) => Ok(end),
        None => trouble(
            "beyond-largest-offset",
            format!("{len} bytes at {offset} end beyond the largest file size, 2^63 - 1"),
        ),
    }
}

fn grow(tree: &mut Tree, path: &[u8], offset: u64, len: u64) -> Result<(), Stop> {
    let id = file(tree, path)?;
    range(offset, len)?;
    if len == 0 {
        return trouble("empty-range", "a range of no bytes");
    }
    grow_node(tree, id, offset, len);
    Ok(())
}

/// The file is as long as the range now, if it was not longer.
fn grow_node(tree: &mut Tree, id: NodeId, offset: u64, len: u64) {
    if let Some(size) = tree.node(id).and_then(|node| node.size.as_mut()) {
        *size = (*size).max(offset.saturating_add(len));
    }
}

fn fallocate(tree: &mut Tree, c: &command::Fallocate) -> Result<(), Stop> {
    let id = file(tree, &c.path)?;
    range(c.file_offset, c.size)?;
    if c.size == 0 {
        return trouble("empty-range", "a range of no bytes");
    }
    let keep = c.fallocate_mode & KEEP_SIZE != 0;
    match c.fallocate_mode & !KEEP_SIZE {
        PUNCH_HOLE if keep => {}
        0 | ZERO_RANGE => {
            if !keep {
                grow_node(tree, id, c.file_offset, c.size);
            }
        }
        _ => {
            let mode = c.fallocate_mode;
            return trouble("fallocate-mode", format!("btrfs has no mode {mode:#x}"));
        }
    }
    Ok(())
}

fn clone(tree: &mut Tree, c: &command::Clone, own: Option<Uuid>) -> Result<(), Stop> {
    let id = file(tree, &c.path)?;
    range(c.file_offset, c.clone_len)?;
    let end = range(c.clone_offset, c.clone_len)?;
    if c.clone_len == 0 {
        return trouble("empty-range", "a range of no bytes");
    }
    // Other subvolumes are not at hand.
    if own == Some(c.clone_uuid) {
        let source = match tree.find(&c.clone_path)? {
            Found::Node(source) => source,
            _ => {
                let path = super::Escaped(&c.clone_path);
                return trouble("clone-source-unknown", format!("{path} has not been made"));
            }
        };
        let node = tree.node(source).copied();
        if matches!(
            node.map(|node| node.kind),
            Some(Kind::Directory | Kind::Other)
        ) {
            return trouble("not-a-file", "what is cloned from is no regular file");
        }
        if let Some(size) = node.and_then(|node| node.size)
            && end > size
        {
            return trouble(
                "clone-beyond-end",
                format!("the range ends at {end}, the file cloned from at {size}"),
            );
        }
    }
    grow_node(tree, id, c.file_offset, c.clone_len);
    Ok(())
}
