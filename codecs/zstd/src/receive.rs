//! What the fallback decoder of `btrfs receive` makes of a payload.

use btrfs_payload_common::Errno;
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// Decodes `data` into exactly `unencoded_len` bytes, zero-filled, as the fallback does.
///
/// # Errors
/// EIO where its decoder fails.
pub fn fallback(data: &[u8], unencoded_len: usize, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.clear();
    out.resize(unencoded_len, 0);
    let mut context = DCtx::default();
    let mut input = InBuffer::around(data);
    let mut output = OutBuffer::around(out.as_mut_slice());
    while input.pos < data.len() && output.pos() < unencoded_len {
        if context
            .decompress_stream(&mut output, &mut input)
            .map_err(|_| Errno::Eio)?
            == 0
        {
            break;
        }
    }
    Ok(())
}
