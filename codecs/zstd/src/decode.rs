//! Strict decoding.

use zstd_safe::DCtx;

use crate::block::{Bounds, Tables};
use crate::count::Count;
use crate::error::DecodeError;
use crate::layout::{
    BLOCK_HEADER, BLOCK_MAX, BlockHeader, BlockKind, CHECKSUM, FrameHeader, MAGIC, WINDOW_MAX,
};
use crate::rules::Rules;
use crate::walk::{Event, walk};

/// Decodes payloads that are exactly one well-formed frame; keeps its tables and libzstd's
/// context, so that nothing is allocated per payload.
pub struct Decoder {
    context: DCtx<'static>,
    tables: Tables,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Self, DecodeError> {
        Ok(Self {
            context: DCtx::try_create().ok_or(DecodeError::Memory)?,
            tables: Tables::default(),
        })
    }

    /// Decodes the frame that `payload` consists of into the start of `out`; the number of bytes
    /// decoded.
    ///
    /// Two decoders look at it: this crate's, which is strict and keeps nothing, and libzstd,
    /// which is fast and lenient.
    ///
    /// # Errors
    /// Whatever [`walk`] has a fault for, and content that is longer than `out`.
    pub fn decode(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let len = self.blocks(payload)?;
        if len > out.len() {
            return Err(DecodeError::TooLong {
                needed: len as u64,
                limit: out.len(),
            });
        }
        self.context
            .decompress(out, payload)
            .map_err(|code| self.explain(payload, code))
    }

    /// Decodes a frame of any length with libzstd; the number of bytes decoded.
    ///
    /// For content that no extent holds, which receivers of send streams decode themselves. As
    /// for them, what comes after the frame does not matter.
    ///
    /// # Errors
    /// What is not a whole zstd frame, or has more content than `out` has room for.
    pub fn decode_long(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let library = |code| DecodeError::Library {
            message: zstd_safe::get_error_name(code),
        };
        // A skippable frame has no content, and receivers stop after it.
        if payload.first_chunk() != Some(&MAGIC.to_le_bytes()) {
            return Err(self.explain(payload, 0));
        }
        let len = zstd_safe::find_frame_compressed_size(payload).map_err(library)?;
        let frame = payload.get(..len).unwrap_or(payload);
        self.context.decompress(out, frame).map_err(library)
    }

    /// Checks a payload as [`Decoder::decode`] does, without producing the content; its length.
    ///
    /// Quicker than decoding, except for a frame with a checksum, which is decoded into `out`.
    ///
    /// # Errors
    /// As for [`Decoder::decode`].
    pub fn check(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        match payload.get(4) {
            Some(descriptor) if descriptor & 0x04 != 0 => self.decode(payload, out),
            _ => {
                let len = self.blocks(payload)?;
                match len <= out.len() {
                    true => Ok(len),
                    false => Err(DecodeError::TooLong {
                        needed: len as u64,
                        limit: out.len(),
                    }),
                }
            }
        }
    }

    /// The length of the content, if everything but the checksum is right.
    fn blocks(&mut self, payload: &[u8]) -> Result<usize, DecodeError> {
        self.count(payload).ok_or_else(|| self.explain(payload, 0))
    }

    fn count(&mut self, payload: &[u8]) -> Option<usize> {
        if payload.first_chunk() != Some(&MAGIC.to_le_bytes()) {
            return None;
        }
        let header = FrameHeader::parse(payload).ok()?;
        let content = usize::try_from(header.known_size()?).ok()?;
        let max = header.block_max();
        let plain = header.descriptor & 0x10 == 0 && header.dictionary_id.1 == 0;
        if !plain || header.window() > WINDOW_MAX || content > BLOCK_MAX || content == 0 {
            return None;
        }
        self.tables.reset();
        let mut count = Count::default();
        let bounds = Bounds {
            rules: Rules::Strict,
            block_max: max,
            window: header.window(),
            at_once: false,
        };
        let mut rest = payload.get(header.size()..)?;
        loop {
            let (bytes, tail) = rest.split_first_chunk::<BLOCK_HEADER>()?;
            let block = BlockHeader::parse(*bytes);
            let (body, tail) = tail.split_at_checked(block.stored())?;
            rest = tail;
            if block.size > max || block.kind == BlockKind::Reserved {
                return None;
            }
            match block.kind {
                BlockKind::Compressed => {
                    count.limit = count.total + max;
                    let visit = &mut |_, _| ();
                    self.tables.decode(body, bounds, &mut count, visit).ok()?;
                }
                _ => count.total += block.size,
            }
            if count.total > content {
                return None;
            }
            if block.last {
                break;
            }
        }
        let end = match header.checksum() {
            true => CHECKSUM,
            false => 0,
        };
        (count.total == content && rest.len() == end).then_some(content)
    }

    /// The first fault of a payload that was refused.
    fn explain(&self, payload: &[u8], code: usize) -> DecodeError {
        let mut first = None;
        walk(payload, BLOCK_MAX, &mut |event| {
            if let (Event::Fault(fault), None) = (event, &first) {
                first = Some(fault);
            }
        });
        match first {
            Some(fault) => fault.into(),
            None => DecodeError::Library {
                message: zstd_safe::get_error_name(code),
            },
        }
    }
}
