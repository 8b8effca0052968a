//! Which subvolume a descriptor is in, and what it is.

use std::os::fd::AsFd;

use linux_raw_sys::btrfs::{BTRFS_FIRST_FREE_OBJECTID, BTRFS_ROOT_SUBVOL_RDONLY};

use super::{QueryError, sys};

/// What a subvolume is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subvolume {
    /// Its number, which is that of its tree.
    pub id: u64,
    /// The subvolume that it lies in; 0 for the top of the filesystem.
    pub parent: u64,
    /// The directory of the parent that it lies in.
    pub directory: u64,
    /// Its name there, as bytes.
    pub name: Vec<u8>,
    /// The transaction that wrote its tree last.
    pub generation: u64,
    /// It is a snapshot or subvolume that nobody may write to.
    pub read_only: bool,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// The UUID of what it is a snapshot of; zeroes where it is none.
    pub parent_uuid: [u8; 16],
    /// The UUID that it had where it was sent from; zeroes where it was not received.
    pub received_uuid: [u8; 16],
}

/// `ioctl(fd, BTRFS_IOC_INO_LOOKUP)`: the number of the subvolume that the descriptor is in.
/// Needs no privilege.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_INO_LOOKUP")]
pub fn subvolume_id(fd: impl AsFd) -> Result<u64, QueryError> {
    let fd = fd.as_fd();
    // The top directory of the descriptor's own subvolume is the one that anybody may ask for.
    let (tree, _) = sys::names::ino_lookup(fd, 0, BTRFS_FIRST_FREE_OBJECTID.into())
        .map_err(|errno| QueryError::new("BTRFS_IOC_INO_LOOKUP", fd, errno))?;
    Ok(tree)
}

/// The path of a directory from the top of its subvolume, as bytes, without a `/` at either end.
/// Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// [`QueryError`].
pub fn directory_path(fd: impl AsFd, subvolume: u64, inode: u64) -> Result<Vec<u8>, QueryError> {
    let fd = fd.as_fd();
    let (_, mut path) = sys::names::ino_lookup(fd, subvolume, inode)
        .map_err(|errno| QueryError::new("BTRFS_IOC_INO_LOOKUP", fd, errno))?;
    while path.last() == Some(&b'/') {
        path.pop();
    }
    Ok(path)
}

/// `ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO)`: what the descriptor's subvolume is. Needs no
/// privilege, and Linux 4.18.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_GET_SUBVOL_INFO")]
pub fn subvolume(fd: impl AsFd) -> Result<Subvolume, QueryError> {
    let fd = fd.as_fd();
    let info = sys::names::subvol_info(fd)
        .map_err(|errno| QueryError::new("BTRFS_IOC_GET_SUBVOL_INFO", fd, errno))?;
    let name = info.name.iter().map(|&byte| byte.cast_unsigned());
    Ok(Subvolume {
        id: info.treeid,
        parent: info.parent_id,
        directory: info.dirid,
        name: name.take_while(|&byte| byte != 0).collect(),
        generation: info.generation,
        read_only: info.flags & u64::from(BTRFS_ROOT_SUBVOL_RDONLY) != 0,
        uuid: info.uuid,
        parent_uuid: info.parent_uuid,
        received_uuid: info.received_uuid,
    })
}
