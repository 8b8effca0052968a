//! What the fallback decoder of `btrfs receive` makes of a payload (`decompress_zlib` in
//! cmds/receive.c of btrfs-progs since 5.19, with stock zlib).
//!
//! | condition | result |
//! | --- | --- |
//! | no input at all | zeroes |
//! | header not CM 8, CINFO at most 7, right FCHECK, no FDICT | EIO |
//! | distance beyond the declared window, but within the output | fine |
//! | dynamic block without end-of-block code | EIO |
//! | stream longer than asked for | EIO |
//! | stream or trailer cut off, adler32 wrong | EIO |
//! | stream shorter than asked for | zeroes follow |
//! | bytes after the trailer | ignored |

use btrfs_payload_common::Errno;

use crate::adler::adler32;
use crate::inflate::{Inflate, Output, Rules, Step, Unobserved};
use crate::layout::{CINFO_MAX, CM_DEFLATE, HEADER_LEN, Header};

/// Fills `out` with exactly `unencoded_len` bytes, the decoded ones and zeroes after them.
/// `data` is the payload as it stands in the send stream, padded or not. The caller bounds
/// `unencoded_len`, which is allocated.
///
/// # Errors
/// `EIO`, as the program ends with; `out` is empty then.
pub fn fallback(data: &[u8], unencoded_len: usize, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.clear();
    out.resize(unencoded_len, 0);
    if data.is_empty() || unencoded_len == 0 || inflate(data, out) {
        return Ok(());
    }
    out.clear();
    Err(Errno::Eio)
}

/// True if the whole stream fits, with everything in it right.
fn inflate(data: &[u8], out: &mut [u8]) -> bool {
    let plain = Header::of(data).is_some_and(|header| {
        header.check_ok()
            && header.method() == CM_DEFLATE
            && header.cinfo() <= CINFO_MAX
            && !header.has_dictionary()
    });
    if !plain {
        return false;
    }
    let mut inflate = Inflate::new(Rules {
        need_end_of_block: true,
        refuse_too_far: true,
    });
    inflate.reset(HEADER_LEN);
    let mut output = Output {
        limit: out.len(),
        bytes: out,
        len: 0,
        floor: 0,
    };
    let step = inflate.run(data, &mut output, &mut Unobserved);
    let len = output.len;
    let (decoded, rest) = output.bytes.split_at_mut(len);
    // The hot loop may have written beyond the output's end.
    rest.fill(0);
    let stored = data
        .get(inflate.pos()..)
        .and_then(|rest| rest.first_chunk());
    step == Step::End && stored.is_some_and(|&adler| u32::from_be_bytes(adler) == adler32(decoded))
}
