//! The fields of a header. The crate `tar` has where they stand; what numbers they hold is read
//! here, as they may be negative.

use anyhow::{Context, Result, ensure};
use btrfs_payload::send_stream::Timespec;
use tar::Header;

/// Bytes of a header.
pub(super) type Block = [u8; 512];

/// Where the checksum stands.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A header whose checksum is right.
pub(super) struct Fields<'a> {
    header: &'a Header,
}

/// Whether the checksum is that of the bytes, itself taken for spaces. Old archivers took bytes
/// for signed.
pub(super) fn is_right(block: &Block) -> bool {
    let Some(stored) = block.get(CHECKSUM).and_then(number) else {
        return false;
    };
    let bytes = || {
        let of = |(at, &byte)| if CHECKSUM.contains(&at) { b' ' } else { byte };
        block.iter().enumerate().map(of)
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    stored == unsigned || stored == signed
}

impl<'a> Fields<'a> {
    pub(super) fn new(block: &'a Block) -> Self {
        Self {
            header: Header::from_byte_slice(block),
        }
    }

    /// The type of the member.
    pub(super) fn kind(&self) -> u8 {
        let [kind] = self.header.as_old().linkflag;
        kind
    }

    pub(super) fn path(&self) -> Vec<u8> {
        self.header.path_bytes().into_owned()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.header
            .link_name_bytes()
            .map_or_else(Vec::new, Into::into)
    }

    /// Bytes that follow in the archive.
    pub(super) fn size(&self) -> Result<u64> {
        unsigned(&self.header.as_old().size, "size")
    }

    pub(super) fn mode(&self) -> Result<u32> {
        // Some archivers leave the file's type in.
        Ok(small(&self.header.as_old().mode, "mode")? & 0o7777)
    }

    pub(super) fn uid(&self) -> Result<u32> {
        small(&self.header.as_old().uid, "owner")
    }

    pub(super) fn gid(&self) -> Result<u32> {
        small(&self.header.as_old().gid, "group")
    }

    pub(super) fn mtime(&self) -> Result<Timespec> {
        let field = &self.header.as_old().mtime;
        let seconds = number(field).with_context(|| wrong("time", field))?;
        Ok(Timespec {
            seconds,
            nanoseconds: 0,
        })
    }

    /// Major and minor number.
    pub(super) fn device(&self) -> Result<(u32, u32)> {
        let (major, minor) = match (self.header.as_ustar(), self.header.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            _ => anyhow::bail!("a device in an archive that knows none"),
        };
        Ok((small(major, "device")?, small(minor, "device")?))
    }

    /// What GNU tar has of a sparse file.
    pub(super) fn gnu_sparse(&self) -> Result<GnuSparse> {
        let gnu = self
            .header
            .as_gnu()
            .context("a sparse file, but not of GNU tar")?;
        let pieces = pieces(&gnu.sparse)?;
        let size = unsigned(&gnu.realsize, "size")?;
        Ok(GnuSparse {
            pieces,
            goes_on: gnu.isextended != [0],
            size,
        })
    }
}

/// The beginning of a sparse file's map.
pub(super) struct GnuSparse {
    /// Offsets and lengths, bytes.
    pub(super) pieces: Vec<(u64, u64)>,
    /// There are more, in a block after the header.
    pub(super) goes_on: bool,
    /// Size of the file, bytes.
    pub(super) size: u64,
}

/// Offsets and lengths, up to the first that is not there.
pub(super) fn pieces(fields: &[tar::GnuSparseHeader]) -> Result<Vec<(u64, u64)>> {
    fields
        .iter()
        .take_while(|field| field.numbytes.first().is_some_and(|&byte| byte != 0))
        .map(|field| {
            Ok((
                unsigned(&field.offset, "offset")?,
                unsigned(&field.numbytes, "length")?,
            ))
        })
        .collect()
}

fn unsigned(field: &[u8], what: &str) -> Result<u64> {
    number(field)
        .and_then(|number| u64::try_from(number).ok())
        .with_context(|| wrong(what, field))
}

fn small(field: &[u8], what: &str) -> Result<u32> {
    let number = unsigned(field, what)?;
    // Kernels take the largest number for nobody at all.
    ensure!(number < u64::from(u32::MAX), "{what} {number} is too large");
    u32::try_from(number).with_context(|| wrong(what, field))
}

fn wrong(what: &str, field: &[u8]) -> String {
    format!(
        "its {what} \"{}\" is not a number that fits",
        field.escape_ascii()
    )
}

/// Octal digits with spaces or zeroes around them, or, after a first byte of 0x80 or 0xff, a number
/// of two's complement. Nothing at all is 0.
fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let top = first & 0x7f | if negative { 0x80 } else { 0 };
        let start = i128::from(top.cast_signed());
        let mut number = start;
        for &byte in rest {
            number = number.checked_mul(256)?.checked_add(byte.into())?;
        }
        return i64::try_from(number).ok();
    }
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let mut number = 0_i64;
    let digits = field.iter().skip_while(|byte| is_filler(byte));
    let mut digits = digits.peekable();
    while let Some(&&digit) = digits.peek().filter(|byte| !is_filler(byte)) {
        let digit = char::from(digit).to_digit(8)?;
        number = number.checked_mul(8)?.checked_add(digit.into())?;
        digits.next();
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_of_two_s_complement() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"0000648\0", None),
            (b"-1\0\0", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", Some(-1)),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
                Some(-2),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
