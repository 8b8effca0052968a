//! Reading a payload strictly: one well-formed stream and nothing else.

use crate::adler::adler32;
use crate::error::DecodeError;
use crate::inflate::{Flaw, Inflate, Output, Rules, Step, Unobserved};
use crate::layout::{CINFO_MAX, CM_DEFLATE, HEADER_LEN, Header, TRAILER_LEN};

/// Bits of the smallest page, without the stream's header.
const PAGE_BITS: u64 = (4096 - 2) * 8;

/// More bits than an end-of-block code (15), a block header with 316 code lengths of at most 14
/// bits each (3 + 14 + 57 + 4424) and a symbol with its distance (48) take.
const QUIET_AROUND: u64 = 4600;

/// Decodes payloads that are exactly one well-formed zlib stream; reusable, allocates nothing
/// after it was made.
///
/// Every rule is checked that any reader enforces: header, block structure, complete codes,
/// an end-of-block code in each block, distances within output and declared window, adler32,
/// no byte after the stream. General libraries are more lenient (unused bit patterns of
/// one-symbol codes, distances beyond the declared window, symbols without meaning), and
/// kernels are not, so none of them is asked.
#[derive(Debug)]
pub struct Decoder {
    inflate: Inflate,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Allocates the tables, about 20 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inflate: Inflate::new(Rules {
                need_end_of_block: true,
                refuse_too_far: true,
            }),
        }
    }

    /// Decodes `payload` into `out` and returns the number of bytes. Bytes of `out` after
    /// those may be overwritten.
    ///
    /// # Errors
    /// [`DecodeError`] with the first rule that is broken; a stream of more than `out.len()`
    /// bytes is an error too.
    pub fn decode(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let truncated = DecodeError::Truncated {
            offset: offset(payload.len()),
        };
        let header = Header::of(payload).ok_or(truncated)?;
        if !header.check_ok()
            || header.method() != CM_DEFLATE
            || header.cinfo() > CINFO_MAX
            || header.has_dictionary()
        {
            return Err(DecodeError::Header { got: header.word() });
        }
        self.inflate.reset(HEADER_LEN);
        let limit = out.len();
        let mut output = Output {
            limit,
            bytes: out,
            len: 0,
            floor: 0,
        };
        let end = if header.cinfo() == CINFO_MAX {
            self.inflate.run(payload, &mut output, &mut Unobserved)
        } else {
            self.run_in_window(payload, &mut output, header.window())?
        };
        let len = output.len;
        match end {
            Step::End => {}
            Step::Room => return Err(DecodeError::TooLong { limit }),
            Step::Broken => {
                return Err(DecodeError::Deflate {
                    offset: self.inflate.start() / 8,
                    flaw: self.inflate.flaw().unwrap_or(Flaw::BlockType),
                });
            }
            Step::Input | Step::Next => return Err(truncated),
        }
        let pos = self.inflate.pos();
        let trailer = payload.get(pos..).unwrap_or_default();
        let stored = *trailer.first_chunk::<TRAILER_LEN>().ok_or(truncated)?;
        let got = u32::from_be_bytes(stored);
        let expected = adler32(output.bytes.get(..len).unwrap_or_default());
        if got != expected {
            return Err(DecodeError::Checksum {
                offset: offset(pos),
                got,
                expected,
            });
        }
        match trailer.len() - TRAILER_LEN {
            0 => Ok(len),
            rest => Err(DecodeError::Trailing {
                offset: offset(pos + TRAILER_LEN),
                len: rest,
            }),
        }
    }

    /// Whether the payload decoded last may have an input page without output, at which kernels
    /// give up. `false` is proof that it has none; after `true` the walk tells.
    ///
    /// The proof: input without output is at most an end-of-block code, whole empty blocks, a
    /// block header, and the beginning of the first symbol (or stored length) after it. All
    /// but the empty blocks take less than 4600 bits, so without enough empty blocks in a row
    /// no page, of which at least 4094 bytes are deflate data, is without output.
    #[must_use]
    pub fn may_stall(&self) -> bool {
        self.inflate.quiet() + QUIET_AROUND >= PAGE_BITS
    }

    /// Like [`Inflate::run`], but looks at every distance.
    fn run_in_window(
        &mut self,
        payload: &[u8],
        output: &mut Output<'_>,
        window: usize,
    ) -> Result<Step, DecodeError> {
        let mut farthest = Farthest(0);
        let end = self.inflate.run(payload, output, &mut farthest);
        if farthest.0 > window {
            return Err(DecodeError::BeyondWindow {
                offset: offset(self.inflate.pos()),
                got: farthest.0,
                expected: window,
            });
        }
        Ok(end)
    }
}

/// The largest distance so far, bytes.
struct Farthest(usize);

impl crate::inflate::Observer for Farthest {
    fn matched(&mut self, _at: usize, _length: usize, distance: usize) {
        self.0 = self.0.max(distance);
    }
}

fn offset(byte: usize) -> u64 {
    u64::try_from(byte).unwrap_or(u64::MAX)
}
