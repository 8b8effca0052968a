//! What changed between kernels, and with which release.

use crate::kernel::Kernel;

/// One thing that kernels do in one way before a release and in another way since.
///
/// The names are of the new way. The codecs' models and the rules ask for these, never for a
/// release. [`Behaviour::change`] says when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Behaviour {
    /// An encoded write to a file without checksums is refused.
    RefusesNodatasum,
    /// Filesystems with sectors larger than a page take encoded writes.
    SectorsBeyondPages,
    /// No inline extents on filesystems with sectors smaller than a page.
    NoInlineOnSubpage,
    /// Inline extents on those filesystems again.
    InlineOnSubpage,
    /// Regular extents are decoded into sectors, and from pages that are no smaller than one.
    SectorChunks,
    /// The check of a zlib header does not depend on whether `char` has a sign.
    UnsignedChar,
    /// Inline zlib is one call; what is short is an error.
    InlineZlibAtOnce,
    /// Inline LZO that is short is an error, and its room a sector.
    InlineLzoShort,
    /// Inline LZO needs more than its two headers.
    InlineLzoHeaders,
    /// Inline zstd is one call; what is short is an error.
    InlineZstdAtOnce,
    /// zstd is that of libzstd 1.5.2.
    Zstd1_5_2,
    /// zstd is that of libzstd 1.5.7.
    Zstd1_5_7,
}

/// When a behaviour came, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Change {
    /// The behaviour.
    pub behaviour: Behaviour,
    /// Its stable name.
    pub name: &'static str,
    /// What kernels do since.
    pub since: &'static str,
    /// What they do before.
    pub before: &'static str,
    /// The first release that has it.
    pub mainline: Kernel,
    /// The stable releases in which it came to older lines.
    pub stable: &'static [Kernel],
    /// The last releases of lines that kernel.org has ended, as a distribution (Ubuntu) still
    /// builds them: it came there with a later build, and kernel.org's own release of that
    /// number is without it.
    pub builds: &'static [Kernel],
    /// The change in the kernel's history.
    pub commit: &'static str,
    /// Where it is to be read.
    pub source: &'static str,
}

impl Behaviour {
    /// Every one: what the write side does, then how readers cut, then the codecs.
    pub const ALL: [Self; 12] = [
        Self::RefusesNodatasum,
        Self::SectorsBeyondPages,
        Self::NoInlineOnSubpage,
        Self::InlineOnSubpage,
        Self::SectorChunks,
        Self::UnsignedChar,
        Self::InlineZlibAtOnce,
        Self::InlineLzoShort,
        Self::InlineLzoHeaders,
        Self::InlineZstdAtOnce,
        Self::Zstd1_5_2,
        Self::Zstd1_5_7,
    ];

    /// When it came, and by what.
    #[must_use]
    pub const fn change(self) -> &'static Change {
        match self {
            Self::RefusesNodatasum => &REFUSES_NODATASUM,
            Self::SectorsBeyondPages => &SECTORS_BEYOND_PAGES,
            Self::NoInlineOnSubpage => &NO_INLINE_ON_SUBPAGE,
            Self::InlineOnSubpage => &INLINE_ON_SUBPAGE,
            Self::SectorChunks => &SECTOR_CHUNKS,
            Self::UnsignedChar => &UNSIGNED_CHAR,
            Self::InlineZlibAtOnce => &INLINE_ZLIB_AT_ONCE,
            Self::InlineLzoShort => &INLINE_LZO_SHORT,
            Self::InlineLzoHeaders => &INLINE_LZO_HEADERS,
            Self::InlineZstdAtOnce => &INLINE_ZSTD_AT_ONCE,
            Self::Zstd1_5_2 => &ZSTD_1_5_2,
            Self::Zstd1_5_7 => &ZSTD_1_5_7,
        }
    }
}

impl Kernel {
    /// One kernel for each set of [`Behaviour`]s that there is, oldest first: what holds for
    /// all of them holds for every kernel.
    pub const ALL: [Self; 16] = [
        Self::line(5, 19),
        Self::release(6, 1, 79),
        Self::line(6, 1),
        Self::line(6, 2),
        Self::release(6, 6, 18),
        Self::line(6, 6),
        Self::release(6, 8, 0),
        Self::line(6, 8),
        Self::line(6, 9),
        Self::line(6, 10),
        Self::line(6, 12),
        Self::line(6, 15),
        Self::release(6, 18, 0),
        Self::line(6, 18),
        Self::line(6, 19),
        Self::line(7, 2),
    ];

    /// True when this kernel has the behaviour.
    #[must_use]
    pub fn has(self, behaviour: Behaviour) -> bool {
        let change = behaviour.change();
        let backports = change.stable.iter().chain(change.builds);
        self >= change.mainline.with_point(0)
            || backports
                .into_iter()
                .any(|since| self.is_of_line(*since) && self >= *since)
    }

    /// True when the two have the same behaviours.
    #[must_use]
    pub fn behaves_like(self, other: Self) -> bool {
        Behaviour::ALL
            .into_iter()
            .all(|behaviour| self.has(behaviour) == other.has(behaviour))
    }
}

/// The point releases of a line in which a behaviour comes.
pub(crate) fn backports_to(line: Kernel) -> Vec<Kernel> {
    let changes = Behaviour::ALL.into_iter().map(Behaviour::change);
    changes
        .flat_map(|change| change.stable.iter().chain(change.builds))
        .filter(|since| since.is_of_line(line))
        .copied()
        .collect()
}

/// True when no point release of the line follows this one.
pub(crate) fn is_last_of_line(release: Kernel) -> bool {
    let changes = Behaviour::ALL.into_iter().map(Behaviour::change);
    changes
        .into_iter()
        .any(|change| change.builds.contains(&release))
}

const REFUSES_NODATASUM: Change = Change {
    behaviour: Behaviour::RefusesNodatasum,
    name: "refuses-nodatasum",
    since: "an encoded write to a NODATASUM or NODATACOW file gives EINVAL",
    before: "it is taken, and leaves a compressed extent without checksums",
    mainline: Kernel::line(6, 8),
    stable: &[
        Kernel::release(6, 1, 79),
        Kernel::release(6, 6, 18),
        Kernel::release(6, 7, 6),
    ],
    builds: &[Kernel::release(6, 5, 13)],
    commit: "1bd96c92c6a0",
    source: "fs/btrfs/inode.c, btrfs_do_encoded_write",
};

const SECTORS_BEYOND_PAGES: Change = Change {
    behaviour: Behaviour::SectorsBeyondPages,
    name: "sectors-beyond-pages",
    since: "filesystems with sectors larger than a page take encoded writes; inline is at most a page",
    before: "such filesystems cannot be mounted before 6.18, and give ENOTTY in 6.18",
    mainline: Kernel::line(6, 19),
    stable: &[],
    builds: &[],
    commit: "ec20799064c8",
    source: "fs/btrfs/ioctl.c, btrfs_ioctl_encoded_write; inode.c, can_cow_file_range_inline",
};

const NO_INLINE_ON_SUBPAGE: Change = Change {
    behaviour: Behaviour::NoInlineOnSubpage,
    name: "no-inline-on-subpage",
    since: "with sectors smaller than a page, every extent is regular",
    before: "small extents become inline whatever the page",
    mainline: Kernel::line(6, 10),
    stable: &[],
    builds: &[],
    commit: "6eecfa22403e",
    source: "fs/btrfs/inode.c, can_cow_file_range_inline",
};

const INLINE_ON_SUBPAGE: Change = Change {
    behaviour: Behaviour::InlineOnSubpage,
    name: "inline-on-subpage",
    since: "small extents become inline whatever the page, again",
    before: "see no-inline-on-subpage",
    mainline: Kernel::line(6, 15),
    stable: &[],
    builds: &[],
    commit: "9951ec02f255",
    source: "fs/btrfs/inode.c, can_cow_file_range_inline",
};

const SECTOR_CHUNKS: Change = Change {
    behaviour: Behaviour::SectorChunks,
    name: "sector-chunks",
    since: "readers put out a sector at a time, and bound an LZO segment by it",
    before: "they put out a page at a time, and bound an LZO segment by the page",
    mainline: Kernel::line(6, 18),
    stable: &[],
    builds: &[],
    commit: "e88cb48e6709",
    source: "fs/btrfs/zlib.c, lzo.c, zstd.c, *_decompress_bio",
};

const UNSIGNED_CHAR: Change = Change {
    behaviour: Behaviour::UnsignedChar,
    name: "unsigned-char",
    since: "a right zlib header is skipped, and adler32 never looked at",
    before: "where char has a sign (x86), headers with a second byte of 0x80 and more (78 9c, 78 da) are read with their adler32, and with a window of 32 KiB",
    mainline: Kernel::line(6, 2),
    stable: &[],
    builds: &[],
    commit: "3bc753c06dd0",
    source: "Makefile, -funsigned-char; fs/btrfs/zlib.c, zlib_decompress_bio",
};

const INLINE_ZLIB_AT_ONCE: Change = Change {
    behaviour: Behaviour::InlineZlibAtOnce,
    name: "inline-zlib-at-once",
    since: "an inline stream that is short gives EIO; one that has enough but no end reads as memory that no decoder wrote",
    before: "an inline stream that is short is followed by memory that no decoder wrote; one without an end reads back",
    mainline: Kernel::line(6, 8),
    stable: &[Kernel::release(6, 6, 48)],
    builds: &[],
    commit: "2c25716dcc25",
    source: "fs/btrfs/zlib.c, zlib_decompress",
};

const INLINE_LZO_SHORT: Change = Change {
    behaviour: Behaviour::InlineLzoShort,
    name: "inline-lzo-short",
    since: "an inline segment that is short, or longer than a sector, gives EIO",
    before: "one that is short is followed by zeroes, and the bound is a page",
    mainline: Kernel::line(6, 8),
    stable: &[],
    builds: &[],
    commit: "6a69631ec9b1",
    source: "fs/btrfs/lzo.c, lzo_decompress",
};

const INLINE_LZO_HEADERS: Change = Change {
    behaviour: Behaviour::InlineLzoHeaders,
    name: "inline-lzo-headers",
    since: "an inline payload that is no longer than its two headers gives EUCLEAN",
    before: "one of exactly 8 bytes gives EIO",
    mainline: Kernel::line(7, 2),
    stable: &[
        Kernel::release(6, 1, 191),
        Kernel::release(6, 12, 114),
        // Not known to the release: absent in 6.18.15, there in 6.18.44.
        Kernel::release(6, 18, 44),
        Kernel::release(7, 1, 9),
    ],
    builds: &[Kernel::release(6, 8, 12), Kernel::release(7, 0, 14)],
    commit: "0fa78ef637de",
    source: "fs/btrfs/lzo.c, lzo_decompress",
};

const INLINE_ZSTD_AT_ONCE: Change = Change {
    behaviour: Behaviour::InlineZstdAtOnce,
    name: "inline-zstd-at-once",
    since: "an inline frame that is short gives EIO",
    before: "it is followed by memory that no decoder wrote, or reads as zeroes",
    mainline: Kernel::line(6, 9),
    stable: &[],
    builds: &[],
    commit: "56596a9fdd93",
    source: "fs/btrfs/zstd.c, zstd_decompress",
};

const ZSTD_1_5_2: Change = Change {
    behaviour: Behaviour::Zstd1_5_2,
    name: "zstd-1.5.2",
    since: "libzstd 1.5.2: a larger ring buffer and larger workspaces, so more offsets past the window and larger windows read back",
    before: "libzstd 1.4.10",
    mainline: Kernel::line(6, 2),
    stable: &[],
    builds: &[],
    commit: "2aa14b1ab2c4",
    source: "lib/zstd",
};

const ZSTD_1_5_7: Change = Change {
    behaviour: Behaviour::Zstd1_5_7,
    name: "zstd-1.5.7",
    since: "libzstd 1.5.7: another ring buffer; blocks larger than the window and bitstreams that are short are errors everywhere",
    before: "libzstd 1.5.2",
    mainline: Kernel::line(6, 15),
    stable: &[],
    builds: &[],
    commit: "65d1f5507ed2",
    source: "lib/zstd",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_kernels_are_taken_for_the_newest_known() {
        for release in ["7.4", "7.3.1", "8.0.5"] {
            let kernel: Kernel = release.parse().unwrap();
            assert_eq!(kernel.is_newer_than_known(), release != "7.3.1");
            assert!(Behaviour::ALL.into_iter().all(|b| kernel.has(b)));
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Behaviour::ALL.map(|b| b.change().name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Behaviour::ALL.len());
        assert!(Behaviour::ALL.iter().all(|b| b.change().behaviour == *b));
    }
}
