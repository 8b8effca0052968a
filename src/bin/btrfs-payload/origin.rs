//! Permissions of what is made: who may not read the input may not read the output.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use rustix::fs::Mode;

use crate::attributes;

/// What an output is made from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// Of a file or a block device; pipes and terminals are open to nobody else anyway.
    metadata: Option<Metadata>,
    /// Its group's part of the mode is what anybody on a list has at most (acl(5)).
    has_acl: bool,
    /// What other origins deny.
    denied: u32,
}

impl Origin {
    pub(crate) fn of(file: &File) -> Self {
        let metadata = file.metadata().ok();
        let counts =
            |metadata: &Metadata| metadata.is_file() || metadata.file_type().is_block_device();
        Self {
            metadata: metadata.filter(counts),
            has_acl: rustix::fs::fgetxattr(file, attributes::ACL, &mut [0; 0][..]).is_ok(),
            denied: 0,
        }
    }

    /// What its owner alone may read.
    pub(crate) fn private() -> Self {
        Self {
            denied: 0o077,
            ..Self::default()
        }
    }

    /// With another one besides: what is made of both is for those who may read both. Members of
    /// its group are taken for others.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.denied |= other.denied;
        if let Some(other) = &other.metadata {
            self.denied |= 0o777 & !attributes::mode_for(other.mode(), false);
        }
        self
    }

    /// The mode of a new file of this group that may stand in the place of an old one: that of
    /// any new file, without what the origin and the old one deny.
    pub(crate) fn mode(&self, group: u32, old: Option<&Metadata>) -> u32 {
        let mut mode = 0o666 & !umask() & !self.denied;
        if let Some(origin) = &self.metadata {
            let same_group = origin.gid() == group && !self.has_acl;
            mode &= attributes::mode_for(origin.mode(), same_group);
        }
        if let Some(old) = old {
            mode &= attributes::mode_for(old.mode(), old.gid() == group);
        }
        mode
    }

    /// Gives a new file its mode. A file that replaces its origin keeps owner and mode.
    pub(crate) fn permit(&self, file: &File, old: Option<&Metadata>) -> io::Result<()> {
        if let (Some(origin), Some(old)) = (&self.metadata, old)
            && (origin.dev(), origin.ino()) == (old.dev(), old.ino())
        {
            let owner_kept = attributes::keep_owner(old, file);
            attributes::keep_mode(old, file, owner_kept);
            return Ok(());
        }
        let mode = self.mode(file.metadata()?.gid(), old);
        file.set_permissions(Permissions::from_mode(mode))
    }
}

/// The mode of a directory of such files: whoever may read them may enter, and the owner all.
pub(crate) fn directory_mode(file_mode: u32) -> u32 {
    file_mode | (file_mode & 0o444) >> 2 | 0o700
}

/// Lets those into a new directory who may enter the one that it is made after, and not those whom
/// the umask keeps out.
pub(crate) fn permit_directory(_: &File, source: &Metadata, made: &File) {
    let set = made.metadata().and_then(|now| {
        let mode = attributes::mode_for(source.mode(), now.gid() == source.gid()) & !umask();
        made.set_permissions(Permissions::from_mode(mode | 0o700))
    });
    // It stays closed otherwise.
    drop(set);
}

/// What new files are not to allow. Looking means setting: for a moment they are to allow less.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(mask);
    mask.bits()
}
