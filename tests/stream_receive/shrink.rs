//! Making a case with a disagreement as small as it can be.

use crate::case::Case;
use crate::compare::{ANOTHER_TREE, Comparison, Difference, compare};
use crate::support::Mount;

/// Leaves out commands, in halves, quarters and so on, while the difference stays the same.
pub fn shrink(mount: &Mount, case: &Case, difference: &Difference) -> (Case, Difference) {
    let mut best = (case.clone(), difference.clone());
    if difference.cause == ANOTHER_TREE {
        // With commands left out, another one would be right.
        return best;
    }
    for stream in &mut best.0.streams {
        stream.tree = None;
    }
    for stream in (0..best.0.streams.len()).rev() {
        let mut step = best.0.streams[stream].commands.len() / 2;
        while step > 0 {
            let mut at = 1;
            let before = best.0.streams[stream].commands.len();
            while at < best.0.streams[stream].commands.len() {
                let mut smaller = best.0.clone();
                let commands = &mut smaller.streams[stream].commands;
                commands.drain(at..(at + step).min(commands.len()));
                match compare(mount, &smaller) {
                    Comparison::Differs(still) if still.cause == difference.cause => {
                        best = (smaller, still);
                    }
                    _ => at += step,
                }
            }
            // What made something goes only when what used it is gone.
            if step > 1 || best.0.streams[stream].commands.len() == before {
                step /= 2;
            }
        }
    }
    best
}
