//! What each command does to the tree of a subvolume.
//!
//! Whether a receiver can do it at all, src/transform/order has judged before: what is looked up
//! here is there.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::data::{Content, Extent, Place};
use super::inode::{Inode, Kind, Times};
use super::names::{NodeId, Tree, WasShared};
use crate::rules::limits::u64_of;
use crate::send_stream::format::{KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE};
use crate::send_stream::{Command, command};
use crate::transform::{Way, last_name};

/// Bytes of memory that a name takes with its inode, at the most, without what is longer than 32
/// bytes; 511 were measured of 300,000 names, together with what judging them takes.
pub const BYTES_PER_NAME: u64 = 640;

/// Bytes of memory that an extent takes at the most.
pub const BYTES_PER_EXTENT: u64 = 128;

/// Bytes of memory that an inode or a name takes at the most which an increment changes: pieces of
/// the maps it is in are no longer shared with the parent.
pub const BYTES_PER_CHANGE: u64 = 8192;

/// Names, targets, and names and values of attributes up to this length are in the numbers above,
/// bytes.
const SHORT: usize = 32;

/// What an extended attribute takes besides its bytes, at the most; the first of an inode takes
/// ten times as much.
const BYTES_PER_XATTR: u64 = 192;

/// Permissions that `btrfs receive` makes a file with (creat(2) and mknod(2) in cmds/receive.c).
const NEW_FILE: u32 = 0o600;
/// The same of a directory.
const NEW_DIRECTORY: u32 = 0o700;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
/// The same, and the permission of the group to execute.
const SET_GID_EXECUTABLE: u32 = 0o2010;
const PERMISSIONS: u32 = 0o7777;

/// Capabilities, which Linux drops when a file is changed.
const CAPABILITY: &[u8] = b"security.capability";

/// Where the data of a command is, and how much of the file it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data {
    pub(super) place: Place,
    pub(super) len: u64,
}

/// Memory that the trees take.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) used: u64,
    pub(super) limit: u64,
}

impl Memory {
    /// `None` where that is too much.
    fn take(&mut self, bytes: u64) -> Option<()> {
        self.used = self.used.saturating_add(bytes);
        (self.used <= self.limit).then_some(())
    }

    /// Memory for the record of a subvolume, and for the first pieces of its maps.
    pub(super) fn take_subvolume(&mut self) -> Option<()> {
        self.take(BYTES_PER_CHANGE)
    }

    fn take_long(&mut self, len: usize) -> Option<()> {
        self.take(u64_of(len.saturating_sub(SHORT)))
    }

    fn take_change(&mut self, was_shared: WasShared) -> Option<()> {
        let WasShared(was_shared) = was_shared;
        if was_shared {
            self.take(BYTES_PER_CHANGE)
        } else {
            Some(())
        }
    }

    /// Extents that there is room for.
    fn extents(&self) -> usize {
        let left = self.limit.saturating_sub(self.used) / BYTES_PER_EXTENT;
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}

/// A subvolume being made.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) memory: &'a mut Memory,
    /// In this tree.
    pub(super) way: &'a mut Way,
    /// It began as a snapshot: names are shared with the parent.
    pub(super) is_increment: bool,
}

impl Follower<'_> {
    /// Follows a command. `data` is where its data is, `source` the tree that a `CLONE` names where
    /// it is another one. `None` where the memory does not do.
    pub(super) fn follow(
        &mut self,
        command: &Command,
        data: Option<Data>,
        source: Option<&Tree>,
    ) -> Option<()> {
        match command {
            Command::MkFile(c) => self.make(&c.path, c.ino, Kind::File, NEW_FILE),
            Command::MkDir(c) => self.make(&c.path, c.ino, Kind::Directory, NEW_DIRECTORY),
            Command::MkFifo(c) => self.make(&c.path, c.ino, Kind::Fifo, NEW_FILE),
            Command::MkSock(c) => self.make(&c.path, c.ino, Kind::Socket, NEW_FILE),
            Command::MkNod(c) => self.make_node(c),
            Command::Symlink(c) => {
                self.memory.take_long(c.path_link.len())?;
                let target = Bytes::copy_from_slice(&c.path_link);
                self.make(&c.path, c.ino, Kind::Symlink { target }, 0o777)
            }
            Command::Rename(c) => self.rename(c),
            Command::Link(c) => self.link(c),
            Command::Unlink(c) => self.unlink(&c.path),
            Command::RmDir(c) => self.unlink(&c.path),
            Command::SetXattr(c) => self.set_xattr(c),
            Command::RemoveXattr(c) => {
                self.change(&c.path, |inode| inode.remove_xattr(&c.xattr_name))
            }
            Command::Truncate(c) => self.change(&c.path, |inode| {
                drop_privileges(inode);
                inode.data.punch(c.size..u64::MAX);
                inode.size = c.size;
            }),
            Command::Chmod(c) => self.change(&c.path, |inode| {
                inode.mode = low(c.mode) & PERMISSIONS;
            }),
            Command::Chown(c) => self.change(&c.path, |inode| {
                for (id, new) in [(&mut inode.uid, c.uid), (&mut inode.gid, c.gid)] {
                    // chown(2) takes the largest number for: as it is.
                    if low(new) != u32::MAX {
                        *id = low(new);
                    }
                }
                if !inode.is_directory() {
                    drop_privileges(inode);
                    drop_set_id(inode);
                }
            }),
            Command::Utimes(c) => self.change(&c.path, |inode| {
                inode.times = Times {
                    atime: c.atime,
                    mtime: c.mtime,
                    ctime: c.ctime,
                    otime: c.otime,
                };
            }),
            Command::Fileattr(c) => match self.find(&c.path) {
                Some(_) => self.change(&c.path, |inode| inode.flags = Some(c.fileattr)),
                // Receivers do not look at the path.
                None => Some(()),
            },
            Command::Write(c) => self.put(&c.path, c.file_offset, data?),
            Command::EncodedWrite(c) => self.put(&c.path, c.file_offset, data?),
            Command::Clone(c) => self.clone(c, source),
            Command::UpdateExtent(c) => self.not_sent(c),
            Command::Fallocate(c) => self.fallocate(c),
            Command::EnableVerity(_)
            | Command::Subvol(_)
            | Command::Snapshot(_)
            | Command::End(_) => Some(()),
        }
    }

    /// What is at a path.
    fn find(&mut self, path: &[u8]) -> Option<NodeId> {
        if let Some(node) = self.way.node(path) {
            debug_assert_eq!(self.tree.find(path), Some(node));
            return Some(node);
        }
        if last_name(path).is_none() {
            return self.tree.find(path);
        }
        let (directory, name) = self.place(path)?;
        let node = self.tree.child(directory, name)?;
        self.way.keep(path, directory, Some(node));
        Some(node)
    }

    /// The directory of a path and the last part of it.
    fn place<'p>(&mut self, path: &'p [u8]) -> Option<(NodeId, &'p [u8])> {
        let Some((before, name)) = last_name(path) else {
            return self.tree.place(path);
        };
        let directory = match self.way.directory(before) {
            Some(directory) => {
                debug_assert_eq!(self.tree.find(before), Some(directory));
                directory
            }
            None => self.tree.find(before)?,
        };
        self.way.keep(path, directory, self.way.node(path));
        Some((directory, name))
    }

    /// A path leads there now, or nowhere: others may lead elsewhere than before.
    fn changed(&mut self, path: &[u8], directory: NodeId, node: Option<NodeId>) {
        if last_name(path).is_some() {
            self.way.keep(path, directory, node);
        } else {
            self.way.forget();
        }
    }

    fn make(&mut self, path: &[u8], number: u64, kind: Kind, mode: u32) -> Option<()> {
        let (directory, name) = self.place(path)?;
        self.memory.take(BYTES_PER_NAME)?;
        self.named(name)?;
        let mut inode = Inode::new(kind, number, mode);
        // A directory hands its group down (`inode_init_owner`, fs/inode.c).
        let parent = self.tree.inode(directory)?;
        if parent.mode & SET_GID != 0 {
            inode.gid = parent.gid;
            if inode.is_directory() {
                inode.mode |= SET_GID;
            }
        }
        let id = self.tree.make(directory, name, inode)?;
        self.changed(path, directory, Some(id));
        Some(())
    }

    /// Memory for a change of names.
    fn named(&mut self, name: &[u8]) -> Option<()> {
        self.memory.take_long(name.len())?;
        self.memory.take_change(WasShared(self.is_increment))
    }

    fn make_node(&mut self, c: &command::MkNod) -> Option<()> {
        // `new_encode_dev`, include/linux/kdev_t.h.
        let number = low(c.rdev);
        let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
        let kind = match c.mode & 0o170_000 {
            0o010_000 => Kind::Fifo,
            0o020_000 => Kind::CharDevice { major, minor },
            0o060_000 => Kind::BlockDevice { major, minor },
            0o140_000 => Kind::Socket,
            _ => Kind::File,
        };
        // `btrfs receive` makes the node with its type only.
        self.make(&c.path, c.ino, kind, 0)
    }

    fn rename(&mut self, c: &command::Rename) -> Option<()> {
        let id = self.find(&c.path)?;
        let from = self.place(&c.path)?;
        let to = self.place(&c.path_to)?;
        // Two names of one file: nothing happens. Into itself nothing is moved: that would leave a
        // circle without a way to it.
        if self.tree.child(to.0, to.1) == Some(id) || self.tree.goes_through(&c.path_to, id) {
            return Some(());
        }
        self.memory.take_long(to.1.len())?;
        self.named(to.1)?;
        self.tree.rename(from, to);
        self.changed(&c.path_to, to.0, Some(id));
        Some(())
    }

    fn link(&mut self, c: &command::Link) -> Option<()> {
        let id = self.find(&c.path_link)?;
        let (directory, name) = self.place(&c.path)?;
        self.memory.take(BYTES_PER_NAME)?;
        self.named(name)?;
        self.tree.link(directory, name, id);
        self.changed(&c.path, directory, Some(id));
        Some(())
    }

    fn unlink(&mut self, path: &[u8]) -> Option<()> {
        let (directory, name) = self.place(path)?;
        self.named(b"")?;
        self.tree.unlink(directory, name);
        self.changed(path, directory, None);
        Some(())
    }

    fn set_xattr(&mut self, c: &command::SetXattr) -> Option<()> {
        let (name, value) = (&c.xattr_name, &c.xattr_data);
        self.memory.take(BYTES_PER_XATTR)?;
        self.memory.take_long(name.len())?;
        self.memory.take_long(value.len())?;
        // Linux takes an access list or a property without a value for none.
        let is_none =
            value.is_empty() && (name.starts_with(b"system.") || name.starts_with(b"btrfs."));
        let id = self.find(&c.path)?;
        if self.tree.inode(id)?.xattrs().next().is_none() {
            self.memory.take(BYTES_PER_XATTR.saturating_mul(9))?;
        }
        self.change(&c.path, |inode| {
            if is_none {
                inode.remove_xattr(name);
            } else {
                inode.set_xattr(name, value);
            }
        })
    }

    /// Changes the inode of a path.
    fn change(&mut self, path: &[u8], change: impl FnOnce(&mut Inode)) -> Option<()> {
        let id = self.find(path)?;
        self.change_node(id, |inode| {
            change(inode);
            Some(())
        })
    }

    /// The same for a change of data: what comes of it is to have been taken from the memory.
    fn change_node(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut Inode) -> Option<()>,
    ) -> Option<()> {
        let (inode, was_shared) = self.tree.inode_mut(id)?;
        self.memory.take_change(was_shared)?;
        if was_shared == WasShared(true) {
            let xattrs = u64_of(inode.xattrs.len());
            self.memory.take(xattrs.saturating_mul(BYTES_PER_XATTR))?;
        }
        let before = inode.data.len();
        let changed = change(inode);
        let more = inode.data.len().saturating_sub(before);
        self.memory
            .take(u64_of(more).saturating_mul(BYTES_PER_EXTENT))?;
        changed
    }

    fn put(&mut self, path: &[u8], offset: u64, data: Data) -> Option<()> {
        let id = self.find(path)?;
        if data.len == 0 {
            return Some(());
        }
        self.change_node(id, |inode| {
            drop_privileges(inode);
            let extent = Extent {
                offset,
                len: data.len,
                content: Content::Data(data.place),
            };
            inode.size = inode.size.max(extent.end());
            inode.data.put(extent);
            Some(())
        })
    }

    fn clone(&mut self, c: &command::Clone, source: Option<&Tree>) -> Option<()> {
        let id = self.find(&c.path)?;
        let from: Arc<Inode> = match source {
            Some(other) => Arc::clone(other.at(&c.clone_path)?),
            // Of the way to the file that is written nothing is forgotten for it.
            None => Arc::clone(self.tree.at(&c.clone_path)?),
        };
        let most = self.memory.extents();
        let range = c.clone_offset..c.clone_offset.saturating_add(c.clone_len).min(from.size);
        self.change_node(id, |inode| {
            drop_privileges(inode);
            inode.size = inode.size.max(c.file_offset.saturating_add(c.clone_len));
            inode
                .data
                .clone_from(&from.data, range, c.file_offset, most)
                .then_some(())
        })
    }

    /// Receivers ignore the command; the file has a hole there, or whatever was there before.
    fn not_sent(&mut self, c: &command::UpdateExtent) -> Option<()> {
        let Some(id) = self.find(&c.path).filter(|_| c.size > 0) else {
            return Some(());
        };
        self.change_node(id, |inode| {
            inode.data.put(Extent {
                offset: c.file_offset,
                len: c.size,
                content: Content::NotSent,
            });
            Some(())
        })
    }

    fn fallocate(&mut self, c: &command::Fallocate) -> Option<()> {
        let id = self.find(&c.path)?;
        let range: Range<u64> = c.file_offset..c.file_offset.saturating_add(c.size);
        self.change_node(id, |inode| {
            drop_privileges(inode);
            if c.fallocate_mode & KEEP_SIZE == 0 {
                inode.size = inode.size.max(range.end);
            }
            if c.fallocate_mode & (PUNCH_HOLE | ZERO_RANGE) != 0 {
                inode.data.punch(range);
            }
            Some(())
        })
    }
}

/// The file is changed (`file_remove_privs`, fs/inode.c).
fn drop_privileges(inode: &mut Inode) {
    inode.remove_xattr(CAPABILITY);
}

/// chown(2) of Linux does so for everybody (`chown_common`, fs/open.c).
fn drop_set_id(inode: &mut Inode) {
    inode.mode &= !SET_UID;
    if inode.mode & SET_GID_EXECUTABLE == SET_GID_EXECUTABLE {
        inode.mode &= !SET_GID;
    }
}

/// The numbers of an inode have 32 bits; a stream has room for more.
fn low(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
