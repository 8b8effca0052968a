//! What a reader of a payload delivers, and how it ends.

use std::fmt;

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
    /// Without error, but every wanted byte past the produced ones is memory that no decoder
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
