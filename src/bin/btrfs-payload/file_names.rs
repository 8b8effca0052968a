//! How files on btrfs are named.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use btrfs_payload::files::Name;

use crate::output::shown;

/// A file's name for people: a path where it is below one that was asked for, else with its
/// subvolume in brackets.
pub(crate) fn spelled(name: &Name, root: u64, inode: u64) -> String {
    let bytes = |path: &[u8]| shown(OsStr::from_bytes(path)).to_string();
    match name {
        Name::Path(path) => bytes(path),
        Name::Elsewhere { subvolume, path } => format!("[/{}]/{}", bytes(subvolume), bytes(path)),
        _ => format!("inode {inode} of subvolume {root}"),
    }
}
