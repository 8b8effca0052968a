//! What the filesystem and the kernel behind a descriptor can do.

use std::os::fd::{AsFd, BorrowedFd};

use btrfs_payload_common::{Cursor, Kernel};
use rustix::fs::{FileType, IFlags, OFlags};
use rustix::io::Errno;

use super::tree::{Key, find_item};
use super::{ProbeError, sys};
use crate::rules::Target;
use crate::rules::limits::{DEFAULT_MAX_INLINE, MIN_SECTOR_SIZE};

/// Where `struct btrfs_inode_item` has its `flags`, bytes.
const INODE_FLAGS_AT: usize = 64;
/// `BTRFS_INODE_NODATASUM` in those flags.
const INODE_NODATASUM: u64 = 1;

/// Whether encoded reads and writes can be made through a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodedIo {
    /// They can.
    Supported,
    /// The kernel knows them, this process may not make them: no `CAP_SYS_ADMIN`.
    NotPermitted,
    /// The kernel is older than 5.18, or has none for sectors larger than a page.
    Unsupported,
}

/// What [`probe`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Sector size of the filesystem, bytes.
    pub sector_size: u32,
    /// Node size of the filesystem, bytes.
    pub node_size: u32,
    /// Page size of this machine, bytes.
    pub page_size: u32,
    /// Whether encoded reads and writes are possible.
    pub encoded_io: EncodedIo,
    /// Release of the running kernel, as `uname -r` has it.
    pub release: String,
    /// The kernel that this is; `None` before 5.19, which nobody has looked at.
    pub kernel: Option<Kernel>,
    /// The descriptor is of a regular file; only those have extents.
    pub regular_file: bool,
    /// The descriptor is open for writing.
    pub writable: bool,
    /// The descriptor is open for appending: encoded writes would ignore their offset.
    pub append: bool,
    /// Size of the file, bytes.
    pub file_size: u64,
    /// The file has the attribute NODATACOW (`chattr +C`).
    pub nodatacow: bool,
    /// The file keeps no checksums, by the attribute NODATACOW or because it was created under
    /// the mount option `nodatasum`: it takes no encoded writes. The second cause is visible
    /// only with `CAP_SYS_ADMIN`, which encoded writes need anyway; without it this is the same
    /// as `nodatacow`.
    pub nodatasum: bool,
}

impl Probe {
    /// The target of a write at this offset of the file.
    ///
    /// The mount option `max_inline` cannot be seen through a descriptor; the default is
    /// assumed. Who wants payloads to be sound under any value sets `max_inline` to the sector
    /// size.
    #[must_use]
    pub fn target(&self, offset: u64) -> Target {
        Target {
            sector_size: self.sector_size,
            page_size: self.page_size,
            max_inline: DEFAULT_MAX_INLINE,
            node_size: self.node_size,
            offset,
            file_size: self.file_size,
            nodatasum: self.nodatasum,
        }
    }
}

/// Looks at the filesystem, the file and the kernel behind a descriptor; changes nothing.
///
/// It is btrfs if it answers btrfs's own `BTRFS_IOC_FS_INFO`, which needs no privilege. Encoded
/// I/O is tried with an encoded read into no buffer: the kernel checks the privilege and the
/// arguments, then returns 0 without looking at the file, whatever it is. Reads and writes came
/// with the same release, and a kernel that has neither says ENOTTY before it asks for
/// privilege.
///
/// # Errors
/// [`ProbeError::NotBtrfs`]; [`ProbeError::Call`] where the descriptor cannot be asked at all.
pub fn probe(fd: impl AsFd) -> Result<Probe, ProbeError> {
    let fd = fd.as_fd();
    let info = sys::space::fs_info(fd).map_err(|errno| match errno {
        Errno::NOTTY => ProbeError::NotBtrfs,
        errno => call("BTRFS_IOC_FS_INFO")(errno),
    })?;
    let stat = rustix::fs::fstat(fd).map_err(call("fstat"))?;
    let flags = rustix::fs::fcntl_getfl(fd).map_err(call("fcntl(F_GETFL)"))?;
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let regular_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let nodatacow = regular_file && is_nodatacow(fd);
    Ok(Probe {
        sector_size: info.sectorsize,
        node_size: info.nodesize,
        page_size: u32::try_from(rustix::param::page_size()).unwrap_or(MIN_SECTOR_SIZE),
        encoded_io: encoded_io(fd)?,
        kernel: release.parse().ok(),
        release,
        regular_file,
        writable: flags.intersects(OFlags::WRONLY | OFlags::RDWR),
        append: flags.contains(OFlags::APPEND),
        file_size: u64::try_from(stat.st_size).unwrap_or(0),
        nodatacow,
        nodatasum: nodatacow || (regular_file && is_nodatasum(fd, stat.st_ino)),
    })
}

/// True where the descriptor is of a btrfs: its own ioctl answers.
pub(super) fn is_btrfs(fd: BorrowedFd<'_>) -> bool {
    sys::space::fs_info(fd).is_ok()
}

fn call(call: &'static str) -> impl Fn(Errno) -> ProbeError {
    move |errno| ProbeError::Call {
        call,
        source: errno.into(),
    }
}

fn encoded_io(fd: BorrowedFd<'_>) -> Result<EncodedIo, ProbeError> {
    match sys::encoded_read(fd, 0, &mut []) {
        Ok(_) => Ok(EncodedIo::Supported),
        Err(Errno::PERM) => Ok(EncodedIo::NotPermitted),
        Err(Errno::NOTTY) => Ok(EncodedIo::Unsupported),
        Err(errno) => Err(call("BTRFS_IOC_ENCODED_READ")(errno)),
    }
}

fn is_nodatacow(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::ioctl_getflags(fd).is_ok_and(|flags| flags.contains(IFlags::NOCOW))
}

/// Looks at the inode's item in the tree. New files are in the tree from their creation, and
/// the flag never changes later without NODATACOW changing too.
fn is_nodatasum(fd: BorrowedFd<'_>, inode: u64) -> bool {
    let Ok(Some(item)) = find_item(fd, inode, Key::INODE_ITEM, 0..=0) else {
        return false;
    };
    let flags = item.bytes.get(INODE_FLAGS_AT..).unwrap_or_default();
    Cursor::new(flags, 0)
        .u64_le()
        .is_ok_and(|flags| flags & INODE_NODATASUM != 0)
}
