//! What the kernel did, and whether that is what was predicted.

use btrfs_payload::rules::{Placement, Target, WriteAnswer, WriteCall, placement};
use btrfs_payload::validate::{Outcome, predict};
use btrfs_payload::{Errno, Kernel};

use crate::generate::Case;

/// What the kernel did with a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// The ioctl failed with this error number.
    Refused(i32),
    /// The ioctl returned 0; the file has this size.
    NothingWritten { size: u64 },
    /// The ioctl took the payload, and returned this many bytes.
    Taken {
        returned: usize,
        /// Size of the file afterwards, bytes.
        size: u64,
        read: Read,
        /// The extent as it is stored, where that was looked at.
        stored: Option<Stored>,
    },
}

/// What reading gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// In one go: the bytes from the extent's offset on, up to the error if there was one.
    Whole { bytes: Vec<u8>, error: Option<i32> },
    /// Page by page, in the order of the file.
    Pages(Vec<Result<Vec<u8>, i32>>),
}

/// What an encoded read gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub payload: Vec<u8>,
    pub len: u64,
    pub compression: u32,
}

/// Bytes after the extent that are read with it, to see that they are what they were.
pub const BEHIND: u64 = 8192;

pub const PAGE: usize = 4096;

/// What `kernel` is to do with the case.
pub fn prediction(case: &Case, target: &Target, kernel: Kernel) -> Outcome {
    let mut call = WriteCall::new(case.payload.len() as u64, &case.fields, target);
    call.flags = case.flags;
    call.reserved_is_zero = case.reserved == [0; 64];
    call.writable = !case.read_only;
    match call.answer(kernel) {
        WriteAnswer::Refused(errno) => Outcome::Refused(errno),
        WriteAnswer::NothingWritten => Outcome::NothingWritten,
        WriteAnswer::Taken => predict(&case.payload, &case.fields, target, kernel),
        other => panic!("an answer without a prediction: {other:?}"),
    }
}

/// What is different from the prediction, in words.
pub fn difference(
    case: &Case,
    target: &Target,
    kernel: Kernel,
    predicted: &Outcome,
    observed: &Observed,
) -> Option<String> {
    if let Outcome::DependsOnMemory { roomy, .. } = predicted {
        // Every request of the reader may find another workspace.
        let roomy_alone = as_if_roomy(case, roomy, observed);
        return difference(case, target, kernel, roomy, &roomy_alone);
    }
    let Observed::Taken {
        returned,
        size,
        read,
        stored,
    } = observed
    else {
        return not_taken(case, predicted, observed);
    };
    if !matches!(
        predicted,
        Outcome::Data { .. } | Outcome::ReadError { .. } | Outcome::Uninitialised { .. }
    ) {
        return Some("the payload was taken".to_owned());
    }
    if *returned != case.payload.len() {
        return Some(format!("the call returned {returned}"));
    }
    let end = case.offset + case.fields.len;
    if *size != end.max(case.file_size) {
        return Some(format!("the file has {size} bytes"));
    }
    if let Some(stored) = stored {
        let inline =
            placement(case.payload.len() as u64, &case.fields, target, kernel) == Placement::Inline;
        if let Some(difference) = stored_difference(case, inline, stored) {
            return Some(difference);
        }
    }
    let readable = readable(case, predicted, *size);
    match read {
        Read::Whole { bytes, error } => whole_difference(&readable, bytes, *error),
        Read::Pages(pages) => pages_difference(&readable, pages),
    }
}

/// The prediction with one thing wrong: what a comparison that works has to notice.
pub fn distorted(predicted: &Outcome) -> Option<Outcome> {
    let mut outcome = predicted.clone();
    match &mut outcome {
        Outcome::Refused(errno) => {
            *errno = if *errno == Errno::Einval {
                Errno::Ebadf
            } else {
                Errno::Einval
            };
        }
        Outcome::NothingWritten => outcome = Outcome::Refused(Errno::Einval),
        Outcome::Data { bytes, .. } => *bytes.last_mut()? ^= 1,
        Outcome::ReadError { errno, good, .. } => {
            if let Some(last) = good.last_mut() {
                *last ^= 1;
            } else if *errno == Errno::Eio {
                *errno = Errno::Euclean;
            } else {
                *errno = Errno::Eio;
            }
        }
        Outcome::Uninitialised {
            placement,
            good,
            right,
        } => {
            outcome = Outcome::ReadError {
                errno: Errno::Eio,
                right: *right,
                good: std::mem::take(good),
                placement: *placement,
            };
        }
        _ => return None,
    }
    Some(outcome)
}

/// True if fewer pages came back than can be read, and the right ones.
///
/// A request that fails is repeated page by page, and that works as long as the request's other
/// pages are still in the page cache: a page whose neighbours are gone takes them along again,
/// damage and all. Now and then, on a busy machine, they are.
pub fn is_cut_short(predicted: &Outcome, observed: &Observed) -> bool {
    let Outcome::ReadError { errno, good, .. } = predicted else {
        return false;
    };
    let Observed::Taken {
        read: Read::Whole { bytes, error },
        ..
    } = observed
    else {
        return false;
    };
    *error == Some(number(*errno))
        && bytes.len() < good.len()
        && bytes.len() % PAGE == 0
        && good.starts_with(bytes)
}

/// What would have been observed, had every request found a workspace that is large enough:
/// input/output errors are replaced by what is predicted.
fn as_if_roomy(case: &Case, roomy: &Outcome, observed: &Observed) -> Observed {
    let mut observed = observed.clone();
    let (Outcome::Data { bytes: data, .. } | Outcome::ReadError { good: data, .. }) = roomy else {
        return observed;
    };
    let complete = matches!(roomy, Outcome::Data { .. });
    match &mut observed {
        Observed::Taken {
            read: Read::Whole { bytes, error },
            size,
            ..
        } if *error == Some(number(Errno::Eio)) => {
            let same = bytes.len() % PAGE == 0 && data.starts_with(bytes);
            if same && bytes.len() < data.len() {
                bytes.clone_from(data);
                if complete {
                    *error = None;
                    let end = case.offset + case.fields.len;
                    bytes.resize(bytes.len() + behind(end, *size), case.background);
                }
            }
        }
        Observed::Taken {
            read: Read::Pages(pages),
            ..
        } => {
            for (page, data) in pages.iter_mut().zip(data.chunks(PAGE)) {
                if *page == Err(number(Errno::Eio)) {
                    *page = Ok(data.to_vec());
                }
            }
        }
        _ => {}
    }
    observed
}

fn not_taken(case: &Case, predicted: &Outcome, observed: &Observed) -> Option<String> {
    match (predicted, observed) {
        (Outcome::Refused(errno), Observed::Refused(got)) if number(*errno) == *got => None,
        (Outcome::NothingWritten, Observed::NothingWritten { size }) => {
            (*size != case.file_size).then(|| format!("the file has {size} bytes"))
        }
        (_, Observed::Refused(got)) => Some(format!("the call failed with {got}")),
        _ => Some("the call returned 0".to_owned()),
    }
}

fn stored_difference(case: &Case, inline: bool, stored: &Stored) -> Option<String> {
    let mut payload = case.payload.clone();
    if !inline {
        payload.resize(payload.len().next_multiple_of(PAGE), 0);
    }
    if stored.payload.len() != payload.len() {
        let kind = if inline { "inline" } else { "regular" };
        let got = stored.payload.len();
        return Some(format!("to be {kind}, but {got} bytes are stored"));
    }
    let same = stored.payload == payload
        && stored.len == case.fields.len
        && stored.compression == case.fields.compression.0;
    (!same).then(|| "the stored extent is another".to_owned())
}

/// What is to be read from the extent's offset on.
struct Readable {
    bytes: Vec<u8>,
    /// Bytes of which nothing is known follow, so many.
    unknown: usize,
    /// This error follows, so many bytes long. It ends with a page or with the file.
    error: Option<(i32, usize)>,
    /// Then these.
    behind: Vec<u8>,
}

fn readable(case: &Case, predicted: &Outcome, size: u64) -> Readable {
    let len = usize::try_from(case.fields.len).unwrap();
    let end = case.offset + case.fields.len;
    let behind = behind(end, size);
    let (bytes, unknown, error) = match predicted {
        Outcome::Data { bytes, .. } => (bytes, 0, None),
        Outcome::Uninitialised { good, .. } => (good, len - good.len(), None),
        Outcome::ReadError { errno, good, .. } => {
            (good, 0, Some((number(*errno), len - good.len())))
        }
        _ => unreachable!("the payload was not taken"),
    };
    Readable {
        bytes: bytes.clone(),
        unknown,
        error,
        behind: vec![case.background; behind],
    }
}

/// Bytes after the extent that are read.
fn behind(end: u64, size: u64) -> usize {
    usize::try_from((size - end).min(BEHIND)).unwrap()
}

fn whole_difference(readable: &Readable, bytes: &[u8], error: Option<i32>) -> Option<String> {
    let expected = readable.error.map(|(errno, _)| errno);
    if error != expected {
        let at = bytes.len();
        return Some(format!(
            "error {error:?} after {at} bytes, not {expected:?}"
        ));
    }
    let mut known = readable.bytes.clone();
    let gap = known.len()..known.len() + readable.unknown;
    if expected.is_none() {
        known.resize(gap.end, 0);
        known.extend(&readable.behind);
    }
    if bytes.len() != known.len() {
        let (got, expected) = (bytes.len(), known.len());
        return Some(format!("{got} bytes can be read, not {expected}"));
    }
    let differs = |i: &usize| !gap.contains(i) && bytes[*i] != known[*i];
    let at = (0..bytes.len()).find(differs)?;
    let (got, expected) = (bytes[at], known[at]);
    Some(format!("byte {at} is {got:#04x}, not {expected:#04x}"))
}

fn pages_difference(readable: &Readable, pages: &[Result<Vec<u8>, i32>]) -> Option<String> {
    let bad = readable.error.map_or(0, |(_, len)| len);
    let start_of_bad = readable.bytes.len();
    let mut all = readable.bytes.clone();
    let gap = all.len()..all.len() + readable.unknown;
    all.resize(all.len() + readable.unknown + bad, 0);
    let end_of_extent = all.len();
    all.extend(&readable.behind);
    for (number, (page, expected)) in pages.iter().zip(all.chunks(PAGE)).enumerate() {
        let at = number * PAGE;
        let is_bad = bad > 0 && at >= start_of_bad && at < end_of_extent;
        match (page, is_bad) {
            (Err(got), true) if Some(*got) == readable.error.map(|(errno, _)| errno) => {}
            (Ok(bytes), false) => {
                let same = |i: usize| gap.contains(&(at + i)) || bytes.get(i) == expected.get(i);
                if bytes.len() != expected.len() || !(0..bytes.len()).all(same) {
                    return Some(format!("page {number} has other bytes"));
                }
            }
            (Ok(_), true) => return Some(format!("page {number} can be read")),
            (Err(errno), _) => return Some(format!("page {number} fails with {errno}")),
        }
    }
    let expected = all.len().div_ceil(PAGE);
    (pages.len() != expected).then(|| format!("{} pages, not {expected}", pages.len()))
}

/// The number of an error on this machine.
fn number(errno: Errno) -> i32 {
    use rustix::io::Errno as System;
    match errno {
        Errno::Eperm => System::PERM,
        Errno::Ebadf => System::BADF,
        Errno::Einval => System::INVAL,
        Errno::Efbig => System::FBIG,
        Errno::Enotty => System::NOTTY,
        Errno::Euclean => System::UCLEAN,
        _ => System::IO,
    }
    .raw_os_error()
}
