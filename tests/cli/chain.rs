//! A full stream and an increment on it, with one of everything.

use btrfs_payload::bytes::Bytes;
use btrfs_payload::send_stream::{Command, Encode, Timespec, Uuid, Version, Writer, command};

use crate::material::lines;

const MONDAY: Uuid = Uuid([0xaa; 16]);
const TUESDAY: Uuid = Uuid([0xbb; 16]);

struct Maker(Writer<Vec<u8>>);

impl Maker {
    fn put(&mut self, command: &impl Encode) {
        self.0.write_command(command).unwrap();
    }

    /// Mode, owner and times, as the kernel sends them at last.
    fn finish(&mut self, path: &'static str, mode: u64, day: i64) {
        let path = Bytes::from_static(path.as_bytes());
        let time = |nanoseconds| Timespec {
            seconds: 1_795_000_000 + 86_400 * day,
            nanoseconds,
        };
        let chown = command::Chown {
            path: path.clone(),
            uid: 1000,
            gid: 100,
        };
        self.put(&chown);
        let chmod = command::Chmod {
            path: path.clone(),
            mode,
        };
        self.put(&chmod);
        self.put(&command::Utimes {
            path,
            atime: time(1),
            mtime: time(2),
            ctime: time(3),
            otime: (day == 0).then(|| time(4)),
        });
    }
}

/// `full`, `increment`, or `changed`: the increment, of a parent that has changed.
pub(crate) fn stream(which: &str) -> Vec<u8> {
    let mut maker = Maker(Writer::new(Vec::new(), Version::V2).unwrap());
    match which {
        "full" => full(&mut maker),
        "increment" => increment(&mut maker, 7),
        "changed" => increment(&mut maker, 8),
        _ => panic!("no such stream: {which}"),
    }
    maker.0.finish().unwrap()
}

fn full(maker: &mut Maker) {
    let path = |path: &'static str| Bytes::from_static(path.as_bytes());
    let mut ino = 256;
    let mut next = || {
        ino += 1;
        ino
    };
    maker.put(&command::Subvol {
        path: path("monday"),
        uuid: MONDAY,
        ctransid: 7,
    });
    let commands: [Command; 12] = [
        command::MkDir {
            path: path("dir"),
            ino: next(),
        }
        .into(),
        command::MkFile {
            path: path("dir/file"),
            ino: next(),
        }
        .into(),
        command::MkFile {
            path: path("old"),
            ino: next(),
        }
        .into(),
        command::Link {
            path: path("dir/same"),
            path_link: path("old"),
        }
        .into(),
        command::Symlink {
            path: path("link"),
            ino: next(),
            path_link: path("dir/no\nline"),
        }
        .into(),
        command::MkNod {
            path: path("null"),
            ino: next(),
            rdev: 0x103,
            mode: 0o020_666,
        }
        .into(),
        command::MkNod {
            path: path("disk"),
            ino: next(),
            rdev: 0x801,
            mode: 0o060_660,
        }
        .into(),
        command::MkFifo {
            path: path("pipe"),
            ino: next(),
            rdev: None,
            mode: None,
        }
        .into(),
        command::MkSock {
            path: path("sock"),
            ino: next(),
            rdev: None,
            mode: None,
        }
        .into(),
        command::SetXattr {
            path: path("dir/file"),
            xattr_name: path("user.note"),
            xattr_data: Bytes::from_static(b"a\xff"),
        }
        .into(),
        command::Fileattr {
            path: path("dir/file"),
            fileattr: 0x10,
        }
        .into(),
        command::Truncate {
            path: path("dir/file"),
            size: 300_000,
        }
        .into(),
    ];
    for command in &commands {
        maker.put(command);
    }
    maker.0.write_data(&path("old"), 0, b"once\n").unwrap();
    maker
        .0
        .write_data(&path("dir/file"), 131_072, &lines(8192))
        .unwrap();
    for (path, mode) in [
        ("dir/file", 0o640),
        ("dir", 0o2755),
        ("old", 0o4711),
        ("null", 0o666),
        ("", 0o755),
    ] {
        maker.finish(path, mode, 0);
    }
}

fn increment(maker: &mut Maker, parent_ctransid: u64) {
    let path = |path: &'static str| Bytes::from_static(path.as_bytes());
    maker.put(&command::Snapshot {
        path: path("tuesday"),
        uuid: TUESDAY,
        ctransid: 9,
        clone_uuid: MONDAY,
        clone_ctransid: parent_ctransid,
    });
    maker.put(&command::Rename {
        path: path("old"),
        path_to: path("dir/new"),
    });
    maker.put(&command::Unlink { path: path("pipe") });
    maker.put(&command::MkFile {
        path: path("copy"),
        ino: 300,
    });
    maker.put(&command::Clone {
        file_offset: 0,
        clone_len: 8192,
        path: path("copy"),
        clone_uuid: MONDAY,
        clone_ctransid: 7,
        clone_path: path("dir/file"),
        clone_offset: 131_072,
    });
    maker.0.write_data(&path("dir/new"), 5, b"twice\n").unwrap();
    maker.finish("copy", 0o600, 1);
    maker.finish("dir/new", 0o644, 1);
}
