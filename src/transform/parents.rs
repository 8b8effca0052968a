//! Subvolumes that the receiver has before a stream comes.

use super::error::TransformError;
use super::order::{Order, Subvolumes};
use crate::rules::Target;
use crate::send_stream::{Command, IntoReader};
use crate::validate::Severity::Error;

/// Names that are remembered unless options say otherwise.
pub(super) const MAX_NAMES: usize = 4 << 20;

/// The trees of the subvolumes that streams have made, to check increments against and to know the
/// sizes of files by.
///
/// Streams are read one after the other, each after those it builds on. Trees share what they
/// have in common with that of their parent.
#[derive(Debug, Clone, Default)]
pub struct Parents {
    subvolumes: Subvolumes,
}

impl Parents {
    /// Reads a stream, or several, and remembers the subvolumes. What is wrong with a stream is
    /// not told here; from there on, what it does not name may be there all the same. At most
    /// `max_names` names are remembered in all; subvolumes that have more are not known.
    ///
    /// # Errors
    /// [`TransformError::Read`] when the input fails or is no whole stream.
    pub fn read(&mut self, input: impl IntoReader, max_names: usize) -> Result<(), TransformError> {
        let mut reader = input.into_reader();
        // Sizes of sectors and nodes bear on findings only.
        let known = std::mem::take(&mut self.subvolumes);
        let mut order = Order::new(known, Target::default(), max_names);
        let mut findings = Vec::new();
        while let Some(raw) = reader.read_command()? {
            match Command::parse(&raw) {
                Ok(command) if raw.crc_ok() => {
                    order.follow(&raw, &command, &mut findings);
                    if findings.drain(..).any(|finding| finding.severity == Error) {
                        order.lost();
                    }
                }
                _ => order.lost(),
            }
        }
        *self = Self::of(order);
        Ok(())
    }

    /// Those that there are after the streams that were followed.
    pub(super) fn of(order: Order) -> Self {
        let mut subvolumes = order.into_subvolumes();
        subvolumes.free_names();
        Self { subvolumes }
    }

    /// Number of subvolumes that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subvolumes.count()
    }

    /// True where none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn subvolumes(&self) -> Subvolumes {
        self.subvolumes.clone()
    }
}
