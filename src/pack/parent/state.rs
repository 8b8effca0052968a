//! What is known of the file that is being written into an increment, and of those before.

use std::sync::Arc;

use bytes::Bytes;

use super::old::{Base, OldId};
use crate::send_stream::Uuid;

/// A file whose content begins.
#[derive(Debug)]
pub(in super::super) struct Begin {
    /// Where it is written to: its path in the parent, or a temporary name.
    pub(in super::super) path: Bytes,
    pub(in super::super) ino: u64,
    pub(in super::super) base: Option<Arc<Base>>,
}

/// What has become of a file.
#[derive(Debug, Clone)]
pub(in super::super) enum Outcome {
    /// It has been written, under a temporary name.
    New(Bytes),
    /// It is a file of the parent, under the same name; something may have been written into it.
    InPlace { touched: bool },
    /// It has the content of this file of the parent, and nothing has been written.
    Same(OldId),
}

/// The file that is being written.
#[derive(Debug)]
pub(in super::super) struct Present {
    pub(in super::super) begin: Begin,
    /// The receiver has it.
    pub(in super::super) is_made: bool,
    /// Something has been written into it.
    pub(in super::super) touched: bool,
    /// Its size at the receiver, bytes.
    pub(in super::super) size: u64,
    /// Bytes so far that are as in the parent.
    pub(in super::super) same: u64,
}

/// An increment on its way.
#[derive(Debug)]
pub(in super::super) struct Change {
    pub(in super::super) uuid: Uuid,
    pub(in super::super) ctransid: u64,
    pub(in super::super) sector_size: u64,
    /// The temporary name of a file without data, from which holes are cloned.
    pub(in super::super) hole: Bytes,
    pub(in super::super) hole_is_made: bool,
    pub(in super::super) present: Option<Present>,
    /// Of the files, in the order in which they came.
    pub(in super::super) outcomes: Vec<Outcome>,
    /// Bytes of files that are as in the parent, and not cloned.
    pub(in super::super) unchanged_bytes: u64,
}
