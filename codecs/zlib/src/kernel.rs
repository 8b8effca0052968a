//! What the kernel's readers deliver of a payload.
//!
//! A call is one call of the kernel's inflate (lib/zlib_inflate, of zlib 1.2.3): it gets the rest
//! of an input chunk and room for an output chunk, both from [`Machine`]. Functions are those of
//! fs/btrfs/zlib.c.
//!
//! | condition | regular (`zlib_decompress_bio`) | inline (`zlib_decompress`) | kernels |
//! | --- | --- | --- | --- |
//! | CM 8, no FDICT, FCHECK right | header skipped, raw deflate, adler32 never looked at, window 2^(CINFO+8) | the same | all |
//! | the same, CINFO above 7 | unsafe | unsafe | all |
//! | header wrong in any other way | EIO | EIO | all |
//! | FLG of 0x80 and above counts as negative in the check | a right header is read with adler32 check and a 32 KiB window | - | before 6.2 with signed `char` (x86) |
//! | match beyond min(window, output before the call) plus output of the call | the call fails | the same | all |
//! | match beyond the declared window that is not wholly inside the output of one call | unsafe | unsafe | all |
//! | dynamic block without end-of-block code | no error by itself | the same | all |
//! | a call fails | EIO; what it had decoded is lost | EIO, but see below | all |
//! | a call delivers nothing and the stream has not ended | EIO | EIO | all |
//! | all wanted bytes delivered | complete, whatever follows | complete | all |
//! | stream ends early | complete, zeroes follow | EIO | since 6.8, 6.6.48 |
//! | | the same | complete, memory of an earlier read follows | before 6.8, 6.6.48 |
//! | input ends before the stream | EIO | EIO if too few bytes were decoded | all |
//! | the one call decodes enough and does not reach the end (also because it fails) | - | complete, nothing of it is decoder output | since 6.8, 6.6.48 |
//!
//! Input of a regular extent includes the zeroes up to the sector; they are decoded if the
//! stream does not end before them.

use btrfs_payload_common::{Behaviour, End, Errno, MAX_EXTENT, Machine, Reading};

use crate::adler::adler32;
use crate::inflate::{Inflate, Observer, Output, Rules, Step, Unobserved};
use crate::layout::{CINFO_MAX, CM_DEFLATE, HEADER_LEN, Header, TRAILER_LEN, WINDOW_MAX};

const RULES: Rules = Rules {
    need_end_of_block: false,
    refuse_too_far: true,
};

/// The page and sector sizes there are, bytes.
const SIZES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// What is delivered of a regular extent.
///
/// `disk` is the payload padded with zeroes to the sector; `want` is how many decoded bytes,
/// from 0, the reader may ever need (a multiple of the page). `out` receives the bytes
/// delivered, at most `want`; after [`End::Complete`] the rest of `want` reads as zeroes.
/// Memory: `want` plus an output chunk.
pub fn regular(disk: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    if is_unsafe(disk) {
        return Reading::certain(End::Unsafe);
    }
    // Only x86 among the machines with such pages and a signed `char` is modelled.
    let signed = !machine.kernel.has(Behaviour::UnsignedChar) && machine.page_size == 4096;
    let (window, wrapped) = match (skipped_header(disk, signed), Header::of(disk)) {
        (Some(window @ ..=WINDOW_MAX), _) => (window, false),
        (None, Some(header)) if is_plain(header) => (WINDOW_MAX, true),
        _ => return Reading::certain(End::Error(Errno::Eio)),
    };
    let (room, chunk) = (machine.output_chunk(), machine.input_chunk());
    out.resize(want.saturating_add(room), 0);
    let mut calls = Calls::new(disk, chunk, room, wrapped);
    let mut output = Output {
        bytes: out,
        len: 0,
        limit: 0,
        floor: 0,
    };
    let mut delivered = 0;
    let end = loop {
        if delivered >= want {
            break End::Complete;
        }
        match calls.next(window, &mut output, &mut Unobserved) {
            Call::More if output.len > delivered => delivered = output.len,
            Call::End => {
                delivered = output.len;
                break End::Complete;
            }
            // Whether the call failed, made no progress or ran out of input.
            Call::Last => {
                delivered = output.len;
                break if delivered >= want {
                    End::Complete
                } else {
                    End::Error(Errno::Eio)
                };
            }
            Call::More | Call::Failed => break End::Error(Errno::Eio),
        }
    };
    out.truncate(delivered.min(want));
    Reading::certain(end)
}

/// What is delivered of an inline extent: `stored` is the payload, `want` the file's length,
/// at most a sector. Memory: an output chunk.
pub fn inline(stored: &[u8], want: usize, machine: &Machine, out: &mut Vec<u8>) -> Reading {
    out.clear();
    if is_unsafe(stored) {
        return Reading::certain(End::Unsafe);
    }
    if skipped_header(stored, false).is_none() {
        return Reading::certain(End::Error(Errno::Eio));
    }
    let limit = machine.output_chunk();
    out.resize(limit, 0);
    let mut output = Output {
        bytes: out,
        len: 0,
        limit,
        floor: 0,
    };
    let mut inflate = Inflate::new(RULES);
    inflate.reset(HEADER_LEN);
    let step = inflate.run(stored, &mut output, &mut Unobserved);
    let len = output.len;
    let (end, kept) = if !machine.kernel.has(Behaviour::InlineZlibAtOnce) {
        match (step, len) {
            (Step::Broken, _) | (_, 0) => (End::Error(Errno::Eio), 0),
            _ if len >= want => (End::Complete, want),
            _ => (End::Uninitialised, len),
        }
    } else {
        match step {
            _ if len < want => (End::Error(Errno::Eio), 0),
            Step::End => (End::Complete, want),
            _ => (End::Uninitialised, 0),
        }
    };
    out.truncate(kept);
    Reading::certain(end)
}

/// Decodes as far as the strict rules go, into `out`; the bytes there are before the first fault
/// of the deflate data, or before `out` is full. The checksum is not looked at.
pub fn decode_prefix(payload: &[u8], out: &mut [u8]) -> usize {
    if !Header::of(payload).is_some_and(is_plain) {
        return 0;
    }
    let limit = out.len();
    let mut output = Output {
        bytes: out,
        len: 0,
        limit,
        floor: 0,
    };
    let mut inflate = Inflate::new(Rules {
        need_end_of_block: true,
        ..RULES
    });
    inflate.reset(HEADER_LEN);
    inflate.run(payload, &mut output, &mut Unobserved);
    output.len.min(limit)
}

/// How one call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Without error; there is more input.
    More,
    /// Without error; there is no more input.
    Last,
    /// At the end of the stream.
    End,
    /// With an error.
    Failed,
}

/// The calls that read a regular extent.
struct Calls<'a> {
    inflate: Inflate,
    disk: &'a [u8],
    chunk: usize,
    room: usize,
    /// End of the current input chunk.
    chunk_end: usize,
    /// The trailer is read and checked.
    wrapped: bool,
}

impl<'a> Calls<'a> {
    fn new(disk: &'a [u8], chunk: usize, room: usize, wrapped: bool) -> Self {
        let mut inflate = Inflate::new(RULES);
        inflate.reset(HEADER_LEN);
        Self {
            inflate,
            disk,
            chunk,
            room,
            chunk_end: chunk.min(disk.len()),
            wrapped,
        }
    }

    /// Makes a call, whose output begins at `output.len`, and takes the next chunk if that was
    /// the end of one.
    fn next(
        &mut self,
        window: usize,
        output: &mut Output<'_>,
        observer: &mut impl Observer,
    ) -> Call {
        output.floor = output.len.saturating_sub(window);
        output.limit = output.len + self.room;
        let input = self.disk.get(..self.chunk_end).unwrap_or_default();
        let step = self.inflate.run(input, output, observer);
        let mut used_up = self.inflate.pos() >= self.chunk_end;
        match step {
            Step::Broken => return Call::Failed,
            Step::End if !self.wrapped => return Call::End,
            Step::End => match input
                .get(self.inflate.pos()..)
                .and_then(|rest| rest.first_chunk())
            {
                Some(stored) => {
                    let data = output.bytes.get(..output.len).unwrap_or_default();
                    let right = u32::from_be_bytes(*stored) == adler32(data);
                    return if right { Call::End } else { Call::Failed };
                }
                None => used_up = true,
            },
            Step::Input | Step::Room | Step::Next => {}
        }
        if used_up {
            if self.chunk_end >= self.disk.len() {
                return Call::Last;
            }
            self.chunk_end = (self.chunk_end + self.chunk).min(self.disk.len());
        }
        Call::More
    }
}

/// A header that is right in every respect.
fn is_plain(header: Header) -> bool {
    header.check_ok()
        && header.method() == CM_DEFLATE
        && header.cinfo() <= CINFO_MAX
        && !header.has_dictionary()
}

/// The window, if the reader skips the header and reads raw deflate; above 32 KiB, or less than
/// 256 bytes for a signed CMF, its inflate refuses the window.
fn skipped_header(payload: &[u8], signed: bool) -> Option<usize> {
    let header = Header::of(payload)?;
    let byte = |byte: u8| i32::from(byte) - if signed && byte >= 0x80 { 256 } else { 0 };
    let word = byte(header.cmf) * 256 + byte(header.flg);
    let skipped = payload.len() > HEADER_LEN
        && word % 31 == 0
        && header.method() == CM_DEFLATE
        && !header.has_dictionary();
    skipped.then(|| header.window())
}

/// True where some kernel, with some page and sector size, may leave its buffers: a window
/// above 32 KiB, or a match beyond the declared window that continues over, or starts before,
/// the output of one call.
pub(crate) fn is_unsafe(payload: &[u8]) -> bool {
    let skipped = skipped_header(payload, false).or_else(|| skipped_header(payload, true));
    let Some(window) = skipped else {
        return false;
    };
    if window > WINDOW_MAX {
        return skipped_header(payload, false).is_some();
    }
    if window == WINDOW_MAX {
        return false;
    }
    // No reader wants more than an extent, and none decodes more than a chunk beyond that.
    let limit = MAX_EXTENT + 65536;
    let mut bytes = vec![0; limit + 65536];
    let mut crosses = |chunk: usize, room: usize, everything: bool| {
        let mut calls = Calls::new(payload, chunk, room, false);
        let mut watch = Crossings {
            window,
            start: 0,
            end: if everything { 0 } else { room },
            found: false,
        };
        let mut output = Output {
            bytes: &mut bytes,
            len: 0,
            limit: 0,
            floor: 0,
        };
        loop {
            let before = (output.len, calls.inflate.pos());
            // Decoded as if the window were large enough: other readers may come further.
            let call = calls.next(WINDOW_MAX, &mut output, &mut watch);
            if watch.found {
                return true;
            }
            if call != Call::More
                || output.len >= limit
                || before == (output.len, calls.inflate.pos())
            {
                return false;
            }
            if !everything {
                watch.start = output.len;
                watch.end = output.len + room;
            }
        }
    };
    // Only if any match reaches beyond the window it matters how the output is cut.
    crosses(payload.len().max(1), 65536, true)
        && SIZES.into_iter().any(|chunk| {
            let rooms = SIZES.into_iter().filter(|&room| room <= chunk);
            rooms.into_iter().any(|room| crosses(chunk, room, false))
        })
}

/// Looks for matches beyond the window that leave the output from `start` to `end`.
struct Crossings {
    window: usize,
    start: usize,
    end: usize,
    found: bool,
}

impl Observer for Crossings {
    fn matched(&mut self, at: usize, length: usize, distance: usize) {
        let inside = at - distance.min(at) >= self.start && at + length <= self.end;
        self.found |= distance > self.window && !inside;
    }
}

/// Where a reader with input chunks of `chunk` and output chunks of `room` bytes meets an input
/// chunk that yields no output, and how much was decoded before it. The deflate data starts at
/// `start` and decodes to `len` bytes, for which there is room in `out`.
pub(crate) fn silent_chunk(
    payload: &[u8],
    start: usize,
    (chunk, room): (usize, usize),
    out: &mut [u8],
    len: usize,
) -> Option<(usize, usize)> {
    let mut calls = Calls::new(payload, chunk, room, false);
    calls.inflate.reset(start);
    let mut output = Output {
        bytes: out,
        len: 0,
        limit: 0,
        floor: 0,
    };
    loop {
        let before = output.len;
        let from = calls.chunk_end.saturating_sub(1) / chunk * chunk;
        // The last call must not run into the end of `out`.
        calls.room = room.min(len.saturating_sub(before));
        match calls.next(WINDOW_MAX, &mut output, &mut Unobserved) {
            Call::More if output.len == before => {
                return (calls.room > 0 || calls.chunk_end > from + chunk)
                    .then_some((from, before));
            }
            Call::More => {}
            Call::Last | Call::End | Call::Failed => return None,
        }
    }
}

const _: () = assert!(TRAILER_LEN == 4);
