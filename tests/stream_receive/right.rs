//! Commands that are right: a receiver does each, and the tree follows.

use btrfs_payload::extent::EncodedExtent;
use btrfs_payload::send_stream::{Command, Version, command};
use bytes::Bytes;

use crate::maker::{Maker, data, payloads};
use crate::tree::{Kind, is_inside};

impl Maker<'_> {
    /// One of a random kind; nothing where there is nothing to remove, rename or clone.
    pub fn right_command(&mut self) -> Option<Command> {
        let v2 = self.version >= Version::V2;
        match self.random.below(106) {
            0..=13 => self.make_file(),
            14..=21 => self.make(Kind::Directory),
            22..=23 => self.make(Kind::Device),
            24..=25 => self.make(Kind::Fifo),
            26..=27 => self.make(Kind::Socket),
            28..=31 => self.make(Kind::Symlink),
            32..=39 => self.rename(),
            40..=43 => self.link(),
            44..=47 => self.unlink(),
            48..=50 => self.rmdir(),
            51..=56 => self.set_xattr(),
            57..=58 => self.remove_xattr(),
            59..=68 => self.write(),
            69..=77 => self.clone_range(),
            78..=82 => self.truncate(),
            83..=85 => self.chmod(),
            86..=87 => self.chown(),
            88..=90 => self.utimes(),
            91 => self.update_extent(),
            92..=95 if v2 => self.fallocate(),
            96 if v2 => self.fileattr(),
            97..=105 if v2 => self.encoded_write(),
            _ => None,
        }
    }

    fn make_file(&mut self) -> Option<Command> {
        let path = self.free_path();
        self.own.tree.make(path.clone(), Kind::File);
        let ino = self.ino();
        Some(command::MkFile { path, ino }.into())
    }

    fn make(&mut self, kind: Kind) -> Option<Command> {
        let path = self.free_path();
        self.own.tree.make(path.clone(), kind);
        let command = self.making(kind, path);
        Some(command)
    }

    fn rename(&mut self) -> Option<Command> {
        let path = self.some(|_| true)?;
        // Now and then over something of the same kind.
        let path_to = match self.random.below(4) {
            0 => self.some(|_| true)?,
            _ => self.free_path(),
        };
        let tree = &mut self.own.tree;
        let from = tree.id(&path)?;
        let directory = tree.kind(&path)? == Kind::Directory;
        if path.is_empty() || path_to.is_empty() || is_inside(&path_to, &path) {
            return None;
        }
        if is_inside(&path, &path_to) {
            return None;
        }
        match tree.id(&path_to) {
            // Two names of one file: rename(2) does nothing.
            Some(to) if to == from => {}
            Some(_) => {
                let other = tree.kind(&path_to)? == Kind::Directory;
                if directory != other || (other && !tree.is_empty(&path_to)) {
                    return None;
                }
                tree.remove(&path_to);
                tree.rename(&path, &path_to);
            }
            None => tree.rename(&path, &path_to),
        }
        Some(command::Rename { path, path_to }.into())
    }

    fn link(&mut self) -> Option<Command> {
        let path_link = self.some(|kind| kind != Kind::Directory)?;
        let path = self.free_path();
        self.own.tree.link(path.clone(), &path_link);
        Some(command::Link { path, path_link }.into())
    }

    fn unlink(&mut self) -> Option<Command> {
        let path = self.some(|kind| kind != Kind::Directory)?;
        self.own.tree.remove(&path);
        Some(command::Unlink { path }.into())
    }

    fn rmdir(&mut self) -> Option<Command> {
        let path = self.some(|kind| kind == Kind::Directory)?;
        if path.is_empty() || !self.own.tree.is_empty(&path) {
            return None;
        }
        self.own.tree.remove(&path);
        Some(command::RmDir { path }.into())
    }

    fn set_xattr(&mut self) -> Option<Command> {
        let path = self.some(|_| true)?;
        let kind = self.own.tree.kind(&path)?;
        let xattr_name: Bytes = match self.random.below(6) {
            // Only files and directories have attributes of users.
            0..=2 if matches!(kind, Kind::File | Kind::Directory) => {
                *self.random.pick(&["user.a", "user.b", "user.c d"])
            }
            3 => "security.a",
            _ => *self.random.pick(&["trusted.a", "trusted.b"]),
        }
        .into();
        let len = match self.random.below(20) {
            // A longer value in place of another one needs room in its leaf.
            _ if self.own.tree.node(&path)?.xattrs.contains(&xattr_name) => 0,
            0 => 16_000,
            _ => self.random.below(200),
        };
        let xattr_data = self.random.bytes(len).into();
        let node = self.own.tree.node_mut(&path);
        node.xattrs.insert(xattr_name.clone());
        Some(
            command::SetXattr {
                path,
                xattr_name,
                xattr_data,
            }
            .into(),
        )
    }

    fn remove_xattr(&mut self) -> Option<Command> {
        let path = self.some(|_| true)?;
        let node = self.own.tree.node_mut(&path);
        let xattr_name = node.xattrs.pop_first()?;
        Some(command::RemoveXattr { path, xattr_name }.into())
    }

    fn write(&mut self) -> Option<Command> {
        let path = self.some_file()?;
        let (file_offset, len) = (self.offset(), self.data_len());
        if len > 0 {
            self.grow(&path, file_offset + len as u64);
        }
        self.opened(&path);
        let data = data(len);
        Some(
            command::Write {
                path,
                file_offset,
                data,
            }
            .into(),
        )
    }

    fn clone_range(&mut self) -> Option<Command> {
        let path = self.some_file()?;
        let own = self.sources.is_empty() || self.random.percent(60);
        let source = if own {
            &self.own
        } else {
            self.random.pick(self.sources)
        };
        let files = source.tree.paths(|kind| kind == Kind::File);
        let (clone_uuid, clone_ctransid) = (source.uuid, source.ctransid);
        if files.is_empty() {
            return None;
        }
        let clone_path = self.random.pick(&files).clone();
        let source_size = source.tree.node(&clone_path)?.size;
        let same = own && self.own.tree.id(&clone_path) == self.own.tree.id(&path);
        let size = self.own.tree.node(&path)?.size;
        let file_offset = 4096 * self.random.below(40) as u64;
        let clone_offset = 4096 * self.random.below(40) as u64;
        let left = source_size
            .checked_sub(clone_offset)
            .filter(|&left| left > 0)?;
        let some = 4096 * self.random.within(1..=20) as u64;
        let clone_len = some.min(left);
        let end = file_offset + clone_len;
        // Only the end of a file is in the middle of a sector.
        if !clone_len.is_multiple_of(4096) && end < size {
            return None;
        }
        let sectors = clone_len.next_multiple_of(4096);
        if same && file_offset < clone_offset + sectors && clone_offset < file_offset + sectors {
            return None;
        }
        self.grow(&path, end);
        self.opened(&path);
        let command = command::Clone {
            file_offset,
            clone_len,
            path,
            clone_uuid,
            clone_ctransid,
            clone_path,
            clone_offset,
        };
        Some(command.into())
    }

    fn truncate(&mut self) -> Option<Command> {
        let path = self.some(|kind| kind == Kind::File)?;
        let size = self.offset();
        self.own.tree.node_mut(&path).size = size;
        Some(command::Truncate { path, size }.into())
    }

    fn chmod(&mut self) -> Option<Command> {
        // That of a link is never changed.
        let path = self.some(|kind| kind != Kind::Symlink)?;
        let mode = self.random.below(0o10000) as u64;
        Some(command::Chmod { path, mode }.into())
    }

    fn chown(&mut self) -> Option<Command> {
        let path = self.some(|_| true)?;
        let (uid, gid) = (self.random.below(70_000) as u64, 0);
        Some(command::Chown { path, uid, gid }.into())
    }

    fn utimes(&mut self) -> Option<Command> {
        let path = self.some(|_| true)?;
        Some(self.times(path))
    }

    fn update_extent(&mut self) -> Option<Command> {
        let path = self.some(|kind| kind == Kind::File)?;
        let (file_offset, size) = (self.offset(), self.data_len() as u64);
        Some(
            command::UpdateExtent {
                path,
                file_offset,
                size,
            }
            .into(),
        )
    }

    fn fallocate(&mut self) -> Option<Command> {
        let path = self.some_file()?;
        let (file_offset, size) = (self.offset(), 1 + self.data_len() as u64);
        // Bits: 1 keeps the size, 2 punches a hole, 16 zeroes.
        let fallocate_mode = *self.random.pick(&[0, 1, 3, 16, 17]);
        if fallocate_mode & 1 == 0 {
            self.grow(&path, file_offset + size);
        }
        self.opened(&path);
        Some(
            command::Fallocate {
                path,
                fallocate_mode,
                file_offset,
                size,
            }
            .into(),
        )
    }

    fn fileattr(&mut self) -> Option<Command> {
        let path = self.some(|_| true)?;
        let fileattr = self.random.next();
        Some(command::Fileattr { path, fileattr }.into())
    }

    fn encoded_write(&mut self) -> Option<Command> {
        let path = self.some_file()?;
        let extent = self.random.pick(payloads());
        let file_offset = match self.random.below(8) {
            // The ioctl refuses it, and the receiver decodes.
            0 => self.random.below(150_000) as u64,
            1..=3 => 0,
            _ => 4096 * self.random.below(40) as u64,
        };
        let extent = self.slice_of(extent);
        self.grow(&path, file_offset + extent.fields().len);
        self.opened(&path);
        Some(
            command::EncodedWrite::new(path, file_offset, &extent)
                .unwrap()
                .into(),
        )
    }

    /// Mostly the whole extent.
    fn slice_of(&mut self, extent: &EncodedExtent) -> EncodedExtent {
        let whole = extent.fields().len;
        let unencoded_offset = 4096 * self.random.below(4) as u64;
        if self.random.percent(70) || unencoded_offset >= whole {
            return extent.clone();
        }
        let left = (whole - unencoded_offset) as usize;
        let len = match self.random.below(3) {
            0 => left,
            1 => left.min(4096 * self.random.within(1..=8)),
            _ => self.random.within(1..=left),
        };
        extent.slice(unencoded_offset, len as u64).unwrap()
    }
}
