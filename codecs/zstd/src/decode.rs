//! Strict decoding.

use zstd_safe::DCtx;

use crate::error::DecodeError;
use crate::walk::{Event, walk};

/// Decodes payloads that are exactly one well-formed frame; keeps libzstd's context.
pub struct Decoder {
    context: DCtx<'static>,
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
        let context = DCtx::try_create().ok_or(DecodeError::Memory)?;
        Ok(Self { context })
    }

    /// Decodes the frame that `payload` consists of into the start of `out`; the number of bytes
    /// decoded.
    ///
    /// # Errors
    /// Whatever [`walk`] has a fault for, and content that is longer than `out`.
    pub fn decode(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let mut first = None;
        walk(payload, out.len(), &mut |event| {
            if let (Event::Fault(fault), None) = (event, &first) {
                first = Some(fault);
            }
        });
        if let Some(fault) = first {
            return Err(fault.into());
        }
        self.context
            .decompress(out, payload)
            .map_err(|code| DecodeError::Library {
                message: zstd_safe::get_error_name(code),
            })
    }
}
