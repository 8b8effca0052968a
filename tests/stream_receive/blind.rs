//! Commands made without a look at what is there: some are right, most break one rule or another.

use btrfs_payload::rules::ExtentFields;
use btrfs_payload::send_stream::{Command, CommandKind, Uuid, command};
use bytes::Bytes;

use crate::maker::{Maker, data, payloads};
use crate::tree::{Kind, join};

/// The largest size of a file.
const MAX: u64 = i64::MAX as u64;

/// Kinds of entries, and what they permit, as setxattr(2) takes them.
fn access_list(entries: &[(u8, u8)]) -> Bytes {
    let mut value = vec![2, 0, 0, 0];
    for &(kind, permissions) in entries {
        value.extend([kind, 0, permissions, 0, 0, 0, 0, 0]);
    }
    value.into()
}

impl Maker<'_> {
    /// Another name for the subvolume, and sometimes a parent that nobody has.
    pub fn odd_beginning(&mut self) {
        let long = "n".repeat(255);
        let longer = "n".repeat(256);
        let names = ["subvolume 0", "", ".", "a/b", "other", &long, &longer];
        let name = (*self.random.pick(&names)).to_owned().into();
        let unknown = self.random.percent(30);
        match &mut self.commands[0] {
            Command::Snapshot(c) if unknown => c.clone_uuid = Uuid([7; 16]),
            Command::Snapshot(c) => c.path = name,
            Command::Subvol(c) => c.path = name,
            _ => {}
        }
    }

    /// Any command but those that begin and end a stream.
    pub fn any_command(&mut self) -> Command {
        // Those with the most rules more often.
        use CommandKind::{Clone, EncodedWrite, RemoveXattr, Rename, SetXattr};
        let often = [Clone, Clone, Clone, Clone, Rename, Rename, Rename, Rename];
        let often = [&often[..], &[SetXattr, SetXattr, RemoveXattr, EncodedWrite]].concat();
        let kinds: Vec<CommandKind> = CommandKind::ALL
            .iter()
            .chain(&often)
            .copied()
            .filter(|kind| kind.since() <= self.version)
            .filter(|kind| {
                !matches!(
                    kind,
                    CommandKind::Subvol | CommandKind::Snapshot | CommandKind::End
                )
            })
            .collect();
        loop {
            let kind = *self.random.pick(&kinds);
            let command = self.any_of(kind);
            if !self.is_better_left_out(&command) {
                return command;
            }
        }
    }

    fn any_of(&mut self, kind: CommandKind) -> Command {
        use CommandKind::{Clone, EncodedWrite, Fallocate, Truncate, Write};
        let path = match kind {
            Write | Clone | EncodedWrite | Truncate | Fallocate => self.any_file(),
            _ => self.any_path(),
        };
        match kind {
            CommandKind::MkFile => self.making(Kind::File, path),
            CommandKind::MkDir => self.making(Kind::Directory, path),
            CommandKind::MkFifo => self.making(Kind::Fifo, path),
            CommandKind::MkSock => self.making(Kind::Socket, path),
            CommandKind::MkNod => {
                let kinds = [
                    0o020_000, 0o060_000, 0o010_000, 0o140_000, 0o100_000, 0, 0o040_000,
                ];
                let mode = *self.random.pick(&kinds) | 0o600;
                let rdev = *self.random.pick(&[0, 0x103, 0xffff_ffff, 1 << 32]);
                command::MkNod {
                    path,
                    ino: 300,
                    rdev,
                    mode,
                }
                .into()
            }
            CommandKind::Symlink if self.random.percent(30) => {
                let len = *self.random.pick(&[0, 1, 4094, 4095]);
                let path_link = vec![b's'; len].into();
                command::Symlink {
                    path,
                    ino: 300,
                    path_link,
                }
                .into()
            }
            CommandKind::Symlink => self.making(Kind::Symlink, path),
            CommandKind::Rename => {
                let path_to = self.any_path();
                command::Rename { path, path_to }.into()
            }
            CommandKind::Link => {
                let path_link = self.any_path();
                command::Link { path, path_link }.into()
            }
            CommandKind::Unlink => command::Unlink { path }.into(),
            CommandKind::RmDir => command::RmDir { path }.into(),
            CommandKind::SetXattr => {
                let xattr_name = self.any_xattr(&path);
                let xattr_data = self.any_value(&xattr_name);
                command::SetXattr {
                    path,
                    xattr_name,
                    xattr_data,
                }
                .into()
            }
            CommandKind::RemoveXattr => {
                let xattr_name = self.any_xattr(&path);
                command::RemoveXattr { path, xattr_name }.into()
            }
            CommandKind::Write => {
                let len = self.data_len();
                let (file_offset, data) = (self.any_offset(), data(len));
                command::Write {
                    path,
                    file_offset,
                    data,
                }
                .into()
            }
            CommandKind::Clone => self.any_clone(path),
            CommandKind::Truncate => {
                let size = self.any_offset();
                command::Truncate { path, size }.into()
            }
            CommandKind::Chmod => {
                let mode = *self.random.pick(&[0, 0o644, 0o7777, 0o100_644, u64::MAX]);
                command::Chmod { path, mode }.into()
            }
            CommandKind::Chown => {
                let (uid, gid) = (*self.random.pick(&[0, 1000, 0xffff_ffff, u64::MAX]), 0);
                command::Chown { path, uid, gid }.into()
            }
            CommandKind::UpdateExtent => {
                let (file_offset, size) = (self.any_offset(), self.any_len());
                command::UpdateExtent {
                    path,
                    file_offset,
                    size,
                }
                .into()
            }
            CommandKind::Fallocate => {
                let modes = [0, 1, 2, 3, 4, 16, 17, 18, 8, 32, 64, 128];
                let fallocate_mode = *self.random.pick(&modes);
                let (file_offset, size) = (self.any_offset(), self.any_len());
                command::Fallocate {
                    path,
                    fallocate_mode,
                    file_offset,
                    size,
                }
                .into()
            }
            CommandKind::Fileattr => command::Fileattr { path, fileattr: 1 }.into(),
            CommandKind::EncodedWrite => self.any_encoded_write(path),
            _ => self.times(path),
        }
    }

    /// A path that may be there.
    fn any_path(&mut self) -> Bytes {
        let paths = self.own.tree.paths(|_| true);
        let known = self.random.pick(&paths).clone();
        let name = self.name();
        match self.random.below(40) {
            0..=21 => known,
            22..=28 => self.free_path(),
            // In something that may be no directory.
            29..=33 => join(&known, &name),
            34 => join(&join(&known, &name), b"x"),
            35 => Bytes::new(),
            36 => join(&known, &vec![b'l'; self.random.within(255..=256)]),
            // Other forms of a path.
            37 => {
                let before = *self.random.pick(&[&b""[..], b"/", b"./", b".//", b"//"]);
                let after = *self.random.pick(&[&b""[..], b"/", b"/.", b"//", b"/./"]);
                [before, &known, after].concat().into()
            }
            38 => {
                let odd = [&b"/x"[..], b"./x", b"x/.", b"x/", b"x//"];
                let odd = *self.random.pick(&odd);
                [&known[..], b"/", odd].concat().into()
            }
            _ => name.into(),
        }
    }

    /// Mostly that of a file.
    fn any_file(&mut self) -> Bytes {
        let files = self.own.tree.paths(|kind| kind == Kind::File);
        if files.is_empty() || self.random.percent(15) {
            self.any_path()
        } else {
            self.random.pick(&files).clone()
        }
    }

    fn any_xattr(&mut self, path: &[u8]) -> Bytes {
        let own = self
            .own
            .tree
            .node(path)
            .and_then(|node| node.xattrs.first().cloned());
        let long = ["user.", &"n".repeat(250)].concat();
        let names = [
            "user.a",
            "user.b",
            "user.never",
            "trusted.a",
            "trusted.never",
            "security.a",
            "security.capability",
            "user.",
            "trusted.",
            "user",
            "",
            ".",
            "system.a",
            "system.posix_acl_access",
            "system.posix_acl_default",
            "btrfs.compression",
            "btrfs.other",
            "other.a",
            "User.a",
            &long,
        ];
        match own {
            Some(own) if self.random.percent(40) => own,
            _ => (*self.random.pick(&names)).to_owned().into(),
        }
    }

    fn any_value(&mut self, name: &[u8]) -> Bytes {
        // What a leaf has room for, with its header, an item and the entry's own.
        let room = 16_384 - 101 - 25 - 30 - name.len();
        match self.random.below(14) {
            0 => Bytes::new(),
            1 => data(room),
            2 => data(room + 1),
            3 => data(60_000),
            4 => "zlib".into(),
            // A capability as Linux stores it: version 2, nothing permitted.
            5 => [&[0, 0, 0, 2][..], &[0; 16]].concat().into(),
            6 => access_list(&[(1, 6), (4, 4), (32, 4)]),
            7 => access_list(&[(1, 6), (2, 7), (4, 4), (16, 7), (32, 0)]),
            8 => access_list(&[(1, 6), (2, 7), (4, 4), (32, 0)]),
            9 => "no such value".into(),
            _ => data(100),
        }
    }

    /// Mostly in the first part of a file, on a sector's boundary.
    fn any_offset(&mut self) -> u64 {
        match self.random.below(20) {
            0..=9 => 4096 * self.random.below(20) as u64,
            10..=13 => self.offset(),
            14 => *self.random.pick(&[1, 100, 4095, 4097]),
            15 => 1 << 40,
            16 => *self
                .random
                .pick(&[MAX, MAX - 4095, MAX - 65_535, MAX - 200_000]),
            17 => *self.random.pick(&[MAX + 1, u64::MAX, u64::MAX - 4095]),
            _ => 0,
        }
    }

    fn any_len(&mut self) -> u64 {
        match self.random.below(20) {
            0 => 0,
            1..=9 => 4096 * self.random.within(1..=10) as u64,
            10..=15 => self.random.below(50_000) as u64,
            16 => *self.random.pick(&[1, 100, 4095, 4097]),
            17 => *self.random.pick(&[MAX, MAX + 1, u64::MAX, 1 << 62]),
            _ => 4096,
        }
    }

    /// Mostly from a file that has something, and from within it.
    fn any_clone(&mut self, path: Bytes) -> Command {
        let (tree, clone_uuid, clone_ctransid) = match self.random.below(20) {
            0 => (&self.own.tree, Uuid([7; 16]), 7),
            1..=9 if !self.sources.is_empty() => {
                let source = self.random.pick(self.sources);
                (&source.tree, source.uuid, source.ctransid)
            }
            _ => (&self.own.tree, self.own.uuid, self.own.ctransid),
        };
        let size_of = |path: &Bytes| tree.node(path).map_or(0, |node| node.size);
        let mut files = tree.paths(|kind| kind == Kind::File);
        files.retain(|file| size_of(file) > 0);
        let own = clone_uuid == self.own.uuid;
        let (clone_path, size) = match self.random.below(4) {
            0 if own => (path.clone(), size_of(&path)),
            1 | 2 if !files.is_empty() => {
                let file = self.random.pick(&files);
                (file.clone(), size_of(file))
            }
            _ => (self.any_file(), 4096),
        };
        let inside = 4096 * self.random.below((size / 4096).min(100) as usize + 1) as u64;
        let clone_offset = match self.random.below(4) {
            0 => self.any_offset(),
            _ => inside,
        };
        let left = size.saturating_sub(clone_offset);
        let clone_len = match self.random.below(3) {
            0 => left,
            1 => left.min(4096 * self.random.within(1..=4) as u64),
            _ => self.any_len(),
        };
        let file_offset = self.any_offset();
        command::Clone {
            file_offset,
            clone_len,
            path,
            clone_uuid,
            clone_ctransid,
            clone_path,
            clone_offset,
        }
        .into()
    }

    fn any_encoded_write(&mut self, path: Bytes) -> Command {
        let extent = self.random.pick(payloads());
        let &fields = extent.fields();
        let whole = fields.unencoded_len as usize;
        let unencoded_offset = self.random.below(whole) as u64;
        let left = whole - unencoded_offset as usize;
        let fields = match self.random.below(3) {
            // A slice that may begin anywhere: the ioctl refuses it, and the receiver decodes.
            0 => ExtentFields {
                unencoded_offset,
                len: self.random.within(1..=left) as u64,
                ..fields
            },
            _ => fields,
        };
        // The writer refuses to go beyond the largest size.
        let file_offset = self.any_offset().min(MAX - 200_000);
        command::EncodedWrite::claimed(path, file_offset, &fields, extent.payload().clone()).into()
    }

    /// What means nothing, would wait for the other end of a pipe, or depends on the room there is.
    fn is_better_left_out(&self, command: &Command) -> bool {
        let is_fifo = |path: &Bytes| {
            let trees = self.sources.iter().map(|source| &source.tree);
            let mut trees = trees.chain([&self.own.tree]);
            trees.any(|tree| tree.kind(path) == Some(Kind::Fifo))
        };
        match command {
            Command::MkFile(c) => is_fifo(&c.path),
            // The subvolume itself in place of itself.
            Command::Rename(c) => c.path.is_empty() && c.path_to.is_empty(),
            // No extent is near that long, and receivers need not take it.
            Command::Clone(c) => is_fifo(&c.clone_path) || c.clone_len > 0x7fff_ffff,
            // Punching needs no room.
            Command::Fallocate(c) => {
                let end = c.file_offset.checked_add(c.size);
                c.size > 1 << 20 && c.fallocate_mode != 3 && end.is_some_and(|end| end <= MAX)
            }
            _ => false,
        }
    }
}
