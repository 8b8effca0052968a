//! Owners, modes, times, extended attributes and flags of what is unpacked.
//!
//! In this order: a change of owner clears set-id bits and capabilities, and the mode must not let
//! others in before the owner is right. What the process may not set, or the filesystem does not
//! have, is counted.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Gid, IFlags, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::inode::{Inode, Kind};
use super::{FLAGS_XATTR, Flags, LeftOut, UnpackOptions, UnpackSummary};
use crate::files::Beneath;
use crate::rules::sums::add;
use crate::send_stream;

/// What a file has until all of it is there: nobody else may look inside.
pub(super) const PRIVATE: u32 = 0o600;

/// Set-user-ID and set-group-ID.
const SET_IDS: u32 = 0o6000;

/// Flags of an inode as btrfs stores them, and as the ioctl has them
/// (include/uapi/linux/btrfs_tree.h, `BTRFS_INODE_*`; fs/btrfs/ioctl.c,
/// `btrfs_inode_flags_to_fsflags`). NOCOW has to be set while there is no data.
const FLAGS: [(u64, IFlags); 7] = [
    (1 << 1, IFlags::NOCOW),
    (1 << 3, IFlags::from_bits_retain(0x400)), // FS_NOCOMP_FL
    (1 << 5, IFlags::SYNC),
    (1 << 8, IFlags::NODUMP),
    (1 << 9, IFlags::NOATIME),
    (1 << 10, IFlags::DIRSYNC),
    (1 << 11, IFlags::COMPRESSED),
];

/// What keeps a file from being changed: set when everything else is done.
const LOCKS: [(u64, IFlags); 2] = [(1 << 6, IFlags::IMMUTABLE), (1 << 7, IFlags::APPEND)];

/// Sets the attributes of one inode.
pub(super) struct Attributes<'a> {
    options: &'a UnpackOptions,
    summary: &'a mut UnpackSummary,
}

pub(super) fn left_out(summary: &mut UnpackSummary, what: LeftOut) {
    add(summary.left_out.entry(what).or_default(), 1);
}

/// What a process may not do, or a filesystem does not have.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::NOTTY
            | Errno::NOSYS
            | Errno::ROFS
            | Errno::NOSPC
            | Errno::RANGE
            | Errno::TOOBIG
    )
}

impl<'a> Attributes<'a> {
    pub(super) fn new(options: &'a UnpackOptions, summary: &'a mut UnpackSummary) -> Self {
        Self { options, summary }
    }

    /// True where something is set at last that keeps the file from being changed.
    pub(super) fn locks(options: &UnpackOptions, inode: &Inode) -> bool {
        options.flags == Flags::Apply && !chosen(&LOCKS, inode).is_empty()
    }

    /// The mode that a file is made with. Its last one at once saves the kernel a change, where that
    /// is right whoever its group is, lets nobody else write, and is not changed by what follows; else
    /// one that lets nobody else in.
    pub(super) fn first_mode(inode: &Inode) -> Mode {
        let mode = inode.mode();
        let is_own = inode.uid() == rustix::process::geteuid().as_raw();
        let (group, others) = (mode >> 3 & 0o7, mode & 0o7);
        let is_simple = mode & 0o7622 == 0o600 && group == others;
        let stays = is_own && is_simple && inode.xattrs().next().is_none();
        Mode::from_raw_mode(if stays { mode } else { PRIVATE })
    }

    /// What has to be there before data is.
    pub(super) fn before_data(&mut self, fd: BorrowedFd<'_>, inode: &Inode) {
        if self.options.flags == Flags::Apply {
            self.set_flags(fd, chosen(&FLAGS, inode));
        }
        // A property decides how data is stored.
        for (name, value) in inode.xattrs().filter(|(name, _)| is_property(name)) {
            self.xattr(rustix::fs::fsetxattr(
                fd,
                OsStr::from_bytes(name),
                value,
                XattrFlags::empty(),
            ));
        }
    }

    /// Everything but what keeps it from being changed, of a file or directory, which is so far as
    /// `now` has it.
    pub(super) fn of_file(
        &mut self,
        fd: BorrowedFd<'_>,
        now: &Stat,
        inode: &Inode,
    ) -> io::Result<()> {
        // Files belong to who makes them, and a change of owner is a change of the disk.
        let is_owned = (now.st_uid, now.st_gid) == (inode.uid(), inode.gid());
        let owned = is_owned || self.owner(inode, |uid, gid| rustix::fs::fchown(fd, uid, gid));
        for (name, value) in inode.xattrs().filter(|(name, _)| !is_property(name)) {
            let name = OsStr::from_bytes(name);
            self.xattr(rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()));
        }
        if let (Flags::Xattr, Some(flags)) = (self.options.flags, inode.flags()) {
            let value = flags.to_string();
            let flags = XattrFlags::empty();
            self.xattr(rustix::fs::fsetxattr(
                fd,
                FLAGS_XATTR,
                value.as_bytes(),
                flags,
            ));
        }
        let mode = self.mode(inode, owned);
        // Owners and access lists change modes.
        let is_as_made = is_owned && inode.xattrs().next().is_none();
        if !is_as_made || Mode::from_raw_mode(now.st_mode) != mode {
            self.allowed(rustix::fs::fchmod(fd, mode), LeftOut::Mode)?;
        }
        if let Some(times) = times(inode) {
            self.allowed(rustix::fs::futimens(fd, &times), LeftOut::Time)?;
        }
        Ok(())
    }

    /// The same of what is neither.
    pub(super) fn of_name(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        inode: &Inode,
    ) -> io::Result<()> {
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        let owned = self.owner(inode, |uid, gid| {
            rustix::fs::chownat(directory, name, uid, gid, no_follow)
        });
        // Calls that take no descriptor of a directory: by the way of the descriptor.
        let path = [
            Beneath::by_descriptor(directory.as_fd()).as_bytes(),
            b"/",
            name.as_bytes(),
        ]
        .concat();
        let path = OsStr::from_bytes(&path);
        for (name, value) in inode.xattrs().filter(|(name, _)| !is_property(name)) {
            let name = OsStr::from_bytes(name);
            let flags = XattrFlags::empty();
            self.xattr(rustix::fs::lsetxattr(path, name, value, flags));
        }
        if !matches!(inode.kind(), Kind::Symlink { .. }) {
            let mode = self.mode(inode, owned);
            // It has just been made, and is no symbolic link.
            let changed = rustix::fs::chmodat(directory, name, mode, AtFlags::empty());
            self.allowed(changed, LeftOut::Mode)?;
        }
        if let Some(times) = times(inode) {
            let set = rustix::fs::utimensat(directory, name, &times, no_follow);
            self.allowed(set, LeftOut::Time)?;
        }
        Ok(())
    }

    /// What keeps it from being changed.
    pub(super) fn lock(&mut self, fd: BorrowedFd<'_>, inode: &Inode) {
        if self.options.flags == Flags::Apply {
            let locks = chosen(&LOCKS, inode);
            if !locks.is_empty() {
                self.set_flags(fd, locks | chosen(&FLAGS, inode));
            }
        }
    }

    /// True where the owner is the right one now.
    fn owner(
        &mut self,
        inode: &Inode,
        change: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> bool {
        let (uid, gid) = (Uid::from_raw(inode.uid()), Gid::from_raw(inode.gid()));
        let own = (rustix::process::geteuid(), rustix::process::getegid());
        let owned = match self.options.same_owner {
            true => change(Some(uid), Some(gid)).is_ok(),
            false => (uid, gid) == own,
        };
        if !owned {
            left_out(self.summary, LeftOut::Owner);
            // The group alone can be changed by its members.
            if self.options.same_owner {
                let _ = change(None, Some(gid));
            }
        }
        owned
    }

    fn xattr(&mut self, set: Result<(), Errno>) {
        if set.is_err() {
            left_out(self.summary, LeftOut::Xattr);
        }
    }

    fn set_flags(&mut self, fd: BorrowedFd<'_>, flags: IFlags) {
        if !flags.is_empty() && rustix::fs::ioctl_setflags(fd, flags).is_err() {
            left_out(self.summary, LeftOut::Flags);
        }
    }

    /// The mode; set-id bits are for the right owner only.
    fn mode(&mut self, inode: &Inode, owned: bool) -> Mode {
        let mode = inode.mode();
        let is_file = !inode.is_directory();
        if !owned && is_file && mode & SET_IDS != 0 {
            left_out(self.summary, LeftOut::SetId);
            return Mode::from_raw_mode(mode & !SET_IDS);
        }
        Mode::from_raw_mode(mode)
    }

    /// What is refused is left out.
    fn allowed(&mut self, changed: Result<(), Errno>, what: LeftOut) -> io::Result<()> {
        match changed {
            Err(errno) if is_refusal(errno) => left_out(self.summary, what),
            changed => changed?,
        }
        Ok(())
    }
}

/// `btrfs.compression` and the like.
fn is_property(name: &[u8]) -> bool {
    name.starts_with(b"btrfs.")
}

/// Those flags of a table that the inode has.
fn chosen(table: &[(u64, IFlags)], inode: &Inode) -> IFlags {
    let flags = inode.flags().unwrap_or(0);
    let has = table.iter().filter(|(bit, _)| flags & bit != 0);
    has.map(|(_, flag)| *flag).collect()
}

/// The times, where the stream has set some.
fn times(inode: &Inode) -> Option<Timestamps> {
    let times = inode.times();
    let time = |time: send_stream::Timespec| Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.min(999_999_999).into(),
    };
    (*times != Default::default()).then(|| Timestamps {
        last_access: time(times.atime),
        last_modification: time(times.mtime),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_let_in_early_who_may_not_be_let_in_at_last() {
        let own = rustix::process::geteuid().as_raw();
        let first = |mode, uid, xattr: bool| {
            let mut inode = Inode::new(Kind::File, 257, mode);
            inode.uid = uid;
            if xattr {
                inode.set_xattr(b"system.posix_acl_access", b"x");
            }
            Attributes::first_mode(&inode).as_raw_mode()
        };
        for (mode, expected) in [
            (0o600, 0o600),
            (0o644, 0o644),
            (0o755, 0o755),
            (0o700, 0o700),
            // Its group may be another one at first.
            (0o640, PRIVATE),
            (0o604, PRIVATE),
            // Others could write while it is written.
            (0o666, PRIVATE),
            (0o664, PRIVATE),
            // It has to be writable, and whose bits these are is not certain yet.
            (0o444, PRIVATE),
            (0o4755, PRIVATE),
            (0o2755, PRIVATE),
            (0o1644, PRIVATE),
        ] {
            assert_eq!(first(mode, own, false), expected, "{mode:o}");
            assert_eq!(first(mode, own.wrapping_add(1), false), PRIVATE, "{mode:o}");
            assert_eq!(first(mode, own, true), PRIVATE, "{mode:o}");
        }
    }
}
