//! Every kind of work on a stream, from bytes to bytes.

use std::num::NonZeroUsize;

use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::{Codec, Target};
use btrfs_payload::transform::{
    CheckOptions, CheckSummary, DecompressOptions, OnUnsound, PlainVersion, RecompressOptions,
    ReframeOptions, RewriteSummary, Saving, StreamFinding, TransformError, check, decompress,
    recompress, reframe,
};

pub fn jobs(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// The findings and sums of a check for a filesystem with 4096-byte sectors.
pub fn checked(stream: &[u8]) -> (Vec<StreamFinding>, CheckSummary) {
    checked_for(stream, 4096, 2)
}

pub fn checked_for(
    stream: &[u8],
    sector_size: u32,
    threads: usize,
) -> (Vec<StreamFinding>, CheckSummary) {
    let mut findings = Vec::new();
    let mut options = CheckOptions::default();
    options.target = Target::new(sector_size);
    let summary = check(stream, &options, jobs(threads), |finding| {
        findings.push(finding.clone());
    });
    (findings, summary.unwrap())
}

/// The codes of what is found.
pub fn codes(stream: &[u8]) -> Vec<&'static str> {
    checked(stream).0.iter().map(|f| f.code).collect()
}

/// Something done to a stream.
#[derive(Debug, Clone)]
pub enum Work {
    Recompress(RecompressOptions),
    Decompress(DecompressOptions),
    Reframe(ReframeOptions),
}

impl Work {
    pub fn recompress(codec: Codec, level: Level) -> Self {
        Self::Recompress(RecompressOptions::new(Options::new(codec, level)))
    }

    pub fn any_codec(level: Level) -> Self {
        let mut options = Options::new(Codec::Zstd, level);
        options.methods = Codec::ALL.map(|codec| (codec, level)).into();
        Self::Recompress(RecompressOptions::new(options))
    }

    pub fn only_if_smaller(codec: Codec, level: Level) -> Self {
        let mut options = RecompressOptions::new(Options::new(codec, level));
        options.min_saving = Saving::AnyByte;
        Self::Recompress(options)
    }

    pub fn when_unsound(mut self, on_unsound: OnUnsound) -> Self {
        if let Self::Recompress(options) = &mut self {
            options.on_unsound = on_unsound;
        }
        self
    }

    pub fn decompress(version_1: bool) -> Self {
        let mut options = DecompressOptions::default();
        options.version = if version_1 {
            PlainVersion::V1
        } else {
            PlainVersion::V2
        };
        Self::Decompress(options)
    }

    pub fn reframe(sector_size: u32) -> Self {
        Self::Reframe(ReframeOptions::new(
            Target::new(sector_size),
            Level::Default,
        ))
    }

    pub fn on(
        &self,
        stream: &[u8],
        threads: usize,
    ) -> Result<(Vec<u8>, RewriteSummary, Vec<StreamFinding>), TransformError> {
        let mut out = Vec::new();
        let mut findings = Vec::new();
        let report = |finding: &StreamFinding| findings.push(finding.clone());
        let jobs = jobs(threads);
        let summary = match self {
            Self::Recompress(options) => recompress(stream, &mut out, options, jobs, report),
            Self::Decompress(options) => decompress(stream, &mut out, options, jobs),
            Self::Reframe(options) => reframe(stream, &mut out, options, jobs, report),
        }?;
        Ok((out, summary, findings))
    }

    /// The output of a sound stream; the number of threads must not change it.
    pub fn done(&self, stream: &[u8]) -> (Vec<u8>, RewriteSummary) {
        let (out, summary, findings) = self.on(stream, 2).unwrap();
        // A filesystem with larger sectors does not take every clone, and reframe says so.
        let is_clone = |finding: &StreamFinding| {
            matches!(self, Self::Reframe(_)) && finding.code == "clone-unaligned"
        };
        let others: Vec<_> = findings.iter().filter(|f| !is_clone(f)).collect();
        assert!(others.is_empty(), "{self:?}: {others:#?}");
        assert_eq!(summary.bytes_in, stream.len() as u64);
        assert_eq!(summary.bytes_out, out.len() as u64);
        (out, summary)
    }
}
