//! Decoding one segment, in the dialects of the readers that matter.
//!
//! The readers agree on everything but three details, which are the two flags of [`run`] and
//! what is done about the run-length marker before it.

#![deny(clippy::indexing_slicing)]

use thiserror::Error as ThisError;

use super::{M2_MAX_DISTANCE, RUN_LENGTH_MARKER, RUN_LENGTH_MIN_LEN};

/// What is wrong with an LZO1X instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ThisError)]
#[non_exhaustive]
pub enum Fault {
    /// The segment ends inside an instruction or inside the literals that it announces.
    #[error("the segment ends inside an LZO1X instruction")]
    InputOverrun,
    /// The segment ends between two instructions.
    #[error("the segment ends without the end marker 11 00 00")]
    NoEndMarker,
    /// The instruction writes past the greatest length of a decoded segment.
    #[error("an LZO1X instruction writes past the greatest decoded length")]
    OutputOverrun,
    /// The match reaches back over the start of the segment.
    #[error("an LZO1X match reaches back over the start of its segment")]
    LookbehindOverrun,
    /// An end marker with another length field than the one every decoder knows.
    #[error("the end marker's length field is {got}, 3 expected")]
    EndMarker {
        /// The length the marker carries.
        got: usize,
    },
    /// There is something past the end marker.
    #[error("{got} bytes past the end marker of the segment")]
    BehindEndMarker {
        /// Number of bytes.
        got: usize,
    },
    /// The segment starts with the marker of the kernel's run-length extension.
    #[error("the segment starts with the run-length marker 11, version {version}")]
    RunLengthMarker {
        /// The byte after the marker.
        version: u8,
    },
}

/// Where and why a segment does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ThisError)]
#[error("{fault} (at offset {offset} of the segment)")]
#[non_exhaustive]
pub struct Error {
    /// First byte of the instruction, counted from the start of the segment.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Decodes a segment that every reader takes; returns the number of bytes decoded.
///
/// The decoded bytes are the first of `out`; there are at most `cap` of them. Bytes of `out`
/// after them may be overwritten.
///
/// # Errors
/// The first instruction that some reader refuses.
pub fn decode(segment: &[u8], out: &mut [u8], cap: usize) -> Result<usize, Error> {
    if let Some(version) = run_length_version(segment) {
        return Err(Error {
            offset: 0,
            fault: Fault::RunLengthMarker { version },
        });
    }
    run::<false, false>(segment, segment, out, cap)
}

/// Decodes a segment as the kernel does (lib/lzo/lzo1x_decompress_safe.c, 5.19 to 7.2): with
/// the run-length extension where the marker is.
///
/// # Errors
/// The first instruction that the kernel refuses.
pub fn decode_as_kernel(segment: &[u8], out: &mut [u8], cap: usize) -> Result<usize, Error> {
    match (run_length_version(segment), segment.get(2..)) {
        (Some(0), Some(rest)) => run::<false, false>(segment, rest, out, cap),
        (Some(_), Some(rest)) => run::<true, false>(segment, rest, out, cap),
        _ => run::<false, false>(segment, segment, out, cap),
    }
}

/// Decodes a segment as liblzo2 2.10 does (`lzo1x_decompress_safe`): the end marker may carry
/// any length, the run-length marker is an instruction like any other.
///
/// # Errors
/// The first instruction that liblzo2 refuses.
pub fn decode_as_liblzo(segment: &[u8], out: &mut [u8], cap: usize) -> Result<usize, Error> {
    run::<false, true>(segment, segment, out, cap)
}

/// The version byte, if the segment starts with the run-length marker.
pub(crate) fn run_length_version(segment: &[u8]) -> Option<u8> {
    match segment {
        [RUN_LENGTH_MARKER, version, ..] if segment.len() >= RUN_LENGTH_MIN_LEN => Some(*version),
        _ => None,
    }
}

/// What came before the next instruction, as far as it matters to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A match without literals after it, or the start: a run of literals may follow.
    Match,
    /// One to three literals.
    Few,
    /// Four literals or more.
    Run,
}

/// Decodes `code`, which is `segment` or what follows its run-length marker.
fn run<const RUN_LENGTH: bool, const ANY_END: bool>(
    segment: &[u8],
    code: &[u8],
    out: &mut [u8],
    cap: usize,
) -> Result<usize, Error> {
    let cap = cap.min(out.len());
    let out = out.get_mut(..cap).unwrap_or_default();
    let mut rest = code;
    let mut op = 0_usize;
    let mut before = Before::Match;
    // Input bytes left when the current instruction began: tells its offset in an error.
    let mut left = rest.len();
    let error = |left: usize, fault: Fault| Error {
        offset: segment.len().saturating_sub(left),
        fault,
    };

    // The first byte may be a run of literals that has no other form.
    if let Some((&first @ 18.., tail)) = rest.split_first()
        && rest.len() >= 3
    {
        let count = usize::from(first - 17);
        rest = tail;
        literals(&mut rest, out, &mut op, count).map_err(|fault| error(left, fault))?;
        before = if count < 4 { Before::Few } else { Before::Run };
    }

    loop {
        left = rest.len();
        // Every instruction is followed by at least the end marker, so three bytes are there.
        let Some((&[byte, second, third], _)) = rest.split_first_chunk::<3>() else {
            let fault = if rest.is_empty() {
                Fault::NoEndMarker
            } else {
                Fault::InputOverrun
            };
            return Err(error(left, fault));
        };
        let short = usize::from(byte);
        let (length, distance, follow);
        match byte {
            64.. => {
                length = (short >> 5) + 1;
                distance = (usize::from(second) << 3) + ((short >> 2) & 7) + 1;
                follow = short & 3;
                rest = rest.get(2..).unwrap_or_default();
            }
            32..=63 => {
                let field = short & 31;
                rest = rest.get(1..).unwrap_or_default();
                length = if field == 0 {
                    33 + extension(&mut rest).map_err(|fault| error(left, fault))?
                } else {
                    field + 2
                };
                let Some((&pair, tail)) = rest.split_first_chunk::<2>() else {
                    return Err(error(left, Fault::InputOverrun));
                };
                rest = tail;
                let pair = usize::from(u16::from_le_bytes(pair));
                distance = (pair >> 2) + 1;
                follow = pair & 3;
            }
            16..=31 => {
                let field = short & 7;
                rest = rest.get(1..).unwrap_or_default();
                if RUN_LENGTH && short & 0xf8 == 0x18 && second & 0xfc == 0xfc && third == 0xff {
                    let Some((&[_, _, more], tail)) = rest.split_first_chunk::<3>() else {
                        return Err(error(left, Fault::InputOverrun));
                    };
                    rest = tail;
                    let count = (usize::from(more) << 3) + field + 4;
                    let Some(room) = out.get_mut(op..cap).and_then(|room| room.get_mut(..count))
                    else {
                        return Err(error(left, Fault::OutputOverrun));
                    };
                    room.fill(0);
                    op += count;
                    let follow = usize::from(second & 3);
                    literals(&mut rest, out, &mut op, follow)
                        .map_err(|fault| error(left, fault))?;
                    before = if follow == 0 {
                        Before::Match
                    } else {
                        Before::Few
                    };
                    continue;
                }
                length = if field == 0 {
                    9 + extension(&mut rest).map_err(|fault| error(left, fault))?
                } else {
                    field + 2
                };
                let Some((&pair, tail)) = rest.split_first_chunk::<2>() else {
                    return Err(error(left, Fault::InputOverrun));
                };
                rest = tail;
                let pair = usize::from(u16::from_le_bytes(pair));
                let far = ((short & 8) << 11) + (pair >> 2);
                if far == 0 {
                    return if length != 3 && !ANY_END {
                        Err(error(left, Fault::EndMarker { got: length }))
                    } else if !rest.is_empty() {
                        Err(error(
                            rest.len(),
                            Fault::BehindEndMarker { got: rest.len() },
                        ))
                    } else {
                        Ok(op)
                    };
                }
                distance = far + 0x4000;
                follow = pair & 3;
            }
            _ if before == Before::Match => {
                rest = rest.get(1..).unwrap_or_default();
                let count = if short == 0 {
                    18 + extension(&mut rest).map_err(|fault| error(left, fault))?
                } else {
                    short + 3
                };
                literals(&mut rest, out, &mut op, count).map_err(|fault| error(left, fault))?;
                before = Before::Run;
                continue;
            }
            _ => {
                let near = (usize::from(second) << 2) + (short >> 2) + 1;
                (length, distance) = if before == Before::Few {
                    (2, near)
                } else {
                    (3, near + M2_MAX_DISTANCE)
                };
                follow = short & 3;
                rest = rest.get(2..).unwrap_or_default();
            }
        }
        copy(out, &mut op, length, distance).map_err(|fault| error(left, fault))?;
        few_literals(&mut rest, out, &mut op, follow).map_err(|fault| error(left, fault))?;
        before = if follow == 0 {
            Before::Match
        } else {
            Before::Few
        };
    }
}

/// Reads a length extension.
fn extension(rest: &mut &[u8]) -> Result<usize, Fault> {
    let mut sum = 0_usize;
    while let Some((&byte, tail)) = rest.split_first() {
        *rest = tail;
        if byte != 0 {
            return Ok(sum + usize::from(byte));
        }
        // At most 255 times the length of the input, far from overflowing.
        sum += 255;
    }
    Err(Fault::InputOverrun)
}

/// Bytes copied at once where there is room, which may be more than asked for: what is too much
/// is overwritten by the next instruction or is not part of the result.
const CHUNK: usize = 16;

/// The next bytes of `bytes` at `position`, if there are as many.
#[inline(always)]
fn at<const N: usize>(bytes: &[u8], position: usize) -> Option<&[u8; N]> {
    bytes.get(position..)?.first_chunk()
}

/// The same, to be written.
#[inline(always)]
fn at_mut<const N: usize>(bytes: &mut [u8], position: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(position..)?.first_chunk_mut()
}

/// Copies up to three literals.
#[inline(always)]
fn few_literals(
    rest: &mut &[u8],
    out: &mut [u8],
    op: &mut usize,
    count: usize,
) -> Result<(), Fault> {
    if let Some(&[a, b, c, _, _, _]) = rest.first_chunk::<6>()
        && let Some(room) = at_mut::<3>(out, *op)
    {
        *room = [a, b, c];
        *op = op.wrapping_add(count);
        *rest = rest.get(count..).unwrap_or_default();
        return Ok(());
    }
    literals(rest, out, op, count)
}

/// Copies `count` literals, after which there must be room for the end marker.
#[inline(always)]
fn literals(rest: &mut &[u8], out: &mut [u8], op: &mut usize, count: usize) -> Result<(), Fault> {
    if count <= CHUNK
        && let Some(run) = rest.first_chunk::<{ CHUNK + 3 }>()
        && let Some(room) = at_mut::<CHUNK>(out, *op)
    {
        let [run @ .., _, _, _] = run;
        *room = *run;
        *op = op.wrapping_add(count);
        *rest = rest.get(count..).unwrap_or_default();
        return Ok(());
    }
    many_literals(rest, out, op, count)
}

/// The same without the need for room beyond the literals.
#[inline(never)]
fn many_literals(
    rest: &mut &[u8],
    out: &mut [u8],
    op: &mut usize,
    count: usize,
) -> Result<(), Fault> {
    let Some((run, tail)) = rest.split_at_checked(count) else {
        return Err(Fault::InputOverrun);
    };
    if tail.len() < 3 {
        return Err(if tail.is_empty() {
            Fault::NoEndMarker
        } else {
            Fault::InputOverrun
        });
    }
    let Some(room) = out.get_mut(*op..).and_then(|room| room.get_mut(..count)) else {
        return Err(Fault::OutputOverrun);
    };
    room.copy_from_slice(run);
    *op += count;
    *rest = tail;
    Ok(())
}

/// Copies `length` bytes from `distance` back; source and destination may overlap.
#[inline(always)]
fn copy(out: &mut [u8], op: &mut usize, length: usize, distance: usize) -> Result<(), Fault> {
    let to = *op;
    let Some(from) = to.checked_sub(distance) else {
        return Err(Fault::LookbehindOverrun);
    };
    if length <= CHUNK && distance >= CHUNK / 2 {
        // Two halves, since the second may read what the first has written.
        let half = CHUNK / 2;
        if let Some(&first) = at::<{ CHUNK / 2 }>(out, from)
            && let Some(room) = at_mut::<CHUNK>(out, to)
        {
            let [head, _] = room.as_chunks_mut().0 else {
                return Err(Fault::OutputOverrun);
            };
            *head = first;
            if length > half
                && let Some(&second) = at::<{ CHUNK / 2 }>(out, from.wrapping_add(half))
                && let Some(room) = at_mut::<{ CHUNK / 2 }>(out, to.wrapping_add(half))
            {
                *room = second;
            }
            *op = to.wrapping_add(length);
            return Ok(());
        }
    }
    long_copy(out, op, length, distance)
}

/// The same for any length and distance, writing no more than `length` bytes.
#[inline(never)]
fn long_copy(out: &mut [u8], op: &mut usize, length: usize, distance: usize) -> Result<(), Fault> {
    let (from, to) = (op.saturating_sub(distance), *op);
    if length > out.len().saturating_sub(to) {
        return Err(Fault::OutputOverrun);
    }
    let end = to + length;
    // What is there to repeat doubles with each round.
    let mut done = 0;
    while done < length {
        let step = (distance + done).min(length - done);
        out.copy_within(from..from + step, to + done);
        done += step;
    }
    *op = end;
    Ok(())
}
