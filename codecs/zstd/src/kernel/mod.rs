//! What the kernels' readers make of a payload: `zstd_decompress_bio` (regular extents) and
//! `zstd_decompress` (inline extents), fs/btrfs/zstd.c, over the libzstd of each kernel.
//!
//! | condition | regular | inline | kernels |
//! | --- | --- | --- | --- |
//! | frame ends, content shorter than wanted | rest reads as zeroes | EIO; the rest is stale memory up to 6.8 | all |
//! | stored bytes run out inside the frame | rest reads as zeroes; bytes decoded but not yet put out are lost | EIO; up to 6.8 zeroes if nothing came out, else stale memory | all |
//! | skippable or empty frame first | all zeroes | EIO; up to 6.8 EIO too, or zeroes where nothing follows | all |
//! | anything after the first frame | ignored | ignored | all |
//! | content longer than wanted | cut | cut | all |
//! | a rule of the format broken | EIO from the call on that meets it | EIO | all |
//! | checksum wrong | EIO, unless the wanted bytes were out before | EIO | all |
//! | buffers larger than the idle workspace | EIO | EIO | limits differ by libzstd |
//! | offset beyond the window | reads back if the ring buffer still holds it, else EIO | the same | rings differ by libzstd |
//! | block larger than the window | EIO; up to 1.5.6 not where the frame is decoded at once | the same | before 6.15 |
//! | literals streams that do not end with their last literal | EIO; since 1.5.7 not noticed in four long streams | the same | since 6.15 |
//! | bitstream shorter than its sequences | EIO since 1.5.7; before that not noticed | the same | before 6.15 |
//!
//! The generations are 1.4.10, 1.5.2 (since 6.2) and 1.5.7 (since 6.15), as 64-bit little-endian
//! machines run them; on x86-64 1.5.7 needs BMI2 to take its fast way through four streams.
//!
//! A frame is decoded at once where it lies wholly in the first piece of input and its content
//! size fits into one piece of output; nothing but the format is checked then, not the window.

mod stream;

use std::cell::RefCell;

use btrfs_payload_common::{Behaviour, End, Errno, Kernel, Machine, Reading};

use crate::rules::Rules;
pub(crate) use stream::{Call, Input, Memory, Stream, low_half};

thread_local! {
    /// Decoding tables and buffers, kept so that nothing is allocated per payload.
    static MEMORY: RefCell<Memory> = RefCell::default();
    /// One piece of output.
    static PIECE: RefCell<Vec<u8>> = RefCell::default();
}

/// The library a kernel decodes with.
struct Library {
    rules: Rules,
    /// Bytes of buffers that fit into every workspace: that of level 1, less the decoder.
    always: u64,
    /// Bytes of buffers that fit into the largest workspace: that of level 15.
    largest: u64,
}

/// The workspaces' sizes follow from the compressor's needs at levels 1 and 15
/// (`zstd_calc_ws_mem_sizes`, fs/btrfs/zstd.c), less the size of the decoder itself.
fn library(kernel: Kernel) -> Library {
    if kernel.has(Behaviour::Zstd1_5_7) {
        Library {
            rules: Rules::V1_5_7,
            always: 847_665,
            largest: 3_181_487,
        }
    } else if kernel.has(Behaviour::Zstd1_5_2) {
        Library {
            rules: Rules::V1_5_2,
            always: 847_409,
            largest: 3_181_167,
        }
    } else {
        Library {
            rules: Rules::V1_4_10,
            always: 775_681,
            largest: 3_109_207,
        }
    }
}

impl Library {
    /// The reading of a frame that needed these buffers and gave `out`. A failure that gave
    /// nothing is the same in every workspace.
    fn reading(&self, buffers: Option<u64>, end: End, out: &[u8]) -> Reading {
        let nothing = matches!(end, End::Error(_)) && out.is_empty();
        Reading {
            end,
            or_nothing: buffers
                .filter(|&needed| needed > self.always && !nothing)
                .map(|_| Errno::Eio),
        }
    }
}

/// What a regular extent delivers.
///
/// `disk` is the payload, zero-padded to the sector; `want` is the number of decoded bytes, from
/// the first on, that a reader may need. `out` receives the bytes delivered before the end or
/// the error, at most `want`.
pub fn regular(disk: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    let library = library(machine.kernel);
    let mut chunks = disk.chunks(machine.input_chunk());
    with_memory(machine.output_chunk(), |memory, piece| {
        let mut stream = Stream::new(memory, library.rules, want, library.largest);
        let mut input = Input {
            bytes: chunks.next().unwrap_or_default(),
            taken: 0,
        };
        loop {
            let Ok((len, call)) = stream.call(&mut input, piece) else {
                return library.reading(stream.buffers, End::Error(Errno::Eio), out);
            };
            let room = want - out.len();
            out.extend_from_slice(piece.get(..len.min(room)).unwrap_or_default());
            let consumed = input.taken >= input.bytes.len();
            if out.len() == want || call == Call::FrameEnded || consumed && chunks.len() == 0 {
                return library.reading(stream.buffers, End::Complete, out);
            }
            if consumed {
                input = Input {
                    bytes: chunks.next().unwrap_or_default(),
                    taken: 0,
                };
            }
        }
    })
}

/// What an inline extent delivers.
///
/// `stored` is the payload as it is, `want` the file's length, at most a sector.
pub fn inline(stored: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    let library = library(machine.kernel);
    let old = !machine.kernel.has(Behaviour::InlineZstdAtOnce);
    let size = if old {
        machine.page_size
    } else {
        machine.sector_size
    };
    with_memory(size, |memory, piece| {
        let mut stream = Stream::new(memory, library.rules, size, library.largest);
        let mut input = Input {
            bytes: stored,
            taken: 0,
        };
        let mut ended = false;
        loop {
            // The old reader asks until there is no input left.
            if old && input.taken >= stored.len() {
                return library.reading(stream.buffers, End::Complete, out);
            }
            let result = stream.call(&mut input, piece);
            let (len, call) = match result {
                Ok(done) if !ended => done,
                _ => return library.reading(stream.buffers, End::Error(Errno::Eio), out),
            };
            ended = call == Call::FrameEnded;
            if old && len == 0 {
                if ended && input.taken < stored.len() {
                    return library.reading(stream.buffers, End::Error(Errno::Eio), out);
                }
                continue;
            }
            let delivered = piece.get(..len.min(want)).unwrap_or_default();
            let end = match (len >= want, old) {
                (true, _) => End::Complete,
                (false, true) => End::Uninitialised,
                (false, false) => End::Error(Errno::Eio),
            };
            if end != End::Error(Errno::Eio) {
                out.extend_from_slice(delivered);
            }
            return library.reading(stream.buffers, end, out);
        }
    })
}

/// Runs `decode` with this thread's memory and a piece of `size` bytes.
fn with_memory<T>(size: usize, decode: impl FnOnce(&mut Memory, &mut [u8]) -> T) -> T {
    MEMORY.with_borrow_mut(|memory| {
        PIECE.with_borrow_mut(|piece| {
            if piece.len() < size {
                piece.resize(size, 0);
            }
            decode(memory, piece.get_mut(..size).unwrap_or_default())
        })
    })
}

/// Runs `decode` with this thread's memory alone.
pub(crate) fn with_buffers<T>(decode: impl FnOnce(&mut Memory) -> T) -> T {
    MEMORY.with_borrow_mut(decode)
}
