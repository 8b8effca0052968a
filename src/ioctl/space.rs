//! What a filesystem is, and how much of it is used.

use std::os::fd::AsFd;

use linux_raw_sys::btrfs::{
    BTRFS_BLOCK_GROUP_DATA, BTRFS_BLOCK_GROUP_METADATA, BTRFS_BLOCK_GROUP_SYSTEM,
    BTRFS_SPACE_INFO_GLOBAL_RSV,
};

use super::{QueryError, sys};
/// Bytes that a filesystem uses, each counted once whatever the profile: two copies (`DUP`,
/// `RAID1`) count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SpaceUsed {
    /// Contents of files, but for what is inline.
    pub data: u64,
    /// Trees.
    pub metadata: u64,
    /// What the filesystem needs to find itself.
    pub system: u64,
}

impl SpaceUsed {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.data
            .saturating_add(self.metadata)
            .saturating_add(self.system)
    }
}

/// `ioctl(fd, BTRFS_IOC_SPACE_INFO)`: the bytes that the filesystem uses, as of its last
/// transaction: call `syncfs` first for what has just been written or freed. Needs no privilege.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_SPACE_INFO")]
pub fn space_used(fd: impl AsFd) -> Result<SpaceUsed, QueryError> {
    let fd = fd.as_fd();
    let entries = sys::space::space_info(fd)
        .map_err(|errno| QueryError::new("BTRFS_IOC_SPACE_INFO", fd, errno))?;
    let mut used = SpaceUsed::default();
    for (flags, bytes) in entries {
        // The reserve is a part of the metadata that is there in any case.
        if flags & BTRFS_SPACE_INFO_GLOBAL_RSV != 0 {
            continue;
        }
        let is = |kind: u32| flags & u64::from(kind) != 0;
        if is(BTRFS_BLOCK_GROUP_DATA) {
            used.data = used.data.saturating_add(bytes);
        } else if is(BTRFS_BLOCK_GROUP_METADATA) {
            used.metadata = used.metadata.saturating_add(bytes);
        } else if is(BTRFS_BLOCK_GROUP_SYSTEM) {
            used.system = used.system.saturating_add(bytes);
        }
    }
    Ok(used)
}

/// What a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filesystem {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Bytes of a sector, the unit of allocation.
    pub sector_size: u32,
    /// Bytes of a node of a tree.
    pub node_size: u32,
}

/// `ioctl(fd, BTRFS_IOC_FS_INFO)`: the filesystem of a descriptor. Needs no privilege.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_FS_INFO")]
pub fn filesystem(fd: impl AsFd) -> Result<Filesystem, QueryError> {
    let fd = fd.as_fd();
    let info =
        sys::space::fs_info(fd).map_err(|errno| QueryError::new("BTRFS_IOC_FS_INFO", fd, errno))?;
    Ok(Filesystem {
        uuid: info.fsid,
        sector_size: info.sectorsize,
        node_size: info.nodesize,
    })
}

/// `ioctl(fd, BTRFS_IOC_START_SYNC)` and `BTRFS_IOC_WAIT_SYNC`, after `syncfs`: writes everything
/// to disk, and gives the number of the transaction that has it. What is made later has a greater
/// one. Needs no privilege.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_WAIT_SYNC")]
pub fn commit(fd: impl AsFd) -> Result<u64, QueryError> {
    let fd = fd.as_fd();
    let error = |call| move |errno| QueryError::new(call, fd, errno);
    rustix::fs::syncfs(fd).map_err(error("syncfs"))?;
    let transaction = sys::space::start_sync(fd).map_err(error("BTRFS_IOC_START_SYNC"))?;
    sys::space::wait_sync(fd, transaction).map_err(error("BTRFS_IOC_WAIT_SYNC"))?;
    Ok(transaction)
}
