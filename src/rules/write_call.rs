//! One call of the encoded-write ioctl: which rules it breaks and what a kernel answers.
//!
//! The order is the kernel's: `btrfs_ioctl_encoded_write` (fs/btrfs/ioctl.c), then
//! `btrfs_encoded_write` (file.c), then `btrfs_do_encoded_write` (inode.c). It matters because
//! two of the steps in the middle succeed without writing anything:
//!
//! | step | condition | answer |
//! | --- | --- | --- |
//! | 1 | descriptor not open for writing | EBADF |
//! | 2 | flags, reserved bytes, types out of range, slice not inside the decoded bytes | EINVAL |
//! | 3 | no payload byte | 0: nothing is written |
//! | 4 | offset or end beyond 2^63 - 1 | EINVAL |
//! | 5 | `len` is 0 | 0: nothing is written |
//! | 6 | LZO type of another sector size, NODATASUM, sizes, alignment | EINVAL |

use btrfs_payload_common::{Behaviour, Errno, Kernel};
use thiserror::Error;

use super::limits::{MAX_EXTENT, MAX_FILE_SIZE};
use super::{EncodedIoId, ExtentFields, Target};

/// Everything the kernel looks at when it decides about an encoded write. It never looks at
/// the payload's bytes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WriteCall<'a> {
    /// Payload bytes handed over.
    pub payload_len: u64,
    /// The claims.
    pub fields: &'a ExtentFields,
    /// Where it goes.
    pub target: &'a Target,
    /// The argument `flags`; no flag is defined.
    pub flags: u64,
    /// All 64 reserved bytes of the argument are zero.
    pub reserved_is_zero: bool,
    /// The descriptor is open for writing.
    pub writable: bool,
}

/// A rule of the ioctl that a call breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum WriteRule {
    /// The descriptor cannot be written through.
    #[error("the descriptor is not open for writing")]
    ReadOnlyDescriptor,
    /// A flag is set.
    #[error("flags are {got:#x}, none is defined")]
    Flags {
        /// The flags.
        got: u64,
    },
    /// A reserved byte is set.
    #[error("a reserved byte of the argument is not zero")]
    Reserved,
    /// Neither compressed nor encrypted.
    #[error("neither compression nor encryption is named; plain data takes an ordinary write")]
    NotEncoded,
    /// The compression number has no meaning.
    #[error("compression type {got} does not exist; the last is 7")]
    UnknownCompression {
        /// The number.
        got: u32,
    },
    /// An encryption is named.
    #[error("encryption type {got}: no kernel knows one")]
    Encryption {
        /// The number.
        got: u32,
    },
    /// The slice begins after the decoded bytes.
    #[error("unencoded_offset {offset} is beyond unencoded_len {unencoded_len}")]
    OffsetBeyondEnd {
        /// `unencoded_offset`, bytes.
        offset: u64,
        /// `unencoded_len`, bytes.
        unencoded_len: u64,
    },
    /// The slice ends after the decoded bytes.
    #[error("a slice of {len} bytes at {offset} ends beyond unencoded_len {unencoded_len}")]
    SliceBeyondEnd {
        /// `len`, bytes.
        len: u64,
        /// `unencoded_offset`, bytes.
        offset: u64,
        /// `unencoded_len`, bytes.
        unencoded_len: u64,
    },
    /// There is no payload.
    #[error("the payload is empty: the call succeeds and writes nothing")]
    EmptyPayload,
    /// The slice is empty.
    #[error("len is 0: the call succeeds and writes nothing")]
    EmptySlice,
    /// The range leaves what a file offset can express.
    #[error("{len} bytes at file offset {offset} end beyond the largest file size, 2^63 - 1")]
    BeyondLargestFile {
        /// File offset, bytes.
        offset: u64,
        /// `len`, bytes.
        len: u64,
    },
    /// An LZO payload laid out for another sector size.
    #[error(
        "the payload is LZO for {got}-byte sectors, the filesystem has {expected}-byte sectors"
    )]
    LzoSectorSize {
        /// The type's sector size, bytes.
        got: u32,
        /// The filesystem's, bytes.
        expected: u32,
    },
    /// The file keeps no checksums.
    #[error("the file is NODATASUM or NODATACOW, which cannot hold compressed extents")]
    NoDataSum,
    /// Too much before compression.
    #[error("unencoded_len {got} is more than {MAX_EXTENT}")]
    UnencodedTooLong {
        /// `unencoded_len`, bytes.
        got: u64,
    },
    /// Too much payload.
    #[error("the payload is {got} bytes, more than {MAX_EXTENT}")]
    PayloadTooLong {
        /// Payload, bytes.
        got: u64,
    },
    /// The payload is not smaller than what it decodes to.
    #[error("the payload of {payload} bytes is not smaller than unencoded_len {unencoded_len}")]
    NotSmaller {
        /// Payload, bytes.
        payload: u64,
        /// `unencoded_len`, bytes.
        unencoded_len: u64,
    },
    /// The file offset is inside a sector.
    #[error("file offset {got} is not a multiple of the sector size {sector_size}")]
    UnalignedOffset {
        /// File offset, bytes.
        got: u64,
        /// Sector size, bytes.
        sector_size: u32,
    },
    /// The write ends inside a sector, before the end of the file.
    #[error(
        "the write ends at {end}, inside a {sector_size}-byte sector and before the end of the \
         file at {file_size}"
    )]
    UnalignedEnd {
        /// End of the write, bytes.
        end: u64,
        /// Size of the file, bytes.
        file_size: u64,
        /// Sector size, bytes.
        sector_size: u32,
    },
    /// The slice begins inside a sector.
    #[error("unencoded_offset {got} is not a multiple of the sector size {sector_size}")]
    UnalignedUnencodedOffset {
        /// `unencoded_offset`, bytes.
        got: u64,
        /// Sector size, bytes.
        sector_size: u32,
    },
}

/// What a kernel answers to an encoded write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteAnswer {
    /// The payload is taken, unseen.
    Taken,
    /// The call returns 0 and writes nothing.
    NothingWritten,
    /// The call fails.
    Refused(Errno),
}

/// What `btrfs receive` makes of an encoded write whose first broken rule is this one
/// (`process_encoded_write` and `decompress_and_write`, cmds/receive.c, btrfs-progs 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Received {
    /// It decodes the payload itself and writes plain data, as for every EINVAL: the data is there
    /// if its decoders read the payload, but nothing is compressed.
    FallsBack,
    /// It stops with an error, or nobody can say what it writes.
    Stops,
    /// The call succeeds and writes nothing, so it goes on without the data.
    NothingWritten,
}

impl WriteRule {
    /// The stable name of the rule in reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ReadOnlyDescriptor => "read-only-descriptor",
            Self::Flags { .. } => "flags-set",
            Self::Reserved => "reserved-set",
            Self::NotEncoded => "not-encoded",
            Self::UnknownCompression { .. } => "unknown-compression",
            Self::Encryption { .. } => "encrypted",
            Self::OffsetBeyondEnd { .. } => "slice-offset-beyond-end",
            Self::SliceBeyondEnd { .. } => "slice-beyond-end",
            Self::EmptyPayload => "empty-payload",
            Self::EmptySlice => "empty-slice",
            Self::BeyondLargestFile { .. } => "beyond-largest-file",
            Self::LzoSectorSize { .. } => "lzo-other-sector-size",
            Self::NoDataSum => "file-without-checksums",
            Self::UnencodedTooLong { .. } => "unencoded-too-long",
            Self::PayloadTooLong { .. } => "payload-too-long",
            Self::NotSmaller { .. } => "not-smaller",
            Self::UnalignedOffset { .. } => "unaligned-offset",
            Self::UnalignedEnd { .. } => "unaligned-end",
            Self::UnalignedUnencodedOffset { .. } => "unaligned-unencoded-offset",
        }
    }

    /// What the kernel answers when this is the first broken rule in its order.
    #[must_use]
    pub fn answer(&self) -> WriteAnswer {
        match self {
            Self::EmptyPayload | Self::EmptySlice => WriteAnswer::NothingWritten,
            Self::ReadOnlyDescriptor => WriteAnswer::Refused(Errno::Ebadf),
            _ => WriteAnswer::Refused(Errno::Einval),
        }
    }

    /// What `btrfs receive` does when this is the first broken rule in the kernel's order.
    ///
    /// It falls back for every EINVAL, and then looks at the claims again: what names no payload
    /// that it can decode, or no place that it can write to, stops it there.
    #[must_use]
    pub fn received(&self) -> Received {
        match self {
            Self::EmptyPayload | Self::EmptySlice => Received::NothingWritten,
            Self::ReadOnlyDescriptor
            | Self::NotEncoded
            | Self::UnknownCompression { .. }
            | Self::Encryption { .. }
            | Self::OffsetBeyondEnd { .. }
            | Self::SliceBeyondEnd { .. }
            | Self::BeyondLargestFile { .. } => Received::Stops,
            Self::Flags { .. }
            | Self::Reserved
            | Self::LzoSectorSize { .. }
            | Self::NoDataSum
            | Self::UnencodedTooLong { .. }
            | Self::PayloadTooLong { .. }
            | Self::NotSmaller { .. }
            | Self::UnalignedOffset { .. }
            | Self::UnalignedEnd { .. }
            | Self::UnalignedUnencodedOffset { .. } => Received::FallsBack,
        }
    }

    /// True where there is more than an extent holds, on any filesystem.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        matches!(
            self,
            Self::UnencodedTooLong { .. } | Self::PayloadTooLong { .. }
        )
    }

    /// True for rules that an extent which is on btrfs already may break, and is in order all the
    /// same: only as an encoded write it would be refused.
    ///
    /// Kernels and `mkfs.btrfs` make a few extents that are no smaller than their data, and
    /// kernels without [`Behaviour::RefusesNodatasum`] take encoded writes to files without
    /// checksums.
    #[must_use]
    pub fn may_be_broken_on_disk(&self) -> bool {
        matches!(self, Self::NotSmaller { .. } | Self::NoDataSum)
    }
}

impl<'a> WriteCall<'a> {
    /// A call as this crate makes it: no flags, reserved bytes zero, a writable descriptor.
    #[must_use]
    pub fn new(payload_len: u64, fields: &'a ExtentFields, target: &'a Target) -> Self {
        Self {
            payload_len,
            fields,
            target,
            flags: 0,
            reserved_is_zero: true,
            writable: true,
        }
    }

    /// What a kernel answers.
    ///
    /// Kernels without [`Behaviour::RefusesNodatasum`] take NODATASUM files, to the harm of the
    /// data, and those without [`Behaviour::SectorsBeyondPages`] have no such ioctl where sectors
    /// are larger than a page.
    #[must_use]
    pub fn answer(&self, kernel: Kernel) -> WriteAnswer {
        let beyond_pages = self.target.sector_size > self.target.page_size;
        if beyond_pages && !kernel.has(Behaviour::SectorsBeyondPages) {
            return WriteAnswer::Refused(Errno::Enotty);
        }
        let holds = |rule: &WriteRule| {
            *rule != WriteRule::NoDataSum || kernel.has(Behaviour::RefusesNodatasum)
        };
        self.broken_rules()
            .find(holds)
            .map_or(WriteAnswer::Taken, |rule| rule.answer())
    }

    /// Every rule the call breaks, in the kernel's order.
    pub fn broken_rules(&self) -> impl Iterator<Item = WriteRule> {
        [
            self.descriptor(),
            self.flags(),
            self.reserved(),
            self.not_encoded(),
            self.unknown_compression(),
            self.encryption(),
            self.slice(),
            self.empty_payload(),
            self.beyond_largest_file(),
            self.empty_slice(),
            self.lzo_sector_size(),
            self.no_data_sum(),
            self.unencoded_too_long(),
            self.payload_too_long(),
            self.not_smaller(),
            self.unaligned_offset(),
            self.unaligned_end(),
            self.unaligned_unencoded_offset(),
        ]
        .into_iter()
        .flatten()
    }

    fn descriptor(&self) -> Option<WriteRule> {
        (!self.writable).then_some(WriteRule::ReadOnlyDescriptor)
    }

    fn flags(&self) -> Option<WriteRule> {
        (self.flags != 0).then_some(WriteRule::Flags { got: self.flags })
    }

    fn reserved(&self) -> Option<WriteRule> {
        (!self.reserved_is_zero).then_some(WriteRule::Reserved)
    }

    fn not_encoded(&self) -> Option<WriteRule> {
        (self.fields.compression == EncodedIoId::NONE && self.fields.encryption == 0)
            .then_some(WriteRule::NotEncoded)
    }

    fn unknown_compression(&self) -> Option<WriteRule> {
        let got = self.fields.compression.0;
        (got >= EncodedIoId::TYPES).then_some(WriteRule::UnknownCompression { got })
    }

    fn encryption(&self) -> Option<WriteRule> {
        let got = self.fields.encryption;
        (got != 0).then_some(WriteRule::Encryption { got })
    }

    fn slice(&self) -> Option<WriteRule> {
        let &ExtentFields {
            len,
            unencoded_len,
            unencoded_offset: offset,
            ..
        } = self.fields;
        match unencoded_len.checked_sub(offset) {
            None => Some(WriteRule::OffsetBeyondEnd {
                offset,
                unencoded_len,
            }),
            Some(rest) if len > rest => Some(WriteRule::SliceBeyondEnd {
                len,
                offset,
                unencoded_len,
            }),
            Some(_) => None,
        }
    }

    fn empty_payload(&self) -> Option<WriteRule> {
        (self.payload_len == 0).then_some(WriteRule::EmptyPayload)
    }

    fn beyond_largest_file(&self) -> Option<WriteRule> {
        let (offset, len) = (self.target.offset, self.fields.len);
        let inside = offset
            .checked_add(len)
            .is_some_and(|end| end <= MAX_FILE_SIZE);
        (!inside).then_some(WriteRule::BeyondLargestFile { offset, len })
    }

    fn empty_slice(&self) -> Option<WriteRule> {
        (self.fields.len == 0).then_some(WriteRule::EmptySlice)
    }

    fn lzo_sector_size(&self) -> Option<WriteRule> {
        let got = self.fields.compression.lzo_sector_size()?;
        let expected = self.target.sector_size;
        (got != expected).then_some(WriteRule::LzoSectorSize { got, expected })
    }

    fn no_data_sum(&self) -> Option<WriteRule> {
        self.target.nodatasum.then_some(WriteRule::NoDataSum)
    }

    fn unencoded_too_long(&self) -> Option<WriteRule> {
        let got = self.fields.unencoded_len;
        (got > MAX_EXTENT).then_some(WriteRule::UnencodedTooLong { got })
    }

    fn payload_too_long(&self) -> Option<WriteRule> {
        let got = self.payload_len;
        (got > MAX_EXTENT).then_some(WriteRule::PayloadTooLong { got })
    }

    fn not_smaller(&self) -> Option<WriteRule> {
        let (payload, unencoded_len) = (self.payload_len, self.fields.unencoded_len);
        (payload >= unencoded_len).then_some(WriteRule::NotSmaller {
            payload,
            unencoded_len,
        })
    }

    fn unaligned_offset(&self) -> Option<WriteRule> {
        let (got, sector_size) = (self.target.offset, self.target.sector_size);
        (!is_aligned(got, sector_size)).then_some(WriteRule::UnalignedOffset { got, sector_size })
    }

    fn unaligned_end(&self) -> Option<WriteRule> {
        let &Target {
            offset,
            file_size,
            sector_size,
            ..
        } = self.target;
        let end = offset.checked_add(self.fields.len)?;
        (end < file_size && !is_aligned(end, sector_size)).then_some(WriteRule::UnalignedEnd {
            end,
            file_size,
            sector_size,
        })
    }

    fn unaligned_unencoded_offset(&self) -> Option<WriteRule> {
        let (got, sector_size) = (self.fields.unencoded_offset, self.target.sector_size);
        (!is_aligned(got, sector_size))
            .then_some(WriteRule::UnalignedUnencodedOffset { got, sector_size })
    }
}

fn is_aligned(bytes: u64, sector_size: u32) -> bool {
    bytes.is_multiple_of(u64::from(sector_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that breaks nothing, for tests to break one rule of.
    fn sound() -> (ExtentFields, Target) {
        (
            ExtentFields::whole(8192, EncodedIoId::ZLIB),
            Target::default(),
        )
    }

    #[test]
    fn every_broken_rule_is_named_not_only_the_first() {
        let (mut fields, mut target) = sound();
        fields.compression = EncodedIoId(7);
        fields.unencoded_len = 200_000;
        fields.unencoded_offset = 5;
        fields.len = 8192;
        target.offset = 100;
        target.file_size = 1 << 20;
        let call = WriteCall::new(200_001, &fields, &target);
        let codes: Vec<_> = call.broken_rules().map(|rule| rule.code()).collect();
        assert_eq!(
            codes,
            [
                "lzo-other-sector-size",
                "unencoded-too-long",
                "payload-too-long",
                "not-smaller",
                "unaligned-offset",
                "unaligned-end",
                "unaligned-unencoded-offset"
            ]
        );
    }

    #[test]
    fn receive_falls_back_only_where_claims_name_data_and_a_place() {
        let (sound, target) = sound();
        let first = |fields: ExtentFields, target: &Target| {
            let call = WriteCall::new(4000, &fields, target);
            call.broken_rules().next().map(|rule| rule.received())
        };
        assert_eq!(first(sound, &target), None);
        let fields = |change: fn(&mut ExtentFields)| {
            let mut fields = sound;
            change(&mut fields);
            fields
        };
        let unaligned = target.at(1);
        for (expected, got) in [
            (
                Received::Stops,
                first(fields(|f| f.encryption = 1), &target),
            ),
            (
                Received::Stops,
                first(fields(|f| f.compression.0 = 8), &target),
            ),
            (Received::Stops, first(fields(|f| f.len = 8193), &target)),
            (Received::Stops, first(sound, &target.at(u64::MAX / 2))),
            (
                Received::NothingWritten,
                first(fields(|f| f.len = 0), &unaligned),
            ),
            (Received::FallsBack, first(sound, &unaligned)),
            (
                Received::FallsBack,
                first(fields(|f| f.unencoded_len = 1 << 20), &target),
            ),
        ] {
            assert_eq!(got, Some(expected));
        }
    }

    #[test]
    fn an_empty_slice_hides_the_rules_behind_it() {
        let (mut fields, mut target) = sound();
        fields.len = 0;
        target.offset = 3;
        let call = WriteCall::new(9000, &fields, &target);
        let kernel = Kernel::NEWEST;
        assert_eq!(call.answer(kernel), WriteAnswer::NothingWritten);
        let call = WriteCall { flags: 1, ..call };
        assert_eq!(call.answer(kernel), WriteAnswer::Refused(Errno::Einval));
    }

    #[test]
    fn lengths_up_to_the_largest_number_do_not_overflow() {
        let (mut fields, mut target) = sound();
        for len in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            for offset in [0, 4096, u64::MAX / 2 + 1, u64::MAX] {
                fields.len = len;
                fields.unencoded_len = u64::MAX;
                fields.unencoded_offset = offset;
                target.offset = offset;
                let call = WriteCall::new(len, &fields, &target);
                assert_ne!(call.answer(Kernel::NEWEST), WriteAnswer::Taken);
            }
        }
    }

    #[test]
    fn files_without_checksums_and_sectors_beyond_pages_depend_on_the_kernel() {
        let (fields, mut target) = sound();
        target.nodatasum = true;
        let answer = |target: &Target, kernel| WriteCall::new(4000, &fields, target).answer(kernel);
        for (release, expected) in [
            ("6.1.78", WriteAnswer::Taken),
            ("6.1.79", WriteAnswer::Refused(Errno::Einval)),
            ("6.7.5", WriteAnswer::Taken),
            ("6.8", WriteAnswer::Refused(Errno::Einval)),
        ] {
            assert_eq!(answer(&target, release.parse().unwrap()), expected);
        }
        target = Target {
            sector_size: 16384,
            page_size: 4096,
            ..Target::default()
        };
        let before = answer(&target, Kernel::V6_18);
        assert_eq!(before, WriteAnswer::Refused(Errno::Enotty));
        assert_eq!(answer(&target, Kernel::line(6, 19)), WriteAnswer::Taken);
    }
}
