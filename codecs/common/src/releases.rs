//! Sets of releases as short text.

use crate::behaviour;
use crate::kernel::{Kernel, NEWEST};

/// Releases of one line that behave alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Releases {
    /// The first of them.
    pub first: Kernel,
    /// The last of them: of the whole line where it is [`Kernel::is_line`].
    pub last: Kernel,
}

impl Releases {
    /// Every release from [`Kernel::OLDEST`] to [`Kernel::NEWEST`], cut where a behaviour
    /// comes; oldest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let lines = [(5, 19..=19), (6, 0..=19), (7, 0..=3)];
        let lines = lines
            .into_iter()
            .flat_map(|(major, minors)| minors.map(move |minor| Kernel::line(major, minor)));
        lines.flat_map(Self::of_line).collect()
    }

    fn of_line(line: Kernel) -> Vec<Self> {
        let mut starts = behaviour::backports_to(line);
        starts.push(line.with_point(0));
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|next| next.point() - 1);
        let ends: Vec<_> = ends.chain([NEWEST]).collect();
        let ranges = starts.into_iter().zip(ends);
        ranges
            .map(|(first, end)| Self {
                first,
                last: line.with_point(end),
            })
            .collect()
    }
}

/// Names releases in few words: `6.2 to 6.5.12, 6.6.48 to 6.7, 7.2 and newer`. `of_all` says
/// for each of [`Releases::all`] whether it is meant.
#[must_use]
pub fn name_releases(of_all: impl Fn(&Releases) -> bool) -> String {
    let all = Releases::all();
    let runs = all.chunk_by(|a, b| of_all(a) == of_all(b));
    let names = runs.filter_map(|run| {
        let (first, last) = (run.first()?, run.last()?);
        of_all(first).then(|| name_run(first.first, last.last))
    });
    names.collect::<Vec<_>>().join(", ")
}

fn name_run(first: Kernel, last: Kernel) -> String {
    let starts_line = first.point() == 0;
    let from = if starts_line {
        first.with_point(NEWEST)
    } else {
        first
    };
    if last == Kernel::NEWEST {
        return format!("{from} and newer");
    }
    if last.is_line() && first.is_of_line(last) {
        return match (starts_line, behaviour::is_last_of_line(first)) {
            (true, _) | (_, true) => from.to_string(),
            _ => format!("{from} and newer of {last}"),
        };
    }
    format!("{from} to {last}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::behaviour::Behaviour;

    #[test]
    fn every_set_of_behaviours_has_one_kernel_of_all() {
        let set = |kernel: Kernel| Behaviour::ALL.map(|behaviour| kernel.has(behaviour));
        let of_all: HashSet<_> = Kernel::ALL.into_iter().map(set).collect();
        assert_eq!(of_all.len(), Kernel::ALL.len());
        let there_are: HashSet<_> = Releases::all().into_iter().map(|r| set(r.last)).collect();
        assert_eq!(of_all, there_are);
        assert!(Kernel::ALL.is_sorted());
    }

    #[test]
    fn releases_that_are_put_together_behave_alike() {
        for Releases { first, last } in Releases::all() {
            assert!(first <= last && first.is_of_line(last));
            for behaviour in Behaviour::ALL {
                assert_eq!(first.has(behaviour), last.has(behaviour), "{first}");
            }
        }
    }

    #[test]
    fn runs_of_releases_have_short_names() {
        let named = |behaviour| name_releases(|releases| releases.last.has(behaviour));
        assert_eq!(named(Behaviour::UnsignedChar), "6.2 and newer");
        assert_eq!(
            named(Behaviour::RefusesNodatasum),
            "6.1.79 and newer of 6.1, 6.5.13, 6.6.18 and newer of 6.6, 6.7.6 and newer"
        );
        assert_eq!(
            name_releases(|releases| !releases.last.has(Behaviour::InlineZlibAtOnce)),
            "5.19 to 6.6.47, 6.7"
        );
        assert_eq!(name_releases(|_| true), "5.19 and newer");
        assert_eq!(name_releases(|_| false), "");
    }
}
