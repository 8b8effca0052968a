//! Streams made by hand.

use std::path::Path;

use btrfs_payload::bytes::Bytes;
use btrfs_payload::send_stream::{Encode, Uuid, Version, Writer, command};

/// Puts commands into a full stream.
pub(crate) struct Maker(pub(crate) Writer<Vec<u8>>);

impl Maker {
    pub(crate) fn new() -> Self {
        let mut maker = Self(Writer::new(Vec::new(), Version::V2).unwrap());
        maker.put(command::Subvol {
            path: "s".into(),
            uuid: Uuid([1; 16]),
            ctransid: 1,
        });
        maker
    }

    pub(crate) fn put(&mut self, command: impl Encode) -> &mut Self {
        self.0.write_command(&command).unwrap();
        self
    }

    pub(crate) fn file(&mut self, path: &str) -> &mut Self {
        let path = Bytes::copy_from_slice(path.as_bytes());
        self.put(command::MkFile { path, ino: 300 })
    }

    pub(crate) fn directory(&mut self, path: &str) -> &mut Self {
        let path = Bytes::copy_from_slice(path.as_bytes());
        self.put(command::MkDir { path, ino: 300 })
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> &mut Self {
        let [path, path_to] = [from, to].map(|path| Bytes::copy_from_slice(path.as_bytes()));
        self.put(command::Rename { path, path_to })
    }

    pub(crate) fn clone(&mut self, path: &str, to: u64, from: u64, len: u64) -> &mut Self {
        let path = Bytes::copy_from_slice(path.as_bytes());
        self.put(command::Clone {
            file_offset: to,
            clone_len: len,
            path: path.clone(),
            clone_uuid: Uuid([1; 16]),
            clone_ctransid: 1,
            clone_path: path,
            clone_offset: from,
        })
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &Path) -> &mut Self {
        use std::os::unix::ffi::OsStrExt;
        let path = Bytes::copy_from_slice(path.as_bytes());
        let path_link = Bytes::copy_from_slice(target.as_os_str().as_bytes());
        self.put(command::Symlink {
            path,
            ino: 301,
            path_link,
        })
    }

    pub(crate) fn stream(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}
