//! What a named kernel does with a payload.
//!
//! The write side is [`crate::rules::WriteCall`]; what each decoder delivers is modelled in the
//! codec crates (`kernel` modules). This module puts them together: which decoded bytes a reader
//! asks for, how much of a failed read is left, what is filled with zeroes.
//!
//! A read that fails is repeated page by page (`btrfs_read_folio`), so the pages before the
//! damage can be read and the first bad one gives the error. The decoder always starts at the
//! first decoded byte and stops as soon as it has filled the range asked for. An inline extent
//! is read in one piece: all or nothing.

use std::fmt;

use btrfs_payload_common::{End, Errno, Kernel, Machine, Reading, Releases, name_releases};

use super::validator::right_bytes;
use crate::rules::limits::{self, u64_of};
use crate::rules::{Codec, ExtentFields, Placement, Target, WriteAnswer, WriteCall, placement};

/// What a kernel does with an encoded write and with reads of it.
///
/// `Display` has it as a sentence without its subject: `reads 39264 right bytes, then zeroes,
/// without an error`.
///
/// `right` counts the bytes, from the first on, that are what the payload holds: what it decodes
/// to by the strict rules of its format up to its first fault, and if there is none, zeroes after
/// it. Where it is less than what is read, the file shows something else without a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The ioctl fails.
    Refused(Errno),
    /// The ioctl returns 0 and writes nothing.
    NothingWritten,
    /// Everything can be read.
    Data {
        /// The `len` bytes that the file shows.
        bytes: Vec<u8>,
        /// How many of them are right, bytes.
        right: usize,
        /// The kind of extent.
        placement: Placement,
    },
    /// The write succeeds and a read fails.
    ReadError {
        /// What the reader is told.
        errno: Errno,
        /// The bytes before the first page that cannot be read.
        good: Vec<u8>,
        /// How many of them are right, bytes.
        right: usize,
        /// The kind of extent.
        placement: Placement,
    },
    /// Write and read succeed, but what is read is in part memory that no decoder wrote.
    Uninitialised {
        /// The bytes in front that are decoder output.
        good: Vec<u8>,
        /// How many of them are right, bytes.
        right: usize,
        /// The kind of extent.
        placement: Placement,
    },
    /// It depends on which decompression workspace is idle; either may happen.
    DependsOnMemory {
        /// With a large enough workspace.
        roomy: Box<Outcome>,
        /// With a small one.
        tight: Box<Outcome>,
    },
    /// Some kernel may come to harm: never submitted, so what happens is not known.
    Unsafe,
}

impl Outcome {
    /// Its stable name, for example `read-error`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NothingWritten => "nothing-written",
            Self::Data { .. } => "data",
            Self::ReadError { .. } => "read-error",
            Self::Uninitialised { .. } => "uninitialised-memory",
            Self::DependsOnMemory { .. } => "depends-on-memory",
            Self::Unsafe => "unsafe",
        }
    }

    /// The bytes that can be read and come from a decoder, and how many of them are right.
    /// `None` where nothing is read; of two outcomes, those of the roomy one.
    #[must_use]
    pub fn read(&self) -> Option<(&[u8], usize)> {
        match self {
            Self::Data { bytes, right, .. } => Some((bytes, *right)),
            Self::ReadError { good, right, .. } | Self::Uninitialised { good, right, .. } => {
                Some((good, *right))
            }
            Self::DependsOnMemory { roomy, .. } => roomy.read(),
            Self::Refused(_) | Self::NothingWritten | Self::Unsafe => None,
        }
    }

    /// The error that the writer or the reader is given; of two outcomes, that of the tight one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(errno) | Self::ReadError { errno, .. } => Some(*errno),
            Self::DependsOnMemory { tight, .. } => tight.errno(),
            _ => None,
        }
    }

    /// Whether the extent is inline or regular; `None` where none is written.
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        match self {
            Self::Data { placement, .. }
            | Self::ReadError { placement, .. }
            | Self::Uninitialised { placement, .. } => Some(*placement),
            Self::DependsOnMemory { roomy, .. } => roomy.placement(),
            Self::Refused(_) | Self::NothingWritten | Self::Unsafe => None,
        }
    }

    /// Counts what is right of what is read.
    fn judged(mut self, count: &mut impl FnMut(&[u8]) -> usize) -> Self {
        match &mut self {
            Self::Data { bytes, right, .. } => *right = count(bytes),
            Self::ReadError { good, right, .. } | Self::Uninitialised { good, right, .. } => {
                *right = if good.is_empty() { 0 } else { count(good) };
            }
            Self::DependsOnMemory { roomy, .. } => {
                let inner = std::mem::replace(roomy.as_mut(), Self::Unsafe);
                **roomy = inner.judged(count);
            }
            Self::Refused(_) | Self::NothingWritten | Self::Unsafe => {}
        }
        self
    }
}

/// As an object: `result` (its name), `read` and `right` (bytes), `errno`, `placement`, each null
/// where there is none, and `outcome` (all of it in words). What is read is not in it.
#[cfg(feature = "serde")]
impl serde::Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = to.serialize_struct("Outcome", 6)?;
        object.serialize_field("result", self.name())?;
        object.serialize_field("read", &self.read().map(|(bytes, _)| bytes.len()))?;
        object.serialize_field("right", &self.read().map(|(_, right)| right))?;
        object.serialize_field("errno", &self.errno().map(Errno::name))?;
        object.serialize_field("placement", &self.placement())?;
        object.serialize_field("outcome", &self.to_string())?;
        object.end()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "refuses the write with {errno}"),
            Self::NothingWritten => f.write_str("writes nothing and returns 0"),
            Self::Data { bytes, right, .. } => {
                write!(f, "reads {}", What(bytes, *right))?;
                if *right < bytes.len() {
                    f.write_str(", without an error")?;
                }
                Ok(())
            }
            Self::ReadError { errno, good, .. } if good.is_empty() => {
                write!(f, "reads nothing, {errno}")
            }
            Self::ReadError {
                errno, good, right, ..
            } => write!(f, "reads {}, then {errno}", What(good, *right)),
            Self::Uninitialised { good, .. } if good.is_empty() => {
                f.write_str("reads memory that no decoder wrote (undefined-read), without an error")
            }
            Self::Uninitialised { good, right, .. } => write!(
                f,
                "reads {}, then memory that no decoder wrote (undefined-read), without an error",
                What(good, *right)
            ),
            Self::DependsOnMemory { roomy, tight } => {
                write!(f, "{roomy}, or, depending on its memory, {tight}")
            }
            Self::Unsafe => f.write_str("may come to harm (unsafe-payload); never submitted"),
        }
    }
}

/// Bytes that are read, and how many of them are right, in words.
struct What<'a>(&'a [u8], usize);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(bytes, right) = self;
        let rest = bytes.get(right..).unwrap_or_default();
        let right = match right {
            0 => "no right byte".to_owned(),
            1 => "1 right byte".to_owned(),
            _ => format!("{right} right bytes"),
        };
        match rest {
            [] => f.write_str(&right),
            _ if rest.iter().all(|&byte| byte == 0) => write!(f, "{right}, then zeroes"),
            _ => write!(f, "{right}, then {} others", rest.len()),
        }
    }
}

/// What `kernel` does with an encoded write of `payload` and with reads of the result.
///
/// The machine's page size and the filesystem's sizes are the target's. No claim is trusted:
/// memory is bounded by the largest extent and a sector whatever they say.
///
/// ```
/// use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target};
/// use btrfs_payload::validate::{Outcome, predict};
/// use btrfs_payload::{Errno, Kernel};
///
/// // Not smaller than what it stands for: refused.
/// let fields = ExtentFields::whole(3, EncodedIoId::ZLIB);
/// assert_eq!(
///     predict(b"abc", &fields, &Target::default(), Kernel::V6_18),
///     Outcome::Refused(Errno::Einval)
/// );
/// ```
#[must_use]
pub fn predict(payload: &[u8], fields: &ExtentFields, target: &Target, kernel: Kernel) -> Outcome {
    match WriteCall::new(u64_of(payload.len()), fields, target).answer(kernel) {
        WriteAnswer::Refused(errno) => return Outcome::Refused(errno),
        WriteAnswer::NothingWritten => return Outcome::NothingWritten,
        WriteAnswer::Taken => {}
    }
    // A call that is taken names a codec and lengths of at most 128 KiB. A filesystem that
    // cannot be takes nothing.
    let (Some(codec), Some(extent)) = (fields.codec(), Extent::of(fields, target)) else {
        return Outcome::Refused(Errno::Einval);
    };
    let machine = Machine {
        kernel,
        sector_size: extent.sector_size,
        page_size: extent.page_size,
    };
    let outcome = match placement(u64_of(payload.len()), fields, target, kernel) {
        Placement::Inline => inline(codec, payload, extent, &machine),
        Placement::Regular => regular(codec, payload, extent, &machine),
    };
    outcome.judged(&mut |read| right_bytes(payload, fields, target, read))
}

/// Kernels that do the same with a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreement {
    /// Their releases in few words, for example `5.19 to 6.6.47, 6.7`.
    pub kernels: String,
    /// What they do.
    pub outcome: Outcome,
}

/// What all kernels do, as [`predict()`] says: those that do the same together, in the order of
/// the oldest among them.
#[must_use]
pub fn predict_all(payload: &[u8], fields: &ExtentFields, target: &Target) -> Vec<Agreement> {
    let mut outcomes: Vec<(Outcome, Vec<Kernel>)> = Vec::new();
    for kernel in Kernel::ALL {
        let outcome = predict(payload, fields, target, kernel);
        match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, kernels)) => kernels.push(kernel),
            None => outcomes.push((outcome, vec![kernel])),
        }
    }
    let agreement = |(outcome, kernels): (Outcome, Vec<Kernel>)| {
        let alike = |releases: &Releases| {
            let behaves = |kernel: &Kernel| kernel.behaves_like(releases.first);
            kernels.iter().any(behaves)
        };
        Agreement {
            kernels: name_releases(alike),
            outcome,
        }
    };
    outcomes.into_iter().map(agreement).collect()
}

/// The numbers of a taken write, as sizes in memory.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// First decoded byte that the file shows.
    start: usize,
    /// Bytes the file shows.
    len: usize,
    /// Position of the extent's first byte in its page.
    offset_in_page: usize,
    sector_size: usize,
    page_size: usize,
}

impl Extent {
    /// `None` where no machine is like that: its sectors or pages have no possible size.
    fn of(fields: &ExtentFields, target: &Target) -> Option<Self> {
        let sizes = [target.sector_size, target.page_size];
        if !sizes.into_iter().all(limits::is_sector_size) {
            return None;
        }
        let in_page = target
            .offset
            .checked_rem(u64::from(target.page_size))
            .unwrap_or(0);
        Some(Self {
            start: usize::try_from(fields.unencoded_offset).ok()?,
            len: usize::try_from(fields.len).ok()?,
            offset_in_page: usize::try_from(in_page).ok()?,
            sector_size: usize::try_from(target.sector_size).ok()?,
            page_size: usize::try_from(target.page_size).ok()?,
        })
    }

    /// Decoded position after the last byte that a reader can ask for: whole sectors.
    fn want(&self) -> usize {
        let len = self.len.checked_next_multiple_of(self.sector_size);
        self.start.saturating_add(len.unwrap_or(usize::MAX))
    }

    /// How many of the extent's bytes lie in pages that can be read when the decoder delivers
    /// `delivered` bytes before its error.
    fn good_bytes(&self, delivered: usize) -> usize {
        if delivered >= self.want() {
            return self.len;
        }
        let shown = delivered.saturating_sub(self.start);
        let whole_pages = self.offset_in_page.saturating_add(shown);
        let whole_pages =
            whole_pages.saturating_sub(whole_pages.checked_rem(self.page_size).unwrap_or(0));
        whole_pages
            .saturating_sub(self.offset_in_page)
            .min(self.len)
    }
}

fn inline(codec: Codec, payload: &[u8], extent: Extent, machine: &Machine) -> Outcome {
    let mut decoded = Vec::new();
    let reading = match codec {
        Codec::Zlib => {
            btrfs_payload_zlib::kernel::inline(payload, extent.len, machine, &mut decoded)
        }
        Codec::Lzo => btrfs_payload_lzo::kernel::inline(payload, extent.len, machine, &mut decoded),
        Codec::Zstd => {
            btrfs_payload_zstd::kernel::inline(payload, extent.len, machine, &mut decoded)
        }
    };
    both(reading, Placement::Inline, |end| match end {
        End::Complete => {
            decoded.resize(extent.len, 0);
            Outcome::Data {
                bytes: std::mem::take(&mut decoded),
                right: 0,
                placement: Placement::Inline,
            }
        }
        End::Error(errno) => Outcome::ReadError {
            errno,
            good: Vec::new(),
            right: 0,
            placement: Placement::Inline,
        },
        End::Uninitialised => {
            decoded.truncate(extent.len);
            Outcome::Uninitialised {
                good: std::mem::take(&mut decoded),
                right: 0,
                placement: Placement::Inline,
            }
        }
        End::Unsafe => Outcome::Unsafe,
    })
}

fn regular(codec: Codec, payload: &[u8], extent: Extent, machine: &Machine) -> Outcome {
    let mut disk = payload.to_vec();
    disk.resize(payload.len().next_multiple_of(extent.sector_size), 0);
    let mut decoded = Vec::new();
    let want = extent.want();
    let reading = match codec {
        Codec::Zlib => btrfs_payload_zlib::kernel::regular(&disk, want, machine, &mut decoded),
        Codec::Lzo => btrfs_payload_lzo::kernel::regular(&disk, want, machine, &mut decoded),
        Codec::Zstd => btrfs_payload_zstd::kernel::regular(&disk, want, machine, &mut decoded),
    };
    let shown = |mut decoded: Vec<u8>, len: usize| {
        decoded.resize(extent.start.saturating_add(len), 0);
        decoded.drain(..extent.start);
        decoded
    };
    both(reading, Placement::Regular, |end| {
        let decoded = std::mem::take(&mut decoded);
        let placement = Placement::Regular;
        let good_bytes = extent.good_bytes(decoded.len());
        match end {
            End::Complete => Outcome::Data {
                bytes: shown(decoded, extent.len),
                right: 0,
                placement,
            },
            End::Error(_) if good_bytes == extent.len => Outcome::Data {
                bytes: shown(decoded, extent.len),
                right: 0,
                placement,
            },
            // Whatever the decoder says, a failed read of data is an input/output error.
            End::Error(_) => Outcome::ReadError {
                errno: Errno::Eio,
                good: shown(decoded, good_bytes),
                right: 0,
                placement,
            },
            End::Uninitialised => Outcome::Uninitialised {
                good: shown(decoded, good_bytes),
                right: 0,
                placement,
            },
            End::Unsafe => Outcome::Unsafe,
        }
    })
}

/// The outcome of a reading, and the other one where the state of the machine decides.
fn both(reading: Reading, placement: Placement, outcome: impl FnOnce(End) -> Outcome) -> Outcome {
    let roomy = outcome(reading.end);
    match reading.or_nothing {
        None => roomy,
        Some(errno) => Outcome::DependsOnMemory {
            roomy: Box::new(roomy),
            tight: Box::new(Outcome::ReadError {
                errno,
                good: Vec::new(),
                right: 0,
                placement,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::EncodedIoId;

    #[test]
    fn what_is_read_is_compared_with_what_the_payload_holds() {
        // A zstd frame with a window of 1 KiB, and a raw block of 5 bytes that is not the last.
        let cut = b"\x28\xb5\x2f\xfd\0\0\x28\0\0hello";
        let fields = ExtentFields::whole(8192, EncodedIoId::ZSTD);
        let target = Target::default();
        let outcome = predict(cut, &fields, &target, Kernel::V6_18);
        let words = "reads 5 right bytes, then zeroes, without an error";
        assert_eq!(outcome.to_string(), words);
        assert_eq!(
            outcome.read().map(|(bytes, right)| (bytes.len(), right)),
            Some((8192, 5))
        );
        let all = predict_all(cut, &fields, &target);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].kernels, "5.19 and newer");
        // The same with a last block: what is not there is zero, as it should be.
        let mut whole = *cut;
        whole[6] |= 1;
        let outcome = predict(&whole, &fields, &target, Kernel::V6_18);
        assert_eq!(outcome.to_string(), "reads 8192 right bytes");
        // A slice that starts past what is decoded.
        let slice = ExtentFields {
            unencoded_offset: 4096,
            len: 4096,
            ..fields
        };
        let outcome = predict(cut, &slice, &target, Kernel::V6_18);
        let words = "reads no right byte, then zeroes, without an error";
        assert_eq!(outcome.to_string(), words);
    }

    #[test]
    fn a_machine_that_cannot_be_takes_nothing() {
        let sizes = [0, 1, 100, 4096, 5000, u32::MAX];
        let compressions = [EncodedIoId::ZLIB, EncodedIoId::LZO_4K, EncodedIoId::ZSTD];
        for (sector_size, page_size) in sizes.iter().flat_map(|&a| sizes.map(|b| (a, b))) {
            if sector_size == 4096 && page_size == 4096 {
                continue;
            }
            let target = Target {
                sector_size,
                page_size,
                ..Target::default()
            };
            for compression in compressions {
                let fields = ExtentFields::whole(8192, compression);
                let outcome = predict(&[1; 100], &fields, &target, Kernel::NEWEST);
                assert_eq!(outcome, Outcome::Refused(Errno::Einval));
                let _ = crate::validate::validate(&[1; 100], &fields, &target);
            }
        }
    }
}
