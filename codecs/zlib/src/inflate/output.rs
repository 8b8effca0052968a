//! Output, of which all is kept.

/// Where output goes and how much there may be.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    /// All output from the start; at least `limit` bytes.
    pub(crate) bytes: &'a mut [u8],
    /// How much there is.
    pub(crate) len: usize,
    /// How much there may be.
    pub(crate) limit: usize,
    /// The oldest byte that a match may copy.
    pub(crate) floor: usize,
}

impl Output<'_> {
    /// Appends bytes the caller knows to fit.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }

    /// Copies as much of a match as there is room for, and says how much that is. What lies
    /// before the start reads as zeroes.
    pub(super) fn copy(&mut self, length: usize, distance: usize) -> usize {
        let length = length.min(self.limit.saturating_sub(self.len));
        let end = self.len + length;
        match self.len.checked_sub(distance) {
            Some(from) if distance >= length => {
                self.bytes.copy_within(from..from + length, self.len)
            }
            _ => {
                for at in self.len..end {
                    let byte = at
                        .checked_sub(distance)
                        .and_then(|from| self.bytes.get(from));
                    let byte = byte.copied().unwrap_or(0);
                    if let Some(place) = self.bytes.get_mut(at) {
                        *place = byte;
                    }
                }
            }
        }
        self.len = end;
        length
    }
}
