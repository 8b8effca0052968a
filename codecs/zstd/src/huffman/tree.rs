//! The description of a tree: weights, from which the lengths of codes follow.

use super::{LOG, LOG_MAX};
use crate::fault::FaultKind;
use crate::fse;
use crate::rules::Rules;

/// A decoded tree description.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(super) weights: [u8; 256],
    /// Symbols described; the last one's weight is implied.
    pub(crate) symbols: usize,
    /// Length of the longest code, bits.
    pub(crate) log: u32,
    /// Bytes of the description.
    pub(crate) size: usize,
}

impl Tree {
    /// Reads a description from the start of `bytes`.
    pub(crate) fn read(bytes: &[u8], rules: Rules) -> Result<Self, FaultKind> {
        let Some((&head, rest)) = bytes.split_first() else {
            return Err(FaultKind::TruncatedTree {
                needed: 1,
                available: 0,
            });
        };
        let mut weights = [0; 256];
        let direct = usize::from(head).checked_sub(127);
        let size = match direct {
            Some(count) => count.div_ceil(2),
            None => usize::from(head),
        };
        let Some(coded) = rest.get(..size) else {
            return Err(FaultKind::TruncatedTree {
                needed: size + 1,
                available: bytes.len(),
            });
        };
        let count = match direct {
            Some(count) => {
                for (pair, byte) in weights.chunks_exact_mut(2).zip(coded) {
                    if let [first, second] = pair {
                        (*first, *second) = (byte >> 4, byte & 15);
                    }
                }
                count
            }
            None => fse::weights(coded, &mut weights, rules).ok_or(FaultKind::TreeWeights)?,
        };
        Self::complete(weights, count, size + 1, rules)
    }

    /// Finds the weight of the last symbol, which makes the tree complete.
    fn complete(
        mut weights: [u8; 256],
        count: usize,
        size: usize,
        rules: Rules,
    ) -> Result<Self, FaultKind> {
        let mut total = 0u32;
        let mut longest = 0;
        for &weight in weights.iter().take(count) {
            if weight > rules.weight_max() {
                return Err(FaultKind::TreeWeight {
                    weight,
                    max: rules.weight_max(),
                });
            }
            total += (1 << weight) >> 1;
            longest += u32::from(weight == 1);
        }
        if total == 0 {
            return Err(FaultKind::TreeIncomplete);
        }
        let log = total.ilog2() + 1;
        if log > LOG_MAX || rules == Rules::Strict && log > LOG {
            return Err(FaultKind::TreeTooDeep { bits: log });
        }
        let rest = (1 << log) - total;
        let last = rest.ilog2() + 1;
        longest += u32::from(last == 1);
        if !rest.is_power_of_two() || longest < 2 || longest % 2 != 0 {
            return Err(FaultKind::TreeIncomplete);
        }
        // What a caller left behind the described symbols must not count.
        for weight in weights.iter_mut().skip(count) {
            *weight = 0;
        }
        if let Some(weight) = weights.get_mut(count) {
            *weight = u8::try_from(last).unwrap_or(0);
        }
        Ok(Self {
            weights,
            symbols: count + 1,
            log,
            size,
        })
    }

    /// How many codes there are of each length, from 1 bit on.
    pub(crate) fn lengths(&self) -> [u16; LOG_MAX as usize] {
        let mut lengths = [0; LOG_MAX as usize];
        for &weight in self.weights.iter().take(self.symbols) {
            // The longest codes weigh 1, and what weighs nothing has no code.
            let index = self.log.checked_sub(weight.into()).filter(|_| weight > 0);
            let count = index.and_then(|index| lengths.get_mut(usize::try_from(index).ok()?));
            if let Some(count) = count {
                *count += 1;
            }
        }
        lengths
    }
}
