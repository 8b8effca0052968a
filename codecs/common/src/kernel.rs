//! Kernels by their release, and the machines they run on.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::behaviour::{self, Behaviour};

/// A kernel by its release: a point release such as 6.8.12, or a line such as 6.18, which
/// stands for the newest point release of it.
///
/// What tells kernels apart is not the release but what changed with it: [`Kernel::has`].
///
/// ```
/// use btrfs_payload_common::{Behaviour, Kernel};
///
/// let kernel: Kernel = "6.8.12-4-pve".parse()?;
/// assert_eq!(kernel.to_string(), "6.8.12");
/// assert!(kernel.has(Behaviour::InlineZlibAtOnce));
/// assert!(!kernel.has(Behaviour::InlineZstdAtOnce));
/// # Ok::<(), btrfs_payload_common::UnknownKernel>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    major: u16,
    minor: u16,
    /// The point release; [`NEWEST`] where only the line is known.
    point: u16,
}

/// Past every point release there will be.
const NEWEST: u16 = u16::MAX;

impl Kernel {
    /// Linux 6.1, a long-term line.
    pub const V6_1: Self = Self::line(6, 1);
    /// Linux 6.12, a long-term line.
    pub const V6_12: Self = Self::line(6, 12);
    /// Linux 6.18, a long-term line.
    pub const V6_18: Self = Self::line(6, 18);
    /// Linux 7.2.
    pub const V7_2: Self = Self::line(7, 2);

    /// The oldest kernel that is modelled. Linux 5.18 has encoded writes too, but nobody has
    /// looked at what it does.
    pub const OLDEST: Self = Self::line(5, 19);
    /// The newest kernel that was looked at. Newer ones are taken for it.
    pub const NEWEST: Self = Self::line(7, 3);

    /// One kernel for each set of [`Behaviour`]s that there is, oldest first: what holds for
    /// all of them holds for every kernel.
    pub const ALL: [Self; 16] = [
        Self::line(5, 19),
        Self::release(6, 1, 79),
        Self::line(6, 1),
        Self::line(6, 2),
        Self::release(6, 6, 18),
        Self::line(6, 6),
        Self::release(6, 8, 0),
        Self::line(6, 8),
        Self::line(6, 9),
        Self::line(6, 10),
        Self::line(6, 12),
        Self::line(6, 15),
        Self::release(6, 18, 0),
        Self::line(6, 18),
        Self::line(6, 19),
        Self::line(7, 2),
    ];

    /// The newest point release of a line.
    #[must_use]
    pub const fn line(major: u16, minor: u16) -> Self {
        Self::release(major, minor, NEWEST)
    }

    /// A point release; 0 is the first release of the line.
    #[must_use]
    pub const fn release(major: u16, minor: u16, point: u16) -> Self {
        Self {
            major,
            minor,
            point,
        }
    }

    /// True when this kernel has the behaviour.
    #[must_use]
    pub fn has(self, behaviour: Behaviour) -> bool {
        let change = behaviour.change();
        let backports = change.stable.iter().chain(change.builds);
        (self.major, self.minor) >= (change.mainline.major, change.mainline.minor)
            || backports
                .into_iter()
                .any(|since| self.is_of_line(*since) && self.point >= since.point)
    }

    /// True when the two have the same behaviours.
    #[must_use]
    pub fn behaves_like(self, other: Self) -> bool {
        Behaviour::ALL
            .into_iter()
            .all(|behaviour| self.has(behaviour) == other.has(behaviour))
    }

    /// True when the point release is not known, and the newest of the line is meant.
    #[must_use]
    pub const fn is_line(self) -> bool {
        self.point == NEWEST
    }

    /// True for kernels past [`Kernel::NEWEST`]: nobody has looked at them.
    #[must_use]
    pub fn is_newer_than_known(self) -> bool {
        self > Self::NEWEST
    }

    pub(crate) const fn point(self) -> u16 {
        self.point
    }

    pub(crate) const fn with_point(self, point: u16) -> Self {
        Self { point, ..self }
    }

    pub(crate) fn is_of_line(self, other: Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            point,
        } = self;
        match *point {
            NEWEST => write!(f, "{major}.{minor}"),
            point => write!(f, "{major}.{minor}.{point}"),
        }
    }
}

/// No kernel can be told from a text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnknownKernel {
    /// It does not begin with two numbers.
    #[error(
        "{0:?} is no kernel release; one such as 6.8.12 or 6.1.0-50-amd64, or a line such as \
         6.18, is expected"
    )]
    NoRelease(String),
    /// Older than [`Kernel::OLDEST`].
    #[error("Linux {0} is too old: the oldest kernel that is modelled is 5.19")]
    TooOld(Kernel),
}

/// Reads a release as `uname -r` has it, or a line's name.
///
/// The first two numbers are the line, a third one the point release; what follows is for
/// whoever built it. Many distributions name their kernels by an ABI number after `.0`
/// (`6.1.0-50-amd64`, `6.8.0-51-generic`): their point release is not in the name, and they
/// follow the line's newest. So they are taken for the line, as are `6.12.y` and `7.3-rc7`.
impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(release: &str) -> Result<Self, UnknownKernel> {
        let kernel =
            read_release(release).ok_or_else(|| UnknownKernel::NoRelease(release.to_owned()))?;
        if kernel < Self::OLDEST.with_point(0) {
            return Err(UnknownKernel::TooOld(kernel));
        }
        Ok(kernel)
    }
}

fn read_release(release: &str) -> Option<Kernel> {
    let (major, rest) = number(release)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let line = Kernel::line(major, minor);
    let Some((point, rest)) = rest.strip_prefix('.').and_then(number) else {
        return Some(line);
    };
    let abi = rest
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    Some(if point == 0 && abi {
        line
    } else {
        line.with_point(point)
    })
}

/// The number that a text begins with, and the rest.
fn number(text: &str) -> Option<(u16, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    let number = digits.parse().ok().filter(|&number| number < NEWEST)?;
    Some((number, rest))
}

/// A kernel together with the two sizes that decide how it cuts input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// The kernel.
    pub kernel: Kernel,
    /// Sector size of the filesystem, bytes: a power of two, 4096 to 65536.
    pub sector_size: usize,
    /// Page size of the machine, bytes: a power of two, 4096 to 65536.
    pub page_size: usize,
}

impl Machine {
    /// Bytes the decoders take from the stored extent at a time: a page, or since
    /// [`Behaviour::SectorChunks`] the larger of page and sector.
    #[must_use]
    pub fn input_chunk(&self) -> usize {
        if self.kernel.has(Behaviour::SectorChunks) {
            self.page_size.max(self.sector_size)
        } else {
            self.page_size
        }
    }

    /// Bytes the decoders produce at a time: a page, or since [`Behaviour::SectorChunks`] a
    /// sector.
    #[must_use]
    pub fn output_chunk(&self) -> usize {
        if self.kernel.has(Behaviour::SectorChunks) {
            self.sector_size
        } else {
            self.page_size
        }
    }
}

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

    #[test]
    fn a_release_is_read_as_uname_has_it() {
        for (release, expected) in [
            ("6.8.12", Kernel::release(6, 8, 12)),
            ("6.8.12-4-pve", Kernel::release(6, 8, 12)),
            ("6.18.44-1-amd64", Kernel::release(6, 18, 44)),
            ("6.12.95+deb12-amd64", Kernel::release(6, 12, 95)),
            (
                "6.6.87.2-microsoft-standard-WSL2",
                Kernel::release(6, 6, 87),
            ),
            ("7.2.13-arch1-1", Kernel::release(7, 2, 13)),
            ("6.1.0", Kernel::release(6, 1, 0)),
            ("6.1.0-rc3", Kernel::release(6, 1, 0)),
            // The point release is not in these names.
            ("6.1.0-50-amd64", Kernel::line(6, 1)),
            ("5.19.0-50-generic", Kernel::line(5, 19)),
            ("6.4.0-150600.23.25-default", Kernel::line(6, 4)),
            ("6.18", Kernel::line(6, 18)),
            ("6.12.y", Kernel::line(6, 12)),
            ("7.3-rc7-amd64", Kernel::line(7, 3)),
            ("7.2-16k-pages", Kernel::line(7, 2)),
            ("8.0", Kernel::line(8, 0)),
        ] {
            assert_eq!(release.parse(), Ok(expected), "{release}");
        }
        for release in ["", "linux", "6", "6.", "6.x", ".6.1", "v6.1", "70000.1"] {
            let error = release.parse::<Kernel>().unwrap_err();
            assert_eq!(error, UnknownKernel::NoRelease(release.to_owned()));
        }
        for release in ["5.18", "5.18.19", "5.4.0-100-generic", "2.6.32"] {
            let error = release.parse::<Kernel>().unwrap_err();
            assert!(matches!(error, UnknownKernel::TooOld(_)), "{release}");
        }
    }

    #[test]
    fn a_name_is_read_as_the_kernel_it_names() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
    }

    #[test]
    fn newer_kernels_are_taken_for_the_newest_known() {
        for release in ["7.4", "7.3.1", "8.0.5"] {
            let kernel: Kernel = release.parse().unwrap();
            assert_eq!(kernel.is_newer_than_known(), release != "7.3.1");
            assert!(Behaviour::ALL.into_iter().all(|b| kernel.has(b)));
        }
    }

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

    #[test]
    fn chunks_follow_pages_and_then_sectors() {
        let machine = |kernel, sector_size, page_size| Machine {
            kernel,
            sector_size,
            page_size,
        };
        let subpage = machine(Kernel::line(6, 17), 4096, 65536);
        assert_eq!(
            (subpage.input_chunk(), subpage.output_chunk()),
            (65536, 65536)
        );
        let subpage = machine(Kernel::V7_2, 4096, 65536);
        assert_eq!(
            (subpage.input_chunk(), subpage.output_chunk()),
            (65536, 4096)
        );
    }
}
