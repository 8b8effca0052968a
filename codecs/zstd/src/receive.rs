//! What the fallback decoder of `btrfs receive` makes of a payload.
//!
//! It sets aside zeroed memory for the unencoded length, and asks `ZSTD_decompressStream` (of
//! whatever libzstd is installed; 1.5.7 here) until the input is used up, the memory is full or
//! a frame ends. None of the three is an error to it. Source: cmds/receive.c of btrfs-progs 6.19.
//!
//! | condition | result |
//! | --- | --- |
//! | frame ends or input ends early | rest is zero |
//! | more content than asked for | cut |
//! | anything after the first frame | ignored |
//! | window above 128 MiB, a rule of the format broken | EIO |

use btrfs_payload_common::Errno;

use crate::kernel::{Call, Input, Stream, with_buffers};
use crate::rules::Rules;

/// Decodes `data` into exactly `unencoded_len` bytes, zero-filled, as the fallback does.
///
/// # Errors
/// EIO where its decoder fails; `out` holds zeroes then.
pub fn fallback(data: &[u8], unencoded_len: usize, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.clear();
    out.resize(unencoded_len, 0);
    let done = with_buffers(|memory| {
        let mut stream = Stream::new(memory, Rules::V1_5_7, unencoded_len, u64::MAX);
        let mut input = Input {
            bytes: data,
            taken: 0,
        };
        let mut written = 0;
        while input.taken < data.len() && written < unencoded_len {
            let rest = out.get_mut(written..).unwrap_or_default();
            let (len, call) = stream.call(&mut input, rest).ok()?;
            written += len;
            if call == Call::FrameEnded {
                break;
            }
        }
        Some(())
    });
    if done.is_none() {
        out.fill(0);
        return Err(Errno::Eio);
    }
    Ok(())
}
