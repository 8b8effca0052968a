//! What the fallback decoder of `btrfs receive` makes of a payload.
//!
//! It runs when the target does not take encoded writes, or not this one (another sector
//! size), and on `--force-decompress` (cmds/receive.c of btrfs-progs, v5.19 to v6.19; liblzo2).
//! It differs from the kernel's reader:
//!
//! | condition | fallback | kernel, regular |
//! | --- | --- | --- |
//! | total beyond the payload | EIO | taken up to the sector boundary |
//! | total far below the payload | taken | EIO |
//! | segment past the total | EIO | taken |
//! | total ends inside a header | EIO | taken if the segment after it decodes |
//! | decoded segment above the sector | EIO | taken up to the worst case |
//! | run-length marker | EIO | taken |
//! | end marker with another length | taken | EIO |
//! | decoded bytes end early | zeroes | zeroes |
//! | last segment decodes past the end | undefined, given as EIO | cut |

#![deny(clippy::indexing_slicing)]

use btrfs_payload_common::Errno;

use crate::layout::{LEN_SIZE, length_at, padding};
use crate::lzo1x;

/// Decodes `data`, the payload as it stands in the send stream, into exactly `unencoded_len`
/// bytes of `out`, which is cleared first. The caller bounds `unencoded_len`, which is allocated.
///
/// # Errors
/// [`Errno::Eio`] where the fallback fails or what it does is undefined.
pub fn fallback(
    data: &[u8],
    unencoded_len: usize,
    sector_size: usize,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    out.clear();
    out.resize(unencoded_len, 0);
    let total = length_at(data, 0).ok_or(Errno::Eio)?;
    let covered = data.get(..total).ok_or(Errno::Eio)?;
    let mut position = LEN_SIZE;
    let mut done = 0;
    while position < total && done < unencoded_len {
        let pad = padding(position, sector_size);
        if pad > 0 && total - position <= pad {
            break;
        }
        position += pad;
        let len = length_at(covered, position).ok_or(Errno::Eio)?;
        position += LEN_SIZE;
        let segment = covered
            .get(position..)
            .and_then(|rest| rest.get(..len))
            .ok_or(Errno::Eio)?;
        let room = out.get_mut(done..).unwrap_or_default();
        // Where less than a sector of room is left, running into its end is the undefined case.
        done += lzo1x::decode_as_liblzo(segment, room, sector_size).map_err(|_| Errno::Eio)?;
        position += len;
    }
    // Bytes after the decoded ones may have been used as scratch.
    out.truncate(done);
    out.resize(unencoded_len, 0);
    Ok(())
}
