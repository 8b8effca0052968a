//! Kernels by their release.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

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
/// # Ok::<(), btrfs_payload_common::ParseKernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    major: u16,
    minor: u16,
    /// The point release; [`NEWEST`] where only the line is known.
    point: u16,
}

/// Past every point release there will be.
pub(crate) const NEWEST: u16 = u16::MAX;

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
pub enum ParseKernelError {
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
    type Err = ParseKernelError;

    fn from_str(release: &str) -> Result<Self, ParseKernelError> {
        let kernel =
            read_release(release).ok_or_else(|| ParseKernelError::NoRelease(release.to_owned()))?;
        if kernel < Self::OLDEST.with_point(0) {
            return Err(ParseKernelError::TooOld(kernel));
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

#[cfg(test)]
mod tests {
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
            assert_eq!(error, ParseKernelError::NoRelease(release.to_owned()));
        }
        for release in ["5.18", "5.18.19", "5.4.0-100-generic", "2.6.32"] {
            let error = release.parse::<Kernel>().unwrap_err();
            assert!(matches!(error, ParseKernelError::TooOld(_)), "{release}");
        }
    }

    #[test]
    fn a_name_is_read_as_the_kernel_it_names() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
    }
}
