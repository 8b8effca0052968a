//! What an increment builds on: a stored chain, which is read again where its data counts.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::send_stream::Uuid;
use crate::tree::{Chain, Data, Extent, LastRead, ReadAt, Source, Tree, TreeError};

/// The subvolume that an increment builds on, as stored streams have it: names, metadata, and
/// where its data is.
#[derive(Clone)]
pub struct Parent {
    pub(in super::super) uuid: Uuid,
    pub(in super::super) ctransid: u64,
    pub(in super::super) tree: Tree,
    pub(in super::super) streams: Arc<dyn Streams>,
    name: Bytes,
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent")
            .field("name", &self.name)
            .field("uuid", &self.uuid)
            .field("ctransid", &self.ctransid)
            .finish_non_exhaustive()
    }
}

impl Parent {
    /// The result of a chain that has been read, or its subvolume of this name or UUID; `inputs` are
    /// what it was read from, in the same order.
    ///
    /// # Errors
    /// As [`Chain::result`].
    pub fn new<R: ReadAt + Send + Sync + 'static>(
        chain: &Chain,
        inputs: Vec<R>,
        name: Option<&[u8]>,
    ) -> Result<Self, TreeError> {
        let subvolume = chain.result(name)?;
        Ok(Self {
            uuid: subvolume.uuid,
            ctransid: subvolume.ctransid,
            tree: subvolume.tree.clone(),
            name: subvolume.name.clone(),
            streams: Arc::new(Stored {
                sources: chain.sources().to_vec(),
                inputs,
            }),
        })
    }

    /// The name of the subvolume.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

/// The streams of a chain.
pub(in super::super) trait Streams: Send + Sync {
    /// The bytes of an extent. What was read last is kept in `last`.
    fn bytes(&self, extent: &Extent, last: &mut LastRead) -> Result<Bytes, TreeError>;
}

struct Stored<R> {
    sources: Vec<Source>,
    inputs: Vec<R>,
}

impl<R: ReadAt + Send + Sync> Streams for Stored<R> {
    fn bytes(&self, extent: &Extent, last: &mut LastRead) -> Result<Bytes, TreeError> {
        let mut data = Data::resume(&self.sources, &self.inputs, std::mem::take(last));
        let bytes = data.bytes(extent);
        *last = data.into_last();
        bytes
    }
}
