//! What a copy keeps of its original: owner, extended attributes, times, mode. In this order:
//! changing the owner clears set-id bits, and the mode must not let others read before the owner
//! is right.
//!
//! Nothing here is an error: the data is safe, and what cannot be kept is reported.

use std::fmt::Display;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use btrfs_payload::transform::Escaped;

use crate::output::remark;

/// The extended attribute that holds an access control list (acl(5)).
pub(crate) const ACL: &str = "system.posix_acl_access";
/// The one that holds capabilities (capabilities(7)).
const CAPABILITIES: &[u8] = b"security.capability";
/// The one that speaks of writes to come to a file on btrfs.
const COMPRESSION: &[u8] = b"btrfs.compression";

/// Set-user-ID and set-group-ID.
const SET_IDS: u32 = 0o6000;

/// All of them, as far as the process may set them.
pub(crate) fn keep(source: &File, metadata: &Metadata, dest: &File) {
    let owner_kept = keep_owner(metadata, dest);
    keep_xattrs(source, dest, owner_kept);
    keep_times(metadata, dest);
    keep_mode(metadata, dest, owner_kept);
}

/// True when the owner and the group are now the original's.
pub(crate) fn keep_owner(original: &Metadata, file: &File) -> bool {
    let (user, group) = (original.uid(), original.gid());
    let owner = |file: &File| file.metadata().map(|now| (now.uid(), now.gid()));
    if owner(file).is_ok_and(|now| now == (user, group)) {
        return true;
    }
    let changed = fchown(file, Some(user), Some(group));
    if changed.is_err() {
        // The group alone can be changed by its members.
        let _ = fchown(file, None, Some(group));
    }
    // Filesystems on a network may say yes and do otherwise.
    let kept = owner(file).is_ok_and(|now| now == (user, group));
    if !kept {
        let error = changed.err();
        not_kept(
            "owner",
            &error.unwrap_or_else(|| io::Error::other("it is another")),
        );
    }
    kept
}

/// The last: from here on others may read the file.
pub(crate) fn keep_mode(original: &Metadata, file: &File, owner_kept: bool) {
    let mut mode = original.mode() & 0o7777;
    if !owner_kept && mode & SET_IDS != 0 {
        mode &= !SET_IDS;
        remark(format_args!(
            "set-user-ID and set-group-ID are not kept: they would be another owner's"
        ));
    }
    let set = file.metadata().and_then(|now| {
        let mode = mode & !0o777 | mode_for(mode, now.gid() == original.gid());
        file.set_permissions(Permissions::from_mode(mode))
    });
    if let Err(error) = set {
        not_kept("mode", &error);
    }
}

/// Permissions of a file that is of the same group or not: another group is to have no more than
/// everybody has.
pub(crate) fn mode_for(mode: u32, same_group: bool) -> u32 {
    let mode = mode & 0o777;
    if same_group {
        mode
    } else {
        mode & (0o707 | (mode & 0o007) << 3)
    }
}

fn keep_times(original: &Metadata, file: &File) {
    let set = || {
        let times = FileTimes::new()
            .set_accessed(original.accessed()?)
            .set_modified(original.modified()?);
        file.set_times(times)
    };
    if let Err(error) = set() {
        not_kept("time of modification", &error);
    }
}

/// Extended attributes, except those that do not go with the data.
fn keep_xattrs(source: &File, dest: &File, owner_kept: bool) {
    // The kernel's own limits (include/uapi/linux/limits.h): 64 KiB of names, 64 KiB a value.
    let (mut names, mut value) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let used = match rustix::fs::flistxattr(source, &mut names) {
        Ok(used) => used,
        Err(rustix::io::Errno::NOTSUP) => return,
        Err(errno) => return not_kept("list of extended attributes", &io::Error::from(errno)),
    };
    let names = names.get(..used).unwrap_or_default();
    let names = names.split(|&byte| byte == 0);
    for name in names.filter(|name| !name.is_empty() && *name != COMPRESSION) {
        let what = || format!("attribute {}", Escaped(name));
        if name == CAPABILITIES && !owner_kept {
            not_kept(what(), &"they would be another owner's");
            continue;
        }
        let set = rustix::fs::fgetxattr(source, name, &mut value).and_then(|len| {
            let value = value.get(..len).unwrap_or_default();
            rustix::fs::fsetxattr(dest, name, value, rustix::fs::XattrFlags::empty())
        });
        if let Err(errno) = set {
            not_kept(what(), &io::Error::from(errno));
        }
    }
}

fn not_kept(what: impl Display, why: &dyn Display) {
    remark(format_args!("the {what} is not kept: {why}"));
}
