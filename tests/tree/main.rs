//! The trees of chains of streams: what the kernel makes, and what nobody should have made.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // helpers fail as tests do

mod attributes;
mod hostile;
mod kernel;
mod maker;
mod names;
#[path = "../support/mod.rs"]
mod support;
mod threads;

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::Path;

use btrfs_payload::tree::digest::TreeDigest;
use btrfs_payload::tree::{
    Chain, Data, Difference, Options, Subvolume, TreeError, UnpackError, UnpackOptions,
    UnpackSummary, compare, tree_digest, unpack,
};

/// Two, so that work is shared out.
const JOBS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Streams that have been read.
struct Read<'a> {
    chain: Chain,
    inputs: Vec<&'a [u8]>,
}

impl<'a> Read<'a> {
    fn new(streams: &[&'a [u8]]) -> Result<Self, TreeError> {
        Self::with(streams, Options::default())
    }

    fn with(streams: &[&'a [u8]], options: Options) -> Result<Self, TreeError> {
        let mut chain = Chain::new(options);
        for stream in streams {
            chain.read(Cursor::new(stream))?;
        }
        let inputs = streams.to_vec();
        Ok(Self { chain, inputs })
    }

    fn subvolume(&self) -> &Subvolume {
        self.chain.result(None).unwrap()
    }

    fn data(&self) -> Data<'_, &'a [u8]> {
        Data::new(&self.chain, &self.inputs)
    }

    fn digest(&self) -> Result<TreeDigest, String> {
        let digest = tree_digest(&self.subvolume().tree, &self.data(), JOBS);
        digest.map_err(|error| format!("{error:?}"))
    }

    fn unpack(
        &self,
        paths: &[&[u8]],
        to: &Path,
        options: &UnpackOptions,
    ) -> Result<UnpackSummary, UnpackError> {
        let tree = &self.subvolume().tree;
        unpack(tree, &self.data(), paths, to, options, JOBS, |_| {})
    }

    fn differences(&self, directory: &Path) -> Vec<Difference> {
        let mut all = Vec::new();
        let tree = &self.subvolume().tree;
        let report = |found: &Difference| all.push(found.clone());
        compare(tree, &self.data(), directory, JOBS, report).unwrap();
        all
    }
}
