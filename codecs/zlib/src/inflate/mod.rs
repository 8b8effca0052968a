//! A resumable inflate that keeps all output, for readers that differ in small things.
//!
//! It stops exactly where zlib's `inflate()` stops, so that a caller who hands it input and room
//! piece by piece sees what the kernel sees:
//!
//! * when a field or symbol needs more bits than there are, every byte of the input has been
//!   taken;
//! * when the room is used up it still decodes the next symbol, end of block or block header,
//!   and stops only at something that needs room;
//! * a byte is taken only when a bit of it is needed.
//!
//! All output since the start stays in the caller's buffer; how far back a match may reach is
//! the caller's choice ([`Output::floor`]).
#![deny(clippy::indexing_slicing)]

mod bits;
mod fast;
mod flaw;
mod output;
mod symbol;
mod table;
#[cfg(test)]
mod tests;

pub use flaw::{CodeSet, Flaw, SetFlaw};

pub(crate) use output::Output;

use bits::Bits;
use symbol::symbol;
use table::{Codes, FIXED, LengthsCode};

/// In which order the lengths of the code length code are stored (RFC 1951, 3.2.7).
const LENGTHS_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Code lengths written at a time, some of them too many.
const LENS_STEP: usize = 16;
/// Room for the code lengths of all symbols.
const LENS: usize = 288 + 32 + LENS_STEP;

/// In what readers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Refuse a dynamic block whose literal/length set has no end-of-block code.
    pub(crate) need_end_of_block: bool,
    /// Refuse a match that starts before [`Output::floor`]; otherwise it copies zeroes.
    pub(crate) refuse_too_far: bool,
}

/// Looks at every symbol; slows decoding down, see [`Unobserved`].
pub(crate) trait Observer {
    /// False: never called.
    const ACTIVE: bool = true;
    /// A literal was decoded.
    fn literal(&mut self) {}
    /// A match was decoded; its first byte goes to position `at` of the output.
    fn matched(&mut self, at: usize, length: usize, distance: usize);
}

/// Nobody looks.
pub(crate) struct Unobserved;

impl Observer for Unobserved {
    const ACTIVE: bool = false;
    fn matched(&mut self, _at: usize, _length: usize, _distance: usize) {}
}

/// What is decoded next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A block header, or the end if the last block has been read.
    Block,
    /// LEN and NLEN of a stored block.
    StoredLen,
    /// The bytes of a stored block; so many are left.
    Stored(usize),
    /// HLIT, HDIST and HCLEN.
    Counts,
    /// The lengths of the code length code.
    LengthsLens,
    /// The code lengths.
    Lengths,
    /// A symbol.
    Symbols,
    /// The rest of a match.
    Match {
        /// Bytes to copy.
        length: usize,
        /// From how far back.
        distance: usize,
    },
    /// A literal that found no room.
    Literal(u8),
    /// Nothing; the input is at the byte after the last block.
    End,
    /// Nothing; a rule is broken.
    Broken,
}

/// How a step or a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The mode has changed; go on (never from [`Inflate::run`]).
    Next,
    /// More input is needed, all there is has been taken.
    Input,
    /// More room is needed.
    Room,
    /// The last block has ended.
    End,
    /// A rule is broken, see [`Inflate::flaw`].
    Broken,
}

/// The decoder's state, reusable.
pub(crate) struct Inflate {
    rules: Rules,
    bits: Bits,
    mode: Mode,
    /// BFINAL of the current block.
    last: bool,
    /// The current block uses the fixed codes.
    fixed: bool,
    codes: Box<Codes>,
    lengths_code: LengthsCode,
    /// Numbers of literal/length codes, distance codes, and of all lengths read so far.
    litlen_codes: usize,
    distance_codes: usize,
    lengths_lens: usize,
    have: usize,
    lens: [u8; LENS],
    /// Where the latest field or symbol starts (bit).
    start: u64,
    flaw: Option<Flaw>,
    /// Output at the end of the latest block that had any, and where it ended (bit).
    quiet_len: usize,
    quiet_since: u64,
    /// The longest run of blocks without output, bits.
    quiet: u64,
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflate")
            .field("bits", &self.bits)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Inflate {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            bits: Bits::default(),
            mode: Mode::Block,
            last: false,
            fixed: false,
            codes: Codes::new(),
            lengths_code: LengthsCode::new(),
            litlen_codes: 0,
            distance_codes: 0,
            lengths_lens: 0,
            have: 0,
            lens: [0; LENS],
            start: 0,
            flaw: None,
            quiet_len: 0,
            quiet_since: 0,
            quiet: 0,
        }
    }

    /// Starts again at byte `pos` of the input.
    pub(crate) fn reset(&mut self, pos: usize) {
        self.bits = Bits {
            pos,
            ..Bits::default()
        };
        self.mode = Mode::Block;
        self.last = false;
        self.flaw = None;
        self.quiet_len = 0;
        self.quiet_since = self.bits.position();
        self.quiet = 0;
    }

    /// The first byte of which no bit was consumed (after [`Step::Input`]: the input's end).
    pub(crate) fn pos(&self) -> usize {
        self.bits.pos
    }

    /// The next bit.
    pub(crate) fn bit(&self) -> u64 {
        self.bits.position()
    }

    /// Where the latest field or symbol starts (bit).
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// BFINAL of the current block.
    pub(crate) fn last(&self) -> bool {
        self.last
    }

    /// Numbers of literal/length and of distance codes of the current dynamic block, and
    /// whether there is an end-of-block code among them.
    pub(crate) fn dynamic(&self) -> (usize, usize, bool) {
        let end = self.lens.get(256).is_some_and(|&len| len != 0);
        (self.litlen_codes, self.distance_codes, end)
    }

    /// The longest run of whole blocks without output, bits.
    pub(crate) fn quiet(&self) -> u64 {
        self.quiet
    }

    /// The rule that was broken.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Decodes until input or room runs out, the stream ends or a rule is broken.
    pub(crate) fn run(
        &mut self,
        input: &[u8],
        out: &mut Output<'_>,
        observer: &mut impl Observer,
    ) -> Step {
        loop {
            match self.step(input, out, observer) {
                Step::Next => {}
                Step::Input => return Step::Input,
                end => {
                    self.bits.give_back();
                    return end;
                }
            }
        }
    }

    /// Decodes one structure, or as much of it as input and room allow.
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        out: &mut Output<'_>,
        observer: &mut impl Observer,
    ) -> Step {
        let result = match self.mode {
            Mode::Block => self.block(input, out.len),
            Mode::StoredLen => self.stored_len(input),
            Mode::Stored(len) => return self.stored(input, out, len),
            Mode::Counts => self.counts(input),
            Mode::LengthsLens => self.lengths_lens(input),
            Mode::Lengths => self.lengths(input),
            Mode::Symbols => self.symbols(input, out, observer),
            Mode::Match { length, distance } => {
                if out.len >= out.limit {
                    return Step::Room;
                }
                let left = length - out.copy(length, distance);
                self.mode = if left == 0 {
                    Mode::Symbols
                } else {
                    Mode::Match {
                        length: left,
                        distance,
                    }
                };
                return Step::Next;
            }
            Mode::Literal(byte) => {
                if out.len >= out.limit {
                    return Step::Room;
                }
                out.push(&[byte]);
                self.mode = Mode::Symbols;
                return Step::Next;
            }
            Mode::End => return Step::End,
            Mode::Broken => return Step::Broken,
        };
        match result {
            Ok(Some(mode)) => {
                self.mode = mode;
                Step::Next
            }
            Ok(None) => Step::Input,
            Err(flaw) => {
                self.flaw = Some(flaw);
                self.mode = Mode::Broken;
                Step::Broken
            }
        }
    }

    fn block(&mut self, input: &[u8], len: usize) -> Result<Option<Mode>, Flaw> {
        self.start = self.bits.position();
        if len > self.quiet_len {
            self.quiet_len = len;
            self.quiet_since = self.start;
        }
        self.quiet = self.quiet.max(self.start.saturating_sub(self.quiet_since));
        if self.last {
            self.bits.align();
            return Ok(Some(Mode::End));
        }
        let Some(header) = self.bits.take(input, 3) else {
            return Ok(None);
        };
        self.last = header & 1 != 0;
        match header >> 1 {
            0 => Ok(Some(Mode::StoredLen)),
            1 => {
                self.fixed = true;
                Ok(Some(Mode::Symbols))
            }
            2 => {
                self.fixed = false;
                Ok(Some(Mode::Counts))
            }
            _ => Err(Flaw::BlockType),
        }
    }

    fn stored_len(&mut self, input: &[u8]) -> Result<Option<Mode>, Flaw> {
        self.bits.align();
        self.start = self.bits.position();
        let Some(word) = self.bits.take(input, 32) else {
            return Ok(None);
        };
        let [a, b, c, d] = word.to_le_bytes();
        let (len, nlen) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        if len != !nlen {
            return Err(Flaw::StoredLen { len, nlen });
        }
        self.bits.give_back();
        Ok(Some(Mode::Stored(usize::from(len))))
    }

    fn stored(&mut self, input: &[u8], out: &mut Output<'_>, len: usize) -> Step {
        self.bits.give_back();
        if len == 0 {
            self.mode = Mode::Block;
            return Step::Next;
        }
        let rest = input.get(self.bits.pos..).unwrap_or_default();
        let room = out.limit.saturating_sub(out.len);
        if room == 0 {
            return Step::Room;
        }
        let Some((bytes, _)) = rest.split_at_checked(len.min(rest.len()).min(room)) else {
            return Step::Input;
        };
        if bytes.is_empty() {
            return Step::Input;
        }
        out.push(bytes);
        self.bits.pos += bytes.len();
        self.mode = Mode::Stored(len - bytes.len());
        Step::Next
    }

    fn counts(&mut self, input: &[u8]) -> Result<Option<Mode>, Flaw> {
        self.start = self.bits.position();
        let Some(counts) = self.bits.take(input, 14) else {
            return Ok(None);
        };
        let [low, high, ..] = counts.to_le_bytes();
        let counts = usize::from(u16::from_le_bytes([low, high]));
        self.litlen_codes = (counts & 31) + 257;
        self.distance_codes = (counts >> 5 & 31) + 1;
        self.lengths_lens = (counts >> 10) + 4;
        self.have = 0;
        if self.litlen_codes > 286 || self.distance_codes > 30 {
            return Err(Flaw::TooManyCodes {
                litlen: self.litlen_codes,
                distance: self.distance_codes,
            });
        }
        Ok(Some(Mode::LengthsLens))
    }

    fn lengths_lens(&mut self, input: &[u8]) -> Result<Option<Mode>, Flaw> {
        while self.have < self.lengths_lens {
            self.start = self.bits.position();
            let Some(len) = self.bits.take(input, 3) else {
                return Ok(None);
            };
            self.set_length_len(u8::try_from(len).unwrap_or(0));
        }
        while self.have < LENGTHS_ORDER.len() {
            self.set_length_len(0);
        }
        let lens = self.lens.get(..LENGTHS_ORDER.len()).unwrap_or_default();
        self.lengths_code.build(lens)?;
        self.have = 0;
        Ok(Some(Mode::Lengths))
    }

    fn set_length_len(&mut self, len: u8) {
        let place = LENGTHS_ORDER.get(self.have);
        if let Some(place) = place.and_then(|&symbol| self.lens.get_mut(symbol)) {
            *place = len;
        }
        self.have += 1;
    }

    fn lengths(&mut self, input: &[u8]) -> Result<Option<Mode>, Flaw> {
        let codes = self.litlen_codes + self.distance_codes;
        // A copy, which stays in registers.
        let mut bits = std::mem::take(&mut self.bits);
        // Bits of the latest symbol.
        let mut used = 0;
        let result = loop {
            if self.have >= codes {
                break Ok(Some(()));
            }
            bits.fill(input);
            let symbol = self.lengths_code.symbol(bits.hold);
            if bits.count < symbol.bits {
                used = 0;
                break Ok(None);
            }
            used = symbol.bits;
            let extra = usize::try_from(bits.peek(used) >> symbol.code_bits).unwrap_or(0);
            bits.drop(used);
            let previous = self.have.checked_sub(1).and_then(|at| self.lens.get(at));
            let (len, repeats) = match (symbol.value, previous) {
                (len @ 0..=15, _) => (len, 1),
                (16, Some(&previous)) => (previous, 3 + extra),
                (16, None) => break Err(Flaw::RepeatOfNothing),
                (17, _) => (0, 3 + extra),
                _ => (0, 11 + extra),
            };
            let end = self.have + repeats;
            if end > codes {
                break Err(Flaw::RepeatTooLong { codes, got: end });
            }
            let places = self.lens.get_mut(self.have..).unwrap_or_default();
            match places.first_chunk_mut::<LENS_STEP>() {
                // Most repeat less often; what is too much is written over.
                Some(places) if repeats <= LENS_STEP => *places = [len; LENS_STEP],
                _ => places
                    .iter_mut()
                    .take(repeats)
                    .for_each(|place| *place = len),
            }
            self.have = end;
        };
        self.start = bits.position() - u64::from(used);
        self.bits = bits;
        if result?.is_none() {
            return Ok(None);
        }
        if self.rules.need_end_of_block && !self.dynamic().2 {
            return Err(Flaw::NoEndOfBlock);
        }
        let lens = self.lens.get(..codes).unwrap_or_default();
        if let Some((litlen, distance)) = lens.split_at_checked(self.litlen_codes) {
            self.codes.build_litlen(litlen)?;
            self.codes.build_distance(distance)?;
        }
        Ok(Some(Mode::Symbols))
    }

    fn symbols(
        &mut self,
        input: &[u8],
        out: &mut Output<'_>,
        observer: &mut impl Observer,
    ) -> Result<Option<Mode>, Flaw> {
        let codes = if self.fixed { &FIXED } else { &self.codes };
        loop {
            if !is_observed(observer) {
                fast::symbols(&mut self.bits, codes, input, out);
            }
            self.start = self.bits.position();
            match symbol(&mut self.bits, codes, self.rules, input, out, observer)? {
                // An observer gets to see where each symbol starts.
                Some(Mode::Symbols) if !is_observed(observer) => {}
                mode => return Ok(mode),
            }
        }
    }
}

fn is_observed<O: Observer>(_: &O) -> bool {
    O::ACTIVE
}
