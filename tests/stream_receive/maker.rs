//! What every command is made of: names, places, data.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

use btrfs_payload::extent::EncodedExtent;
use btrfs_payload::prepare::{Level, Options, Prepared, prepare_extent};
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::{Command, Timespec, Uuid, Version, command};
use bytes::Bytes;

use crate::case::Stream;
use crate::support;
use crate::support::Random;
use crate::tree::{Id, Kind, Tree, join};

/// A subvolume that can be cloned from.
#[derive(Debug, Clone)]
pub struct Source {
    pub uuid: Uuid,
    pub ctransid: u64,
    pub tree: Tree,
}

/// Makes a stream.
#[derive(Debug)]
pub struct Maker<'a> {
    pub random: &'a mut Random,
    pub version: Version,
    /// The subvolume as it is after the commands so far, if all of them are right.
    pub own: Source,
    pub sources: &'a [Source],
    /// The file that was written to last. Its path is not written to next when it has become that
    /// of another file.
    open: Option<(Bytes, Id)>,
    pub commands: Vec<Command>,
}

impl<'a> Maker<'a> {
    fn new(random: &'a mut Random, number: usize, sources: &'a [Source], tree: Tree) -> Self {
        let uuid = random.bytes(16).try_into().unwrap();
        let version = *random.pick(&[Version::V1, Version::V2, Version::V2]);
        Self {
            version,
            own: Source {
                uuid: Uuid(uuid),
                ctransid: 10 + number as u64,
                tree,
            },
            random,
            sources,
            open: None,
            commands: Vec::new(),
        }
    }

    pub fn full(random: &'a mut Random, number: usize, sources: &'a [Source]) -> Self {
        let mut maker = Self::new(random, number, sources, Tree::new());
        maker.commands.push(Command::Subvol(command::Subvol {
            path: name_of_subvolume(number),
            uuid: maker.own.uuid,
            ctransid: maker.own.ctransid,
        }));
        maker
    }

    /// On top of the last of the sources.
    pub fn increment(random: &'a mut Random, number: usize, sources: &'a [Source]) -> Self {
        let parent = sources.last().unwrap();
        let mut maker = Self::new(random, number, sources, parent.tree.clone());
        maker.commands.push(Command::Snapshot(command::Snapshot {
            path: name_of_subvolume(number),
            uuid: maker.own.uuid,
            ctransid: maker.own.ctransid,
            clone_uuid: parent.uuid,
            clone_ctransid: parent.ctransid,
        }));
        maker
    }

    /// The subvolume and the stream; `all_right` where nothing was made blindly.
    pub fn done(self, all_right: bool) -> (Source, Stream) {
        let stream = Stream {
            version: self.version,
            commands: self.commands,
            tree: all_right.then(|| self.own.tree.clone()),
        };
        (self.own, stream)
    }

    pub fn blind(&mut self, count: RangeInclusive<usize>) {
        for _ in 0..self.random.within(count) {
            let command = self.any_command();
            self.commands.push(command);
        }
    }

    /// Adds commands that are right.
    pub fn right(&mut self, count: RangeInclusive<usize>) {
        for _ in 0..self.random.within(count) {
            // Now and then there is nothing to remove, rename, clone.
            if let Some(command) = (0..20).find_map(|_| self.right_command()) {
                self.commands.push(command);
            }
        }
    }

    /// A path where nothing is, in a directory that is there.
    pub fn free_path(&mut self) -> Bytes {
        let directories = self.own.tree.paths(|kind| kind == Kind::Directory);
        loop {
            let directory = match self.random.below(3) {
                0 => Bytes::new(),
                _ => self.random.pick(&directories).clone(),
            };
            let name = self.name();
            let path = join(&directory, &name);
            // Far from the 4095 bytes that a path can have with the mount point's.
            if self.own.tree.id(&path).is_none() && path.len() < 2000 {
                return path;
            }
        }
    }

    /// A name that Linux takes.
    pub fn name(&mut self) -> Vec<u8> {
        match self.random.below(60) {
            0 => vec![b'n'; 255],
            1 => b"new\nline".to_vec(),
            2 => vec![0xff, 0xfe],
            3 => b"a=b c".to_vec(),
            _ => {
                let letter = b'a' + self.random.below(8) as u8;
                let digit = b'0' + self.random.below(6) as u8;
                vec![letter, digit]
            }
        }
    }

    pub fn some(&mut self, wanted: impl Fn(Kind) -> bool) -> Option<Bytes> {
        let paths = self.own.tree.paths(wanted);
        (!paths.is_empty()).then(|| self.random.pick(&paths).clone())
    }

    /// A file that data can be written to.
    pub fn some_file(&mut self) -> Option<Bytes> {
        let path = self.some(|kind| kind == Kind::File)?;
        let id = self.own.tree.id(&path)?;
        if matches!(&self.open, Some((open, other)) if *open == path && *other != id) {
            return None;
        }
        Some(path)
    }

    /// Data is written to a file.
    pub fn opened(&mut self, path: &Bytes) {
        self.open = self.own.tree.id(path).map(|id| (path.clone(), id));
    }

    pub fn grow(&mut self, path: &Bytes, end: u64) {
        let node = self.own.tree.node_mut(path);
        node.size = node.size.max(end);
    }

    pub fn ino(&self) -> u64 {
        257 + self.commands.len() as u64
    }

    /// The command that makes something.
    pub fn making(&mut self, kind: Kind, path: Bytes) -> Command {
        let ino = self.ino();
        let (rdev, mode) = (Some(0), Some(0o600));
        match kind {
            Kind::Directory => command::MkDir { path, ino }.into(),
            Kind::File => command::MkFile { path, ino }.into(),
            Kind::Symlink => {
                let path_link = self.target();
                let path_link = path_link.into();
                command::Symlink {
                    path,
                    ino,
                    path_link,
                }
                .into()
            }
            Kind::Fifo => command::MkFifo {
                path,
                ino,
                rdev,
                mode,
            }
            .into(),
            Kind::Socket => command::MkSock {
                path,
                ino,
                rdev,
                mode,
            }
            .into(),
            Kind::Device => {
                let mode = *self.random.pick(&[0o020_000, 0o060_600]);
                let rdev = *self.random.pick(&[0, 0x103, 0x700, 0xffff_ffff]);
                command::MkNod {
                    path,
                    ino,
                    rdev,
                    mode,
                }
                .into()
            }
        }
    }

    /// What a symbolic link points to: mostly nothing.
    fn target(&mut self) -> Vec<u8> {
        match self.random.below(6) {
            0 => self.name(),
            1 => vec![b't'; 4094],
            _ => b"no such/thing".to_vec(),
        }
    }

    /// Bytes that one command of plain data has.
    pub fn data_len(&mut self) -> usize {
        match self.random.below(20) {
            0 => 0,
            1..=8 => self.random.below(5000),
            9..=11 => 4096 * self.random.within(1..=8),
            12 if self.version >= Version::V2 => self.random.below(200_000),
            _ => self.random.below(48 * 1024),
        }
    }

    /// An offset in the first part of a file.
    pub fn offset(&mut self) -> u64 {
        match self.random.below(3) {
            0 => 0,
            1 => 4096 * self.random.below(40) as u64,
            _ => self.random.below(150_000) as u64,
        }
    }

    pub fn times(&mut self, path: Bytes) -> Command {
        let seconds = *self.random.pick(&[0, -1, 1_700_000_000, i64::MAX]);
        let time = Timespec {
            seconds,
            nanoseconds: 999_999_999,
        };
        let otime = (self.version >= Version::V2).then_some(time);
        let (atime, mtime, ctime) = (time, time, time);
        command::Utimes {
            path,
            atime,
            mtime,
            ctime,
            otime,
        }
        .into()
    }
}

fn name_of_subvolume(number: usize) -> Bytes {
    format!("subvolume {number}").into()
}

/// The first bytes of a text, shared.
pub fn data(len: usize) -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| support::text(200_000).into())
        .slice(..len)
}

/// Payloads of each codec and of many lengths.
pub fn payloads() -> &'static [EncodedExtent] {
    static PAYLOADS: OnceLock<Vec<EncodedExtent>> = OnceLock::new();
    PAYLOADS.get_or_init(|| {
        let lengths = [100, 300, 4096, 5000, 8192, 12_345, 65_536, 131_072];
        let each = Codec::ALL.into_iter().flat_map(|codec| {
            let options = Options::new(codec, Level::Number(1));
            lengths.map(|len| prepare_extent(&data(len), &options).unwrap())
        });
        each.filter_map(|prepared| match prepared {
            Prepared::Encoded(extent) => Some(extent),
            _ => None,
        })
        .collect()
    })
}
