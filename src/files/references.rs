//! Who shows which part of an extent: every file, in every subvolume and snapshot.

use std::os::fd::AsFd;

use super::item::{FileExtentItem, Stored};
use crate::ioctl::{self, Items, Key, QueryError};

/// A place where a file shows a part of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Reference {
    /// The subvolume.
    pub root: u64,
    /// The inode in it.
    pub inode: u64,
    /// Where in the file, bytes.
    pub offset: u64,
    /// Bytes of the file.
    pub len: u64,
    /// Where in what the extent decodes to the shown part begins, bytes.
    pub extent_offset: u64,
    /// It reads as zeroes, whatever the extent has.
    pub preallocated: bool,
    /// Bytes on disk of the extent.
    pub disk_bytes: u64,
}

/// What [`References::of`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The places, sorted by subvolume, inode and offset.
    pub references: Vec<Reference>,
    /// Some are missing: there are more than the kernel tells (some 700,000).
    pub truncated: bool,
}

/// Looks up references; keeps a buffer.
#[derive(Debug)]
pub struct References<F> {
    fd: F,
    items: Items<F>,
}

impl<F: AsFd + Copy> References<F> {
    /// With any descriptor of the filesystem. Needs `CAP_SYS_ADMIN`.
    pub fn new(fd: F) -> Self {
        let none = Key::first_of(0)..=Key::first_of(0);
        // A leaf has at most 64 KiB, but this item has 53 bytes.
        let items = ioctl::items(fd, 0, none).buffer_of(0);
        Self { fd, items }
    }

    /// Every place where a file shows a part of the extent at this address.
    ///
    /// The files may change at any time: what is there is as of the call. A reference that goes
    /// away between the two questions that this takes is left out.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn of(&mut self, bytenr: u64) -> Result<Found, QueryError> {
        let inodes = ioctl::inodes_of(self.fd, bytenr)?;
        let mut references = Vec::with_capacity(inodes.references.len());
        for place in inodes.references {
            let key = Key {
                objectid: place.inode,
                item_type: Key::EXTENT_DATA,
                offset: place.offset,
            };
            self.items.restart(place.root, key..=key);
            let item = match self.items.next_item() {
                Ok(Some(item)) => FileExtentItem::parse(item.bytes),
                Ok(None) | Err(QueryError::Gone { .. }) => None,
                Err(error) => return Err(error),
            };
            if let Some(item) = item.filter(|item| item.bytenr == bytenr) {
                references.push(Reference {
                    root: place.root,
                    inode: place.inode,
                    offset: place.offset,
                    len: item.len,
                    extent_offset: item.extent_offset,
                    preallocated: item.stored == Stored::Preallocated,
                    disk_bytes: item.disk_bytes,
                });
            }
        }
        Ok(Found {
            references,
            truncated: inodes.truncated,
        })
    }
}
