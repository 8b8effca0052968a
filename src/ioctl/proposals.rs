//! The two argument layouts in which writing compressed extents was proposed in 2019, and how
//! they map to the interface that was merged.
//!
//! Neither was merged: ioctl number 63 of btrfs has no meaning on any kernel, so there is no
//! call here, only translation for code and data written against the proposals. Both structures
//! are packed and have 64 bytes where pointers have 64 bits.
//!
//! | `BTRFS_IOC_COMPRESSED_PWRITE` (August 2019) | `BTRFS_IOC_RAW_PWRITE` (September 2019) | `BTRFS_IOC_ENCODED_WRITE` (Linux 5.18) |
//! | --- | --- | --- |
//! | `offset` | `offset` | `offset`, signed |
//! | `orig_len` | `num_bytes` | `unencoded_len`, and `len` |
//! | `compressed_len` | `disk_num_bytes` | the sum of the lengths in `iov` |
//! | `compress_type`, on-disk numbering | `compression`, on-disk numbering | `compression`, [a numbering of its own](crate::rules::EncodedIoId) |
//! | - | `encryption` | `encryption` |
//! | - | `other_encoding` | - |
//! | `buf` | `buf` | `iov`, a scatter list of `iovcnt` entries |
//! | - | - | `unencoded_offset`: only a slice of the decoded bytes is shown |
//! | - | - | `flags` |
//! | `reserved`, 36 bytes | `reserved`, 28 bytes | `reserved`, 64 bytes |
//!
//! What else is different in the merged interface: the payload need be only one byte smaller
//! than the data, not a sector; short writes at offset 0 become inline extents; there is a read
//! side; the call returns the payload's length where the proposals returned 0.
//!
//! Translation is exact or an error. It does not make anything sound: encryption is carried over
//! as it is, and every kernel refuses it.

use std::array;
use std::ffi::c_void;
use std::mem::{offset_of, size_of};
use std::ptr;

use thiserror::Error;

use crate::rules::{EncodedIoId, ExtentFields, OnDiskId};

/// An encoded write in the merged interface's terms, without its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergedArgs {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Payload, bytes.
    pub payload_len: u64,
    /// The claims.
    pub fields: ExtentFields,
}

/// What one layout cannot express of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// The proposals know extents of which everything is shown, and nothing else.
    #[error(
        "only a slice of the decoded bytes is shown: {len} at {unencoded_offset} of \
         {unencoded_len}; the proposed layout has no field for that"
    )]
    Slice {
        /// `len`, bytes.
        len: u64,
        /// `unencoded_offset`, bytes.
        unencoded_offset: u64,
        /// `unencoded_len`, bytes.
        unencoded_len: u64,
    },
    /// A length field of the proposal has 32 bits.
    #[error("{field} has 32 bits and cannot hold {got}")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Bytes.
        got: u64,
    },
    /// The number has no meaning in its numbering, or in the other.
    #[error("compression type {got} has no counterpart")]
    UnknownCompression {
        /// The number.
        got: u32,
    },
    /// The merged numbering has one LZO type per sector size, the proposals have one for all,
    /// which means the filesystem's.
    #[error(
        "the payload is LZO for {got}-byte sectors, the filesystem has {expected}-byte sectors"
    )]
    LzoSectorSize {
        /// The type's sector size, bytes.
        got: u32,
        /// The filesystem's, bytes.
        expected: u32,
    },
    /// No LZO type exists for the sector size.
    #[error("no LZO type exists for sectors of {got} bytes")]
    SectorSize {
        /// Sector size, bytes.
        got: u32,
    },
    /// The field is missing in the layout, or narrower.
    #[error("encryption type {got} does not fit the proposed layout")]
    Encryption {
        /// The number.
        got: u32,
    },
    /// The merged interface has no such field.
    #[error("other_encoding is {got}; the merged interface has no field for it")]
    OtherEncoding {
        /// The number.
        got: u16,
    },
    /// A reserved byte is set; nobody knows what it means.
    #[error("a reserved field is not zero")]
    Reserved,
}

/// The argument of `BTRFS_IOC_COMPRESSED_PWRITE`, proposed on 15 August 2019.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 8 | `offset` in the file, bytes |
/// | 8 | 4 | `orig_len`: bytes before compression |
/// | 12 | 4 | `compressed_len`: bytes of the payload |
/// | 16 | 4 | `compress_type`, on-disk numbering |
/// | 20 | 36 | `reserved`, zeroes |
/// | 56 | 8 | `buf`: address of the payload |
#[doc(alias = "btrfs_ioctl_compressed_pwrite_args")]
#[repr(C, packed)]
#[derive(Debug, Clone, Copy)]
pub struct CompressedPwriteArgs {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Bytes before compression.
    pub orig_len: u32,
    /// Bytes of the payload.
    pub compressed_len: u32,
    /// Compression type, in the on-disk numbering.
    pub compress_type: u32,
    /// Zeroes.
    pub reserved: [u32; 9],
    /// Address of the payload.
    pub buf: *const c_void,
}

/// The argument of `BTRFS_IOC_RAW_PWRITE`, proposed on 4 September 2019.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 8 | `offset` in the file, bytes |
/// | 8 | 8 | `num_bytes`: bytes before compression |
/// | 16 | 8 | `disk_num_bytes`: bytes of the payload |
/// | 24 | 1 | `compression`, on-disk numbering |
/// | 25 | 1 | `encryption` |
/// | 26 | 2 | `other_encoding` |
/// | 28 | 28 | `reserved`, zeroes |
/// | 56 | 8 | `buf`: address of the payload |
#[doc(alias = "btrfs_ioctl_raw_pwrite_args")]
#[repr(C, packed)]
#[derive(Debug, Clone, Copy)]
pub struct RawPwriteArgs {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Bytes before compression.
    pub num_bytes: u64,
    /// Bytes of the payload.
    pub disk_num_bytes: u64,
    /// Compression type, in the on-disk numbering.
    pub compression: u8,
    /// Encryption type; none was ever defined.
    pub encryption: u8,
    /// Another encoding; none was ever defined.
    pub other_encoding: u16,
    /// Zeroes.
    pub reserved: [u32; 7],
    /// Address of the payload.
    pub buf: *const c_void,
}

const _: () = {
    let pointer = size_of::<*const c_void>();
    assert!(size_of::<CompressedPwriteArgs>() == 56 + pointer);
    assert!(offset_of!(CompressedPwriteArgs, offset) == 0);
    assert!(offset_of!(CompressedPwriteArgs, orig_len) == 8);
    assert!(offset_of!(CompressedPwriteArgs, compressed_len) == 12);
    assert!(offset_of!(CompressedPwriteArgs, compress_type) == 16);
    assert!(offset_of!(CompressedPwriteArgs, reserved) == 20);
    assert!(offset_of!(CompressedPwriteArgs, buf) == 56);
    assert!(size_of::<RawPwriteArgs>() == 56_usize.saturating_add(pointer));
    assert!(offset_of!(RawPwriteArgs, offset) == 0);
    assert!(offset_of!(RawPwriteArgs, num_bytes) == 8);
    assert!(offset_of!(RawPwriteArgs, disk_num_bytes) == 16);
    assert!(offset_of!(RawPwriteArgs, compression) == 24);
    assert!(offset_of!(RawPwriteArgs, encryption) == 25);
    assert!(offset_of!(RawPwriteArgs, other_encoding) == 26);
    assert!(offset_of!(RawPwriteArgs, reserved) == 28);
    assert!(offset_of!(RawPwriteArgs, buf) == 56);
};

impl CompressedPwriteArgs {
    /// The structure from the bytes it has in memory, numbers in the machine's byte order. The
    /// address in `buf` means nothing here any more.
    #[must_use]
    pub fn from_ne_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        Self {
            offset: u64::from_ne_bytes(field(bytes, 0)),
            orig_len: u32::from_ne_bytes(field(bytes, 8)),
            compressed_len: u32::from_ne_bytes(field(bytes, 12)),
            compress_type: u32::from_ne_bytes(field(bytes, 16)),
            reserved: reserved_at(bytes, 20),
            buf: ptr::without_provenance(usize::from_ne_bytes(field(bytes, 56))),
        }
    }

    /// The merged arguments in this layout, for a filesystem of this sector size.
    ///
    /// # Errors
    /// [`ProposalError`] for what the layout cannot express.
    pub fn from_merged(
        merged: &MergedArgs,
        buf: *const c_void,
        sector_size: u32,
    ) -> Result<Self, ProposalError> {
        let fields = &merged.fields;
        whole(fields)?;
        if fields.encryption != 0 {
            let got = fields.encryption;
            return Err(ProposalError::Encryption { got });
        }
        Ok(Self {
            offset: merged.offset,
            orig_len: narrow("orig_len", fields.unencoded_len)?,
            compressed_len: narrow("compressed_len", merged.payload_len)?,
            compress_type: u32::from(on_disk(fields.compression, sector_size)?),
            reserved: [0; 9],
            buf,
        })
    }

    /// What these arguments mean in the merged interface, on a filesystem of this sector size.
    ///
    /// # Errors
    /// [`ProposalError`] for what the merged interface cannot express.
    pub fn to_merged(&self, sector_size: u32) -> Result<MergedArgs, ProposalError> {
        let got = self.compress_type;
        let id = u8::try_from(got).map_err(|_| ProposalError::UnknownCompression { got })?;
        // A copy: a reference into a packed structure may be unaligned.
        let reserved = self.reserved;
        if reserved != [0; 9] {
            return Err(ProposalError::Reserved);
        }
        Ok(MergedArgs {
            offset: self.offset,
            payload_len: u64::from(self.compressed_len),
            fields: ExtentFields::whole(u64::from(self.orig_len), encoded_io(id, sector_size)?),
        })
    }
}

impl RawPwriteArgs {
    /// The structure from the bytes it has in memory, numbers in the machine's byte order. The
    /// address in `buf` means nothing here any more.
    #[must_use]
    pub fn from_ne_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        Self {
            offset: u64::from_ne_bytes(field(bytes, 0)),
            num_bytes: u64::from_ne_bytes(field(bytes, 8)),
            disk_num_bytes: u64::from_ne_bytes(field(bytes, 16)),
            compression: u8::from_ne_bytes(field(bytes, 24)),
            encryption: u8::from_ne_bytes(field(bytes, 25)),
            other_encoding: u16::from_ne_bytes(field(bytes, 26)),
            reserved: reserved_at(bytes, 28),
            buf: ptr::without_provenance(usize::from_ne_bytes(field(bytes, 56))),
        }
    }

    /// The merged arguments in this layout, for a filesystem of this sector size.
    ///
    /// # Errors
    /// [`ProposalError`] for what the layout cannot express.
    pub fn from_merged(
        merged: &MergedArgs,
        buf: *const c_void,
        sector_size: u32,
    ) -> Result<Self, ProposalError> {
        let fields = &merged.fields;
        whole(fields)?;
        let got = fields.encryption;
        Ok(Self {
            offset: merged.offset,
            num_bytes: fields.unencoded_len,
            disk_num_bytes: merged.payload_len,
            compression: on_disk(fields.compression, sector_size)?,
            encryption: u8::try_from(got).map_err(|_| ProposalError::Encryption { got })?,
            other_encoding: 0,
            reserved: [0; 7],
            buf,
        })
    }

    /// What these arguments mean in the merged interface, on a filesystem of this sector size.
    /// An encryption is carried over; it makes
    /// [`WriteRule::Encryption`](crate::rules::WriteRule::Encryption) a broken rule.
    ///
    /// # Errors
    /// [`ProposalError`] for what the merged interface cannot express.
    pub fn to_merged(&self, sector_size: u32) -> Result<MergedArgs, ProposalError> {
        if self.other_encoding != 0 {
            let got = self.other_encoding;
            return Err(ProposalError::OtherEncoding { got });
        }
        let reserved = self.reserved;
        if reserved != [0; 7] {
            return Err(ProposalError::Reserved);
        }
        let fields = ExtentFields {
            encryption: u32::from(self.encryption),
            ..ExtentFields::whole(self.num_bytes, encoded_io(self.compression, sector_size)?)
        };
        Ok(MergedArgs {
            offset: self.offset,
            payload_len: self.disk_num_bytes,
            fields,
        })
    }
}

/// The `N` bytes at an offset that lies inside, with `N` more after it.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or([0; N])
}

/// The reserved words that begin at an offset.
fn reserved_at<const N: usize>(bytes: &[u8], at: usize) -> [u32; N] {
    let mut words = bytes.get(at..).unwrap_or_default().chunks_exact(4);
    array::from_fn(|_| {
        let word = words.next().and_then(|word| word.first_chunk());
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    })
}

fn whole(fields: &ExtentFields) -> Result<(), ProposalError> {
    let &ExtentFields {
        len,
        unencoded_offset,
        unencoded_len,
        ..
    } = fields;
    if fields.is_slice() {
        return Err(ProposalError::Slice {
            len,
            unencoded_offset,
            unencoded_len,
        });
    }
    Ok(())
}

fn narrow(field: &'static str, got: u64) -> Result<u32, ProposalError> {
    u32::try_from(got).map_err(|_| ProposalError::TooLong { field, got })
}

/// From the merged numbering to the on-disk one; 0 is none in both.
fn on_disk(id: EncodedIoId, sector_size: u32) -> Result<u8, ProposalError> {
    if id == EncodedIoId::NONE {
        return Ok(0);
    }
    match id.lzo_sector_size() {
        Some(got) if got != sector_size => Err(ProposalError::LzoSectorSize {
            got,
            expected: sector_size,
        }),
        _ => match id.on_disk() {
            Some(OnDiskId(number)) => Ok(number),
            None => Err(ProposalError::UnknownCompression { got: id.0 }),
        },
    }
}

/// From the on-disk numbering to the merged one.
fn encoded_io(number: u8, sector_size: u32) -> Result<EncodedIoId, ProposalError> {
    if number == 0 {
        return Ok(EncodedIoId::NONE);
    }
    let id = OnDiskId(number);
    if id.codec().is_none() {
        let got = u32::from(number);
        return Err(ProposalError::UnknownCompression { got });
    }
    id.encoded_io(sector_size)
        .ok_or(ProposalError::SectorSize { got: sector_size })
}

#[cfg(test)]
#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
mod tests {
    use super::*;
    use crate::rules::{Target, WriteCall, WriteRule};

    /// 8192 bytes compressed with LZO (on-disk number 2) to 3000 bytes, for file offset 64 KiB.
    #[rustfmt::skip]
    const COMPRESSED: [u8; 64] = [
        0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, // offset
        0x00, 0x20, 0x00, 0x00,                         // orig_len
        0xb8, 0x0b, 0x00, 0x00,                         // compressed_len
        0x02, 0x00, 0x00, 0x00,                         // compress_type
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // reserved
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x00, 0x10, 0x32, 0x54, 0x76, 0x7f, 0x00, 0x00, // buf
    ];

    /// The same data compressed with zstd (on-disk number 3), encryption 1.
    #[rustfmt::skip]
    const RAW: [u8; 64] = [
        0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, // offset
        0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // num_bytes
        0xb8, 0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // disk_num_bytes
        0x03,                                           // compression
        0x01,                                           // encryption
        0x00, 0x00,                                     // other_encoding
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // reserved
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x00, 0x10, 0x32, 0x54, 0x76, 0x7f, 0x00, 0x00, // buf
    ];

    fn with(bytes: &[u8; 64], at: usize, value: &[u8]) -> [u8; 64] {
        let mut bytes = *bytes;
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    }

    fn compressed(bytes: &[u8; 64], sector_size: u32) -> Result<MergedArgs, ProposalError> {
        CompressedPwriteArgs::from_ne_bytes(bytes).to_merged(sector_size)
    }

    fn raw(bytes: &[u8; 64]) -> Result<MergedArgs, ProposalError> {
        RawPwriteArgs::from_ne_bytes(bytes).to_merged(4096)
    }

    #[test]
    fn compressed_pwrite_means_a_whole_extent() {
        let args = CompressedPwriteArgs::from_ne_bytes(&COMPRESSED);
        let buf = args.buf;
        assert_eq!(buf.addr(), 0x7f76_5432_1000);
        // LZO is 3 for 4096-byte sectors in the merged numbering and 5 for 16384-byte ones.
        for (sector_size, id) in [(4096, 3), (16384, 5)] {
            let merged = args.to_merged(sector_size).unwrap();
            let expected = MergedArgs {
                offset: 65536,
                payload_len: 3000,
                fields: ExtentFields::whole(8192, EncodedIoId(id)),
            };
            assert_eq!(merged, expected);
            let back = CompressedPwriteArgs::from_merged(&merged, buf, sector_size).unwrap();
            assert_eq!(format!("{back:?}"), format!("{args:?}"));
            let other = CompressedPwriteArgs::from_merged(&merged, buf, 32768).unwrap_err();
            assert_eq!(
                other,
                ProposalError::LzoSectorSize {
                    got: sector_size,
                    expected: 32768
                }
            );
        }
        assert_eq!(
            compressed(&COMPRESSED, 2048),
            Err(ProposalError::SectorSize { got: 2048 })
        );
    }

    #[test]
    fn raw_pwrite_carries_an_encryption_that_no_kernel_takes() {
        let args = RawPwriteArgs::from_ne_bytes(&RAW);
        let merged = args.to_merged(4096).unwrap();
        assert_eq!(merged.offset, 65536);
        assert_eq!(merged.payload_len, 3000);
        assert_eq!(merged.fields.compression, EncodedIoId::ZSTD);
        assert_eq!(merged.fields.encryption, 1);
        let back = RawPwriteArgs::from_merged(&merged, args.buf, 4096).unwrap();
        assert_eq!(format!("{back:?}"), format!("{args:?}"));

        let target = Target::default().at(merged.offset);
        let call = WriteCall::new(merged.payload_len, &merged.fields, &target);
        let rules: Vec<_> = call.broken_rules().collect();
        assert_eq!(rules, [WriteRule::Encryption { got: 1 }]);
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        let reserved = Err(ProposalError::Reserved);
        assert_eq!(compressed(&with(&COMPRESSED, 20, &[1]), 4096), reserved);
        assert_eq!(compressed(&with(&COMPRESSED, 55, &[1]), 4096), reserved);
        assert_eq!(raw(&with(&RAW, 28, &[1])), reserved);
        assert_eq!(raw(&with(&RAW, 55, &[1])), reserved);
        assert_eq!(
            raw(&with(&RAW, 26, &[0, 1])),
            Err(ProposalError::OtherEncoding { got: 256 })
        );
        for got in [4u32, 256, u32::MAX] {
            assert_eq!(
                compressed(&with(&COMPRESSED, 16, &got.to_le_bytes()), 4096),
                Err(ProposalError::UnknownCompression { got })
            );
        }
        // 2 is LZO on disk and zstd in the merged numbering; none is 0 in both.
        let none = compressed(&with(&COMPRESSED, 16, &[0]), 4096).unwrap();
        assert_eq!(none.fields.compression, EncodedIoId::NONE);

        let mut merged = compressed(&COMPRESSED, 4096).unwrap();
        let narrow = |merged: &MergedArgs| {
            CompressedPwriteArgs::from_merged(merged, ptr::null(), 4096).map(|_| ())
        };
        let wide =
            |merged: &MergedArgs| RawPwriteArgs::from_merged(merged, ptr::null(), 4096).map(|_| ());
        assert_eq!(narrow(&merged), Ok(()));
        merged.payload_len = 1 << 32;
        assert_eq!(
            narrow(&merged),
            Err(ProposalError::TooLong {
                field: "compressed_len",
                got: 1 << 32
            })
        );
        assert_eq!(wide(&merged), Ok(()));
        merged.payload_len = 3000;
        merged.fields.encryption = 256;
        let encryption = Err(ProposalError::Encryption { got: 256 });
        assert_eq!(narrow(&merged), encryption);
        assert_eq!(wide(&merged), encryption);
        merged.fields.encryption = 0;
        merged.fields.compression = EncodedIoId(8);
        let unknown = Err(ProposalError::UnknownCompression { got: 8 });
        assert_eq!(narrow(&merged), unknown);
        assert_eq!(wide(&merged), unknown);
        merged.fields.compression = EncodedIoId::ZLIB;
        merged.fields.unencoded_offset = 4096;
        merged.fields.len = 4096;
        let slice = Err(ProposalError::Slice {
            len: 4096,
            unencoded_offset: 4096,
            unencoded_len: 8192,
        });
        assert_eq!(narrow(&merged), slice);
        assert_eq!(wide(&merged), slice);
    }
}
