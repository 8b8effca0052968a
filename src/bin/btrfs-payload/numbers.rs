//! Sums, shares and what numbers count.

/// Adds to a sum, which stays at the largest number instead of wrapping.
pub(crate) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// A number and what it counts: `1 extent`, `2 extents`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// So much of a whole: `51 %`; `-` where there is none.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match part.saturating_mul(100).checked_div(whole) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}
