//! What becomes of extents.

use std::collections::BTreeMap;

/// Why an extent is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Left {
    /// It would not save enough.
    NoSaving,
    /// A file shows it that keeps no checksums (NOCOW, NODATASUM), and so cannot have compressed
    /// extents; a swap file is one.
    NoChecksums,
    /// A part of it is reserved and not written: it would be reserved no more.
    Preallocated,
    /// A file shows it that is not to be compressed (`btrfs property set FILE compression none`).
    NotWanted,
    /// A file shows it that is immutable or append-only (`chattr +i`, `+a`).
    Immutable,
    /// A file shows it that may not be changed by this process.
    OutOfReach,
    /// A file shows it in a place that is mounted read-only.
    ReadOnly,
    /// A file shows it past its end.
    PastTheEnd,
    /// Files of different lengths end within one of its sectors.
    DifferentEnds,
    /// More places show it than the kernel tells.
    TooManyReferences,
    /// A snapshot that shows it is being sent.
    Busy,
    /// A file shows it that somebody has open for writing.
    OpenForWriting,
    /// It was written to, again and again.
    Changed,
    /// No space for the new extents, or a quota is full.
    NoSpace,
    /// It cannot be read: see the kernel's log, and `scan --verify`.
    Unreadable,
    /// Its compression type is unknown.
    UnknownType,
    /// Without root: something else shows it too, and only root can see what.
    SharedUnseen,
    /// Without root: it is compressed, and how much it takes on disk only root can see.
    CompressedUnseen,
    /// Without root: no unnamed file can be made in the directory of the file that shows it.
    NoTemporary,
}

impl Left {
    /// It may go away by itself: worth another try the next time.
    #[must_use]
    pub fn is_for_now(self) -> bool {
        matches!(
            self,
            Self::Busy | Self::OpenForWriting | Self::Changed | Self::NoSpace | Self::ReadOnly
        )
    }

    /// A name for it that stays.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSaving => "no-saving",
            Self::NoChecksums => "no-checksums",
            Self::Preallocated => "preallocated",
            Self::NotWanted => "not-wanted",
            Self::Immutable => "immutable",
            Self::OutOfReach => "out-of-reach",
            Self::ReadOnly => "read-only",
            Self::PastTheEnd => "past-the-end",
            Self::DifferentEnds => "different-ends",
            Self::TooManyReferences => "too-many-references",
            Self::Busy => "busy",
            Self::OpenForWriting => "open-for-writing",
            Self::Changed => "changed",
            Self::NoSpace => "no-space",
            Self::Unreadable => "unreadable",
            Self::UnknownType => "unknown-type",
            Self::SharedUnseen => "shared-unseen",
            Self::CompressedUnseen => "compressed-unseen",
            Self::NoTemporary => "no-temporary",
        }
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoSaving => "would save too little",
            Self::NoChecksums => "a file that shows it keeps no checksums (NOCOW)",
            Self::Preallocated => "a part is preallocated",
            Self::NotWanted => {
                "a file that shows it is not to be compressed (property compression=none)"
            }
            Self::Immutable => "a file that shows it is immutable or append-only",
            Self::OutOfReach => "a file that shows it may not be changed",
            Self::ReadOnly => "mounted read-only",
            Self::PastTheEnd => "a file shows it past its end",
            Self::DifferentEnds => "files of different lengths end in one of its sectors",
            Self::TooManyReferences => "too many files show it",
            Self::Busy => "a snapshot that shows it is being sent",
            Self::OpenForWriting => "a file that shows it is open for writing",
            Self::Changed => "written to meanwhile",
            Self::NoSpace => "no space for the new extents",
            Self::Unreadable => "cannot be read",
            Self::UnknownType => "unknown compression type",
            Self::SharedUnseen => "shared: only root can see by whom",
            Self::CompressedUnseen => {
                "compressed already: how much it takes on disk only root can see"
            }
            Self::NoTemporary => {
                "no temporary file can be made beside the file: name a writable directory with \
                 --temp-dir"
            }
        })
    }
}

/// Extents, and what they take on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Share {
    /// Extents.
    pub extents: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

impl Share {
    pub(super) fn new(extents: u64, disk_bytes: u64) -> Self {
        Self {
            extents,
            disk_bytes,
        }
    }
}

/// What has become of extents that follow each other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Squeezed {
    /// The first file that shows them: its subvolume.
    pub root: u64,
    /// Its inode.
    pub inode: u64,
    /// Where in it, bytes.
    pub offset: u64,
    /// The transaction that made the oldest of them; 0 where that cannot be seen, without root.
    pub generation: u64,
    /// What there was.
    pub before: Share,
    /// What there is now, or would be: with `dry_run`.
    pub after: Share,
    /// Why it is left as it is; `None` where it has been replaced.
    pub left: Option<Left>,
}

/// What has become of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SqueezeSummary {
    /// Extents that were replaced.
    pub before: Share,
    /// Those in their place.
    pub after: Share,
    /// Extents that were left as they are, by reason.
    pub left: BTreeMap<Left, Share>,
    /// Bytes of new extents beside old ones that could not be freed.
    pub grown_bytes: u64,
}

impl SqueezeSummary {
    pub(super) fn add(&mut self, squeezed: &Squeezed) {
        let sum = |share: &mut Share, more: Share| {
            share.extents = share.extents.saturating_add(more.extents);
            share.disk_bytes = share.disk_bytes.saturating_add(more.disk_bytes);
        };
        match squeezed.left {
            None => {
                sum(&mut self.before, squeezed.before);
                sum(&mut self.after, squeezed.after);
            }
            Some(left) => {
                sum(self.left.entry(left).or_default(), squeezed.before);
                let grown = squeezed
                    .after
                    .disk_bytes
                    .saturating_sub(squeezed.before.disk_bytes);
                self.grown_bytes = self.grown_bytes.saturating_add(grown);
            }
        }
    }

    /// Bytes on disk that were freed, or would be.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        let after = self.after.disk_bytes.saturating_add(self.grown_bytes);
        self.before.disk_bytes.saturating_sub(after)
    }
}
