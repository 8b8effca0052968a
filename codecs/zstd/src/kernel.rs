//! What the kernels' readers make of a payload (first version: Linux 6.18 only).

use btrfs_payload_common::{End, Errno, Machine, Reading};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// What a regular extent delivers; `disk` is padded to the sector, `want` bytes may be needed.
pub fn regular(disk: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    let mut context = DCtx::default();
    let mut buffer = vec![0; machine.output_chunk()];
    let mut rest = disk.chunks(machine.input_chunk());
    let mut input = InBuffer::around(rest.next().unwrap_or_default());
    loop {
        let mut output = OutBuffer::around(buffer.as_mut_slice());
        let Ok(hint) = context.decompress_stream(&mut output, &mut input) else {
            return Reading::certain(End::Error(Errno::Eio));
        };
        let produced = output.pos();
        let room = want - out.len();
        out.extend(buffer.iter().take(produced.min(room)));
        let consumed = input.pos == input.src.len();
        if out.len() == want || hint == 0 || consumed && rest.len() == 0 {
            return Reading::certain(End::Complete);
        }
        if consumed {
            input = InBuffer::around(rest.next().unwrap_or_default());
        }
    }
}

/// What an inline extent delivers; `stored` is not padded, `want` is the file's length.
pub fn inline(stored: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    let mut context = DCtx::default();
    let mut buffer = vec![0; machine.sector_size];
    let mut input = InBuffer::around(stored);
    let mut output = OutBuffer::around(buffer.as_mut_slice());
    let result = context.decompress_stream(&mut output, &mut input);
    let produced = output.pos();
    if result.is_err() || produced < want {
        return Reading::certain(End::Error(Errno::Eio));
    }
    out.extend(buffer.iter().take(want));
    Reading::certain(End::Complete)
}
