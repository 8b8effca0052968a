//! Commands of every kind that a writer of a given version must take.

use btrfs_payload::rules::EncodedIoId;
use btrfs_payload::send_stream::{Command, CommandKind, Timespec, Uuid, Version, command};
use bytes::Bytes;
use quickcheck::{Arbitrary, Gen};

/// A version and commands that its streams can hold, `END` excepted.
#[derive(Debug, Clone)]
pub struct Stream {
    pub version: Version,
    pub commands: Vec<Command>,
}

impl Arbitrary for Stream {
    fn arbitrary(g: &mut Gen) -> Self {
        let version = one_of(g, &Version::ALL);
        let kinds = kinds(version);
        let count = usize::arbitrary(g) % 12;
        let commands = (0..count)
            .map(|_| {
                let kind = one_of(g, &kinds);
                command(g, kind, version)
            })
            .collect();
        Self { version, commands }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let version = self.version;
        let all = self.commands.clone();
        Box::new((0..all.len()).map(move |left_out| {
            let mut commands = all.clone();
            commands.remove(left_out);
            Self { version, commands }
        }))
    }
}

/// The kinds of command that this version has, `END` excepted.
pub fn kinds(version: Version) -> Vec<CommandKind> {
    CommandKind::ALL
        .iter()
        .copied()
        .filter(|kind| kind.since() <= version && *kind != CommandKind::End)
        .collect()
}

fn one_of<T: Copy>(g: &mut Gen, choices: &[T]) -> T {
    *g.choose(choices).unwrap()
}

fn number(g: &mut Gen) -> u64 {
    let any = u64::arbitrary(g);
    one_of(g, &[0, 1, any, any >> 32, u64::MAX])
}

fn uuid(g: &mut Gen) -> Uuid {
    Uuid(std::array::from_fn(|_| u8::arbitrary(g)))
}

fn time(g: &mut Gen) -> Timespec {
    Timespec {
        seconds: i64::arbitrary(g),
        nanoseconds: u32::arbitrary(g) % 1_000_000_000,
    }
}

fn bytes(g: &mut Gen, len: usize) -> Bytes {
    // One random number, stretched: cheap, and a mixed-up order of bytes shows.
    let mut state = u64::arbitrary(g) | 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[7]
        })
        .collect()
}

fn name(g: &mut Gen, longest: usize) -> Bytes {
    let some = usize::arbitrary(g) % longest;
    let len = one_of(g, &[0, 1, some % 40, some, longest]);
    bytes(g, len)
        .iter()
        .map(|&byte| if byte == 0 { b'\n' } else { byte })
        .collect()
}

fn path(g: &mut Gen) -> Bytes {
    name(g, 4095)
}

fn data(g: &mut Gen, longest: usize) -> Bytes {
    let some = usize::arbitrary(g) % longest;
    let len = one_of(g, &[0, 1, some % 100, some, longest]);
    bytes(g, len)
}

fn encoded_write(g: &mut Gen) -> command::EncodedWrite {
    let unencoded_len = 2 + number(g) % (128 * 1024 - 1);
    let unencoded_offset = number(g) % unencoded_len;
    let codec = 1 + u32::arbitrary(g) % 7;
    let encryption = one_of(g, &[None, Some(0)]);
    let len = 1 + usize::arbitrary(g) % (128 * 1024);
    command::EncodedWrite {
        path: path(g),
        file_offset: number(g) >> 2,
        unencoded_file_len: 1 + number(g) % (unencoded_len - unencoded_offset),
        unencoded_len,
        unencoded_offset,
        compression: Some(EncodedIoId(codec)),
        encryption,
        data: bytes(g, len),
    }
}

/// A command of this kind as a stream of this version can hold it.
pub fn command(g: &mut Gen, kind: CommandKind, version: Version) -> Command {
    match kind {
        CommandKind::Subvol => command::Subvol {
            path: path(g),
            uuid: uuid(g),
            ctransid: number(g),
        }
        .into(),
        CommandKind::Snapshot => command::Snapshot {
            path: path(g),
            uuid: uuid(g),
            ctransid: number(g),
            clone_uuid: uuid(g),
            clone_ctransid: number(g),
        }
        .into(),
        CommandKind::MkFile => command::MkFile {
            path: path(g),
            ino: number(g),
        }
        .into(),
        CommandKind::MkDir => command::MkDir {
            path: path(g),
            ino: number(g),
        }
        .into(),
        CommandKind::MkNod => command::MkNod {
            path: path(g),
            ino: number(g),
            rdev: number(g),
            mode: number(g),
        }
        .into(),
        CommandKind::MkFifo => command::MkFifo {
            path: path(g),
            ino: number(g),
            rdev: Option::arbitrary(g),
            mode: Option::arbitrary(g),
        }
        .into(),
        CommandKind::MkSock => command::MkSock {
            path: path(g),
            ino: number(g),
            rdev: Option::arbitrary(g),
            mode: Option::arbitrary(g),
        }
        .into(),
        CommandKind::Symlink => command::Symlink {
            path: path(g),
            ino: number(g),
            path_link: path(g),
        }
        .into(),
        CommandKind::Rename => command::Rename {
            path: path(g),
            path_to: path(g),
        }
        .into(),
        CommandKind::Link => command::Link {
            path: path(g),
            path_link: path(g),
        }
        .into(),
        CommandKind::Unlink => command::Unlink { path: path(g) }.into(),
        CommandKind::RmDir => command::RmDir { path: path(g) }.into(),
        CommandKind::SetXattr => command::SetXattr {
            path: path(g),
            xattr_name: name(g, 255),
            xattr_data: data(g, 60_000),
        }
        .into(),
        CommandKind::RemoveXattr => command::RemoveXattr {
            path: path(g),
            xattr_name: name(g, 255),
        }
        .into(),
        CommandKind::Write => command::Write {
            path: path(g),
            file_offset: number(g),
            data: data(g, version.write_data_len()),
        }
        .into(),
        CommandKind::Clone => command::Clone {
            file_offset: number(g),
            clone_len: number(g),
            path: path(g),
            clone_uuid: uuid(g),
            clone_ctransid: number(g),
            clone_path: path(g),
            clone_offset: number(g),
        }
        .into(),
        CommandKind::Truncate => command::Truncate {
            path: path(g),
            size: number(g),
        }
        .into(),
        CommandKind::Chmod => command::Chmod {
            path: path(g),
            mode: number(g),
        }
        .into(),
        CommandKind::Chown => command::Chown {
            path: path(g),
            uid: number(g),
            gid: number(g),
        }
        .into(),
        CommandKind::Utimes => command::Utimes {
            path: path(g),
            atime: time(g),
            mtime: time(g),
            ctime: time(g),
            otime: (version >= Version::V2 && bool::arbitrary(g)).then(|| time(g)),
        }
        .into(),
        CommandKind::End => command::End {}.into(),
        CommandKind::UpdateExtent => command::UpdateExtent {
            path: path(g),
            file_offset: number(g),
            size: number(g),
        }
        .into(),
        CommandKind::Fallocate => command::Fallocate {
            path: path(g),
            fallocate_mode: u32::arbitrary(g),
            file_offset: number(g),
            size: number(g),
        }
        .into(),
        CommandKind::Fileattr => command::Fileattr {
            path: path(g),
            fileattr: number(g),
        }
        .into(),
        CommandKind::EncodedWrite => encoded_write(g).into(),
        CommandKind::EnableVerity => command::EnableVerity {
            path: path(g),
            verity_algorithm: u8::arbitrary(g),
            verity_block_size: u32::arbitrary(g),
            verity_salt_data: data(g, 32),
            verity_sig_data: data(g, 60_000),
        }
        .into(),
        other => panic!("{other} is not made here"),
    }
}
