//! Sums of numbers from the input, which stop at the largest number.

/// Adds to a sum. What is claimed may be up to 2^64 - 1: a sum that would be greater stays at the
/// largest number, and neither wraps nor stops the program.
pub(crate) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
