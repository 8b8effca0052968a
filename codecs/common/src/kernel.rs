//! The vocabulary in which the codecs say what a kernel makes of a payload.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A line of kernels that treat payloads alike.
///
/// The names are those of the long-term releases the models were compared with: 6.1.192,
/// 6.12.117, 6.18.44 and 7.2.13. Ordered from old to new, so a rule that came with a line is
/// written `kernel >= Kernel::V6_12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// Linux 6.1: zstd 1.4.10, plain `char` signed on x86, inline decoders that loop.
    V6_1,
    /// Linux 6.12: zstd 1.5.2, inline decoders that make one call.
    V6_12,
    /// Linux 6.18: zstd 1.5.7.
    V6_18,
    /// Linux 7.2: input and output chunks of a sector instead of a page.
    V7_2,
}

impl Kernel {
    /// Every line, oldest first.
    pub const ALL: [Self; 4] = [Self::V6_1, Self::V6_12, Self::V6_18, Self::V7_2];

    /// The line's name as the command line spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_18 => "6.18",
            Self::V7_2 => "7.2",
        }
    }

    /// The line that a running kernel belongs to, from its release (`uname -r`), for example
    /// `6.18.44-1-amd64`; the nearest older line where there is no exact one. `None` for
    /// kernels before 5.18, which have no encoded writes, and for text without a version.
    ///
    /// ```
    /// use btrfs_payload_common::Kernel;
    /// assert_eq!(Kernel::of_release("6.18.44-1-amd64"), Some(Kernel::V6_18));
    /// assert_eq!(Kernel::of_release("6.8.0"), Some(Kernel::V6_1));
    /// assert_eq!(Kernel::of_release("5.10.0"), None);
    /// ```
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next()?, numbers.next()?);
        match version {
            (0..=4, _) | (5, 0..=17) => None,
            (5, _) | (6, 0..=8) => Some(Self::V6_1),
            (6, 9..=16) => Some(Self::V6_12),
            (6, _) => Some(Self::V6_18),
            _ => Some(Self::V7_2),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kernel line has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no model of kernel {0:?}; there are 6.1, 6.12, 6.18 and 7.2")]
pub struct UnknownKernel(pub String);

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        Self::ALL
            .into_iter()
            .find(|kernel| kernel.name() == name)
            .ok_or_else(|| UnknownKernel(name.to_owned()))
    }
}

/// A kernel together with the two sizes that decide how it cuts input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// The kernel line.
    pub kernel: Kernel,
    /// Sector size of the filesystem, bytes: a power of two, 4096 to 65536.
    pub sector_size: usize,
    /// Page size of the machine, bytes: a power of two, 4096 to 65536.
    pub page_size: usize,
}

impl Machine {
    /// Bytes the decoders take from the stored extent at a time: a page up to 6.18, the larger
    /// of page and sector since 7.0 (`*_decompress_bio` in fs/btrfs/{zlib,lzo,zstd}.c).
    #[must_use]
    pub fn input_chunk(&self) -> usize {
        if self.kernel >= Kernel::V7_2 {
            self.page_size.max(self.sector_size)
        } else {
            self.page_size
        }
    }

    /// Bytes the decoders produce at a time: a page up to 6.18, a sector since 7.0.
    #[must_use]
    pub fn output_chunk(&self) -> usize {
        if self.kernel >= Kernel::V7_2 {
            self.sector_size
        } else {
            self.page_size
        }
    }
}

/// The error numbers that submitting and reading encoded data can end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Errno {
    /// Not permitted: the ioctls need `CAP_SYS_ADMIN`.
    Eperm,
    /// Input/output error: what most damaged payloads give when they are read.
    Eio,
    /// Bad file descriptor: not open for writing.
    Ebadf,
    /// Invalid argument: the arguments break a rule of the ioctl.
    Einval,
    /// File too large.
    Efbig,
    /// Inappropriate ioctl: not btrfs, or a kernel without encoded writes.
    Enotty,
    /// Structure needs cleaning: an inline LZO extent with bad lengths.
    Euclean,
}

impl Errno {
    /// The C name, for example `EIO`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eperm => "EPERM",
            Self::Eio => "EIO",
            Self::Ebadf => "EBADF",
            Self::Einval => "EINVAL",
            Self::Efbig => "EFBIG",
            Self::Enotty => "ENOTTY",
            Self::Euclean => "EUCLEAN",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a decoder of a kernel (or of `btrfs receive`) ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Without error; wanted bytes that were not produced read as zeroes.
    Complete,
    /// With an error. Bytes delivered before it can still be read.
    Error(Errno),
    /// Without error, but every wanted byte behind the produced ones is memory that no decoder
    /// wrote.
    Uninitialised,
    /// Undefined: some kernel may crash or read outside its buffers. Never submitted.
    Unsafe,
}

/// What a decoder delivers of a payload: its output is in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    /// How it ends.
    pub end: End,
    /// Set where the answer depends on which decompression workspace is idle: the other
    /// possible answer is that nothing at all can be read, with this error number.
    pub or_nothing: Option<Errno>,
}

impl Reading {
    /// A reading that does not depend on the state of the machine.
    #[must_use]
    pub fn certain(end: End) -> Self {
        Self {
            end,
            or_nothing: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lines_agree() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.name().parse(), Ok(kernel));
        }
        assert!("6.2".parse::<Kernel>().is_err());
        for (release, expected) in [
            ("5.17.3", None),
            ("5.19.0-50-generic", Some(Kernel::V6_1)),
            ("6.1.0-30-amd64", Some(Kernel::V6_1)),
            ("6.12.117", Some(Kernel::V6_12)),
            ("6.17.0", Some(Kernel::V6_18)),
            ("7.2.13+deb14", Some(Kernel::V7_2)),
            ("8.0", Some(Kernel::V7_2)),
            ("", None),
            ("linux", None),
        ] {
            assert_eq!(Kernel::of_release(release), expected, "{release}");
        }
    }

    #[test]
    fn chunks_follow_pages_and_then_sectors() {
        let machine = |kernel, sector_size, page_size| Machine {
            kernel,
            sector_size,
            page_size,
        };
        let subpage = machine(Kernel::V6_18, 4096, 65536);
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
