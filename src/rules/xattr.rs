//! Extended attributes: which names and values setxattr(2) on btrfs takes.

use super::limits::u64_of;

/// What a leaf needs beside the name and value of one attribute, bytes: its header (101), one
/// item (25) and the head of a directory item (30) (`BTRFS_MAX_XATTR_SIZE`,
/// fs/btrfs/accessors.h).
const OVERHEAD: u64 = 101 + 25 + 30;

/// Capabilities of a file, which Linux drops when the file or its owner is changed.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";
/// Longest name, bytes (`XATTR_NAME_MAX`, include/uapi/linux/limits.h).
const LONGEST_NAME: usize = 255;
/// The compression of a file, and of what is made in a directory.
pub(crate) const COMPRESSION: &[u8] = b"btrfs.compression";
/// The access list of a file.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The access list that what is made in a directory gets.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// What an attribute is on. Nothing is refused for a kind that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XattrOn {
    File,
    Directory,
    Symlink,
    /// A device, pipe or socket.
    Special,
    Unknown,
}

/// Why Linux does not take an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XattrFault {
    /// It has no name.
    Nameless,
    /// btrfs has no attribute of this name (fs/btrfs/xattr.c).
    Name,
    /// What it is on has no such attribute; a sentence says why.
    Kind(&'static str),
    /// The value is not one of this attribute.
    Value,
    /// Name and value do not fit into a node.
    TooLong {
        /// Bytes that name and value have.
        len: u64,
        /// Bytes that fit.
        most: u64,
        /// Bytes of a node.
        node_size: u32,
    },
}

/// What is wrong with an attribute, on a filesystem with nodes of so many bytes.
pub(crate) fn fault(name: &[u8], value: &[u8], on: XattrOn, node_size: u32) -> Option<XattrFault> {
    name_fault(name, on)
        .or_else(|| value_fault(name, value, on))
        .or_else(|| {
            let most = u64::from(node_size).saturating_sub(OVERHEAD);
            let len = u64_of(name.len().saturating_add(value.len()));
            (len > most).then_some(XattrFault::TooLong {
                len,
                most,
                node_size,
            })
        })
}

/// What is wrong with the name, whatever the value is. Nothing is said of names that are too long.
pub(crate) fn name_fault(name: &[u8], on: XattrOn) -> Option<XattrFault> {
    if name.is_empty() {
        return Some(XattrFault::Nameless);
    }
    if name.len() > LONGEST_NAME {
        return None;
    }
    let is_in = |namespace: &[u8]| name.len() > namespace.len() && name.starts_with(namespace);
    if is_in(b"user.") {
        return matches!(on, XattrOn::Symlink | XattrOn::Special).then_some(XattrFault::Kind(
            "attributes of users are for files and directories only",
        ));
    }
    if is_access(name) {
        return (on == XattrOn::Symlink)
            .then_some(XattrFault::Kind("a symbolic link has no access list"));
    }
    let is_known = is_in(b"trusted.") || is_in(b"security.") || name == COMPRESSION;
    (!is_known).then_some(XattrFault::Name)
}

/// True for access lists, which Linux turns into permissions where these can say the same.
pub(crate) fn is_access(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

/// True for an access list without an entry: Linux takes it for none.
pub(crate) fn is_empty_list(value: &[u8]) -> bool {
    value.len() <= 4
}

/// The permissions of a file with this access list, and whether they say all that it does
/// (`posix_acl_equiv_mode`, fs/posix_acl.c).
pub(crate) fn permissions(value: &[u8]) -> Option<(u32, bool)> {
    let (entries, _) = value.get(4..)?.as_chunks::<8>();
    let of = |wanted: u8| {
        let entry = entries.iter().find(|[tag, ..]| *tag == wanted);
        entry.map(|&[_, _, permissions, ..]| u32::from(permissions & 7))
    };
    let group = of(16).or_else(|| of(4))?;
    let permissions = of(1)? << 6 | group << 3 | of(32)?;
    Some((permissions, entries.len() == 3))
}

fn value_fault(name: &[u8], value: &[u8], on: XattrOn) -> Option<XattrFault> {
    let is_directory = matches!(on, XattrOn::Directory | XattrOn::Unknown);
    let is_right = match name {
        CAPABILITY => value.is_empty() || is_capability(value),
        COMPRESSION => is_compression(value),
        DEFAULT if !value.is_empty() && !is_directory => {
            return Some(XattrFault::Kind(
                "only a directory has an access list for what is made in it",
            ));
        }
        ACCESS | DEFAULT => value.is_empty() || is_access_list(value),
        _ => true,
    };
    (!is_right).then_some(XattrFault::Value)
}

/// Revision 2, or 3 with the user it is for (`validheader`, security/commoncap.c).
fn is_capability(value: &[u8]) -> bool {
    let revision = value.get(3);
    match value.len() {
        20 => revision == Some(&2),
        24 => revision == Some(&3),
        _ => false,
    }
}

/// `prop_compression_validate`, fs/btrfs/props.c.
fn is_compression(value: &[u8]) -> bool {
    let is_codec = [&b"zlib"[..], b"lzo", b"zstd"]
        .iter()
        .any(|codec| value.starts_with(codec));
    is_codec || matches!(value, b"" | b"no" | b"none")
}

/// Version 2, and entries of eight bytes: kind, permissions, whom they are for
/// (`posix_acl_from_xattr` and `posix_acl_valid`, fs/posix_acl.c).
fn is_access_list(value: &[u8]) -> bool {
    let Some(entries) = value.strip_prefix(&[2, 0, 0, 0]) else {
        return false;
    };
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return false;
    }
    // The owner, users, the group, groups, the mask, others: in this order.
    let mut last = 0;
    let mut count = [0_usize; 6];
    for &[tag, high, permissions, none, ..] in entries {
        let Some(place) = [1, 2, 4, 8, 16, 32].iter().position(|&known| known == tag) else {
            return false;
        };
        let may_repeat = place == 1 || place == 3;
        let again = last > place || last == place && !may_repeat && count.iter().any(|&n| n > 0);
        if high != 0 || none != 0 || permissions > 7 || again {
            return false;
        }
        last = place;
        if let Some(count) = count.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }
    // Named users and groups need the mask.
    matches!(
        count,
        [0, 0, 0, 0, 0, 0] | [1, 0, 1, 0, 0 | 1, 1] | [1, _, 1, _, 1, 1]
    )
}
