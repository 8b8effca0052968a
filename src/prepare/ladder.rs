//! The efforts of [`Level::Auto`], from cheap to expensive.
//!
//! | codec | cheap | expensive | saved by the expensive one, measured | taken for possible |
//! | --- | --- | --- | --- | --- |
//! | zlib | 3 | near smallest | up to 17 % | 25 % and 256 bytes |
//! | LZO | fast | fewest sectors | up to 29 % | 40 % and 256 bytes |
//! | zstd | 3 | 16 | up to 43 % | 60 % and 256 bytes |
//!
//! Still more expensive efforts gain too little: zstd 22 takes twice the time of 16, and zlib's
//! smallest effort one and a half times that of the one before. Both save a sector in a few extents
//! of a hundred (benches/README.md).
//!
//! LZO's expensive effort counts sectors itself and begins with what the fast effort makes. So it is
//! the only one where no other codec is tried.
//!
//! An expensive effort is left out where it cannot save a sector against the best payload so far.
//! With one codec that is so where the cheap effort reaches a single sector; with several, also
//! where another codec has made less than the expensive effort is expected to make. No useful bound
//! for that can be proven: the last column is what was measured on programs, source text, words,
//! JSON, noise and mixtures of them, in extents of 16 to 128 KiB, and a margin.
//!
//! Where the cheap effort of zstd or zlib finds nothing to compress and stores the data, no effort
//! saves a sector. LZO's fast effort looks less closely, so its expensive one is tried there too.

use super::encoder::{Effort, EncoderError};
use super::options::Level;
use crate::rules::Codec;

/// One effort and when it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rung {
    pub(super) codec: Codec,
    pub(super) effort: Effort,
    /// What it may save over its codec's cheap effort; `None` for one that is always tried.
    pub(super) reach: Option<Reach>,
}

/// The most that an expensive effort may save over the cheap one of its codec.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    percent: usize,
    bytes: usize,
    /// Data that the cheaper effort does not shrink may be shrunk.
    shrinks_stored: bool,
}

impl Reach {
    /// The smallest payload that can be hoped for, where the cheaper effort has made one of
    /// `payload` bytes from `data`.
    pub(super) fn smallest(self, payload: usize, data: usize) -> usize {
        if payload >= data && !self.shrinks_stored {
            return payload;
        }
        let saved = payload.saturating_mul(self.percent) / 100;
        payload.saturating_sub(saved).saturating_sub(self.bytes)
    }
}

/// The efforts for `methods`, in the order in which they are tried, and whether sectors decide
/// between them.
///
/// # Errors
/// [`EncoderError::Level`] for a level that its codec does not have.
pub(super) fn climb(methods: &[(Codec, Level)]) -> Result<(Vec<Rung>, bool), EncoderError> {
    let mut rungs = Vec::new();
    if let [(Codec::Lzo, Level::Auto)] = methods {
        let (_, rung) = expensive(Codec::Lzo);
        return Ok((vec![rung], true));
    }
    for &(codec, level) in methods {
        rungs.push((
            0,
            Rung {
                codec,
                effort: Effort::of(codec, level)?,
                reach: None,
            },
        ));
        if level == Level::Auto {
            rungs.push(expensive(codec));
        }
    }
    // Cheap ones first, of all codecs: what they reach spares expensive ones their try.
    rungs.sort_by_key(|&(order, _)| order);
    let by_sectors = methods.iter().any(|&(_, level)| level == Level::Auto);
    Ok((
        rungs.into_iter().map(|(_, rung)| rung).collect(),
        by_sectors,
    ))
}

/// What is above [`Level::Default`], and when its turn comes: zstd, which mostly wins, first.
fn expensive(codec: Codec) -> (u8, Rung) {
    let (order, effort, percent) = match codec {
        Codec::Zstd => (1, Effort::Zstd(16), 60),
        Codec::Zlib => (2, Effort::Zlib(btrfs_payload_zlib::Level::NearSmallest), 25),
        Codec::Lzo => (3, Effort::Lzo(btrfs_payload_lzo::Effort::FewestSectors), 40),
    };
    let reach = Reach {
        percent,
        bytes: 256,
        shrinks_stored: codec == Codec::Lzo,
    };
    let reach = Some(reach);
    (
        order,
        Rung {
            codec,
            effort,
            reach,
        },
    )
}
