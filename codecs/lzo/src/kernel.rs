//! What the kernel's readers deliver of a payload.
//!
//! `T` is the total, `L` a segment's length, `D` the extent on disk (the payload, zero-padded
//! to the sector), `W(x)` is [`worst`]`(x)`. Before 6.18 kernels bound
//! `L` by the page size, since then by the sector size.
//!
//! | condition | regular extent | inline extent | where, which kernels |
//! | --- | --- | --- | --- |
//! | payload of fewer than 8 bytes | see `T` | EUCLEAN | `lzo_decompress`, all |
//! | payload of 8 bytes, `L` is 0 | EIO | EUCLEAN, before `InlineLzoHeaders` EIO | `lzo_decompress` |
//! | `T` > `D` or > 128 KiB, `T` rounded up to the sector < `D` | EIO, nothing delivered | | `lzo_decompress_bio`, all |
//! | `T` not the stored length, or `L` not `T` - 8 | | EUCLEAN | `lzo_decompress`, all |
//! | `T` is 1 to 4 | no segment: zeroes | EUCLEAN | all |
//! | `L` > `W(page)`, from 6.18 `W(sector)` | EIO | EUCLEAN above `W` + 8 | all |
//! | segment runs past `T` inside `D` | decoded | EUCLEAN | all |
//! | segment runs past `D` | undefined | EUCLEAN | EUCLEAN in kernels with the check, some of each line are without |
//! | instruction wrong, end marker missing or not last | EIO | EIO | lib/lzo, all |
//! | run-length marker | decoded | decoded | lib/lzo, all |
//! | decodes to more than `W(sector)` | EIO | | all |
//! | decodes to more than a page, or since 6.8 a sector | | EIO | `lzo_decompress` |
//! | decodes to more or less than a sector, within that | joined | | all |
//! | wanted bytes are there | done, the rest is not looked at | cut | all |
//! | segments end early | zeroes | zeroes, EIO since 6.8 | all |
//! | fewer than 4 bytes left of a sector | skipped, not looked at | | all |
//!
//! A failing segment fails the whole read; the reader then retries page by page, and pages that
//! end before the segment are good. Errors of a regular extent reach the reader as EIO
//! whatever the decoder called them.

#![deny(clippy::indexing_slicing)]

use btrfs_payload_common::{Behaviour, End, Errno, MAX_EXTENT, Machine, Reading};

use crate::layout::{LEN_SIZE, length_at, padding, round_up, worst};
use crate::lzo1x;

/// Greatest `L` that the machine's kernel takes, bytes.
fn segment_limit(machine: &Machine) -> usize {
    if machine.kernel.has(Behaviour::SectorChunks) {
        worst(machine.sector_size)
    } else {
        worst(machine.page_size)
    }
}

/// Reads a regular extent.
///
/// `disk` is the payload zero-padded to the sector. `want` is the number of decoded bytes,
/// counted from the extent's start, that the reader can ever need. `out` is cleared and
/// receives the bytes delivered before the end, at most `want`.
///
/// A segment that runs past `disk` makes the answer [`End::Unsafe`] wherever the chain of
/// headers leads to it, also where an earlier segment does not decode: which of them a kernel
/// meets first is not worth relying on.
pub fn regular(disk: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    let failed = Reading::certain(End::Error(Errno::Eio));
    let sector_size = machine.sector_size;
    let Some(total) = length_at(disk, 0) else {
        return failed;
    };
    if total > disk.len().min(MAX_EXTENT) || round_up(total, sector_size) < disk.len() {
        return failed;
    }
    let limit = segment_limit(machine);
    if runs_past_end(disk, total, sector_size, limit.max(worst(sector_size))) {
        return Reading::certain(End::Unsafe);
    }
    let cap = worst(sector_size);
    let mut position = LEN_SIZE;
    let mut done = 0_usize;
    let mut end = End::Complete;
    while position < total && done < want {
        let segment = length_at(disk, position)
            .filter(|&len| len <= limit)
            .and_then(|len| disk.get(position + LEN_SIZE..)?.get(..len));
        let Some(segment) = segment else {
            end = End::Error(Errno::Eio);
            break;
        };
        // Room for the longest segment, kept from one to the next: filled once, not each time.
        let room = done.saturating_add(cap);
        if out.len() < room {
            out.resize(room, 0);
        }
        let tail = out.get_mut(done..).unwrap_or_default();
        let Ok(got) = lzo1x::decode_as_kernel(segment, tail, cap) else {
            end = End::Error(Errno::Eio);
            break;
        };
        done += got;
        position += LEN_SIZE + segment.len();
        position += padding(position, sector_size);
    }
    out.truncate(done.min(want));
    Reading::certain(end)
}

/// True if the chain of segment headers reaches one whose segment ends after `disk`.
fn runs_past_end(disk: &[u8], total: usize, sector_size: usize, limit: usize) -> bool {
    let mut position = LEN_SIZE;
    while position < total {
        let Some(len) = length_at(disk, position) else {
            return true;
        };
        if len > limit {
            return false;
        }
        position += LEN_SIZE + len;
        if position > disk.len() {
            return true;
        }
        position += padding(position, sector_size);
    }
    false
}

/// Reads an inline extent.
///
/// `stored` is the payload as it is, `want` the length of the file. `out` is cleared and
/// receives the decoded bytes, at most `want`; it stays empty on an error.
pub fn inline(stored: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    let error = |errno| Reading::certain(End::Error(errno));
    let headers = 2 * LEN_SIZE;
    let least = headers + usize::from(machine.kernel.has(Behaviour::InlineLzoHeaders));
    let n = stored.len();
    let segment = stored.get(headers..).unwrap_or_default();
    if n < least
        || n > segment_limit(machine).saturating_add(headers)
        || length_at(stored, 0) != Some(n)
        || length_at(stored, LEN_SIZE) != Some(segment.len())
    {
        return error(Errno::Euclean);
    }
    let old = !machine.kernel.has(Behaviour::InlineLzoShort);
    let cap = if old {
        machine.page_size
    } else {
        machine.sector_size
    };
    let want = want.min(cap);
    out.resize(cap, 0);
    let Ok(got) = lzo1x::decode_as_kernel(segment, out, cap) else {
        out.clear();
        return error(Errno::Eio);
    };
    if got < want && !old {
        out.clear();
        return error(Errno::Eio);
    }
    out.truncate(got.min(want));
    Reading::certain(End::Complete)
}
