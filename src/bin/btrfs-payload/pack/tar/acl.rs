//! Access lists in words (`user::rwx,user:1000:r-x`), as GNU tar and star write them, become those
//! that Linux stores (include/uapi/linux/posix_acl_xattr.h).

use anyhow::{Context, Result, bail};

/// Version of the stored form, and the number in entries that are for nobody by number.
const VERSION: [u8; 4] = [2, 0, 0, 0];
const NOBODY: u32 = u32::MAX;

/// Parses a list. Users and groups have numbers: a name means nothing elsewhere. star writes the
/// number after the permissions.
pub(super) fn parse(text: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(text).context("an access list is text")?;
    let mut entries = Vec::new();
    for entry in text.split([',', '\n']) {
        // What is effective may follow as a remark.
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            entries.push(parse_entry(entry)?);
        }
    }
    entries.sort_unstable();
    let mut list = VERSION.to_vec();
    for (tag, id, permissions) in entries {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    Ok(list)
}

fn parse_entry(entry: &str) -> Result<(u16, u32, u16)> {
    let malformed = || {
        format!(
            "\"{}\" is not an entry of an access list",
            entry.escape_debug()
        )
    };
    let parts: Vec<&str> = entry.split(':').collect();
    let (kind, who, permissions, number) = match parts[..] {
        [kind, permissions] => (kind, "", permissions, None),
        [kind, who, permissions] => (kind, who, permissions, None),
        [kind, who, permissions, number] => (kind, who, permissions, Some(number)),
        _ => bail!(malformed()),
    };
    let tag = match (kind, who) {
        ("user" | "u", "") => 0x01,
        ("user" | "u", _) => 0x02,
        ("group" | "g", "") => 0x04,
        ("group" | "g", _) => 0x08,
        ("mask" | "m", "") => 0x10,
        ("other" | "o", "") => 0x20,
        _ => bail!(malformed()),
    };
    let id = if who.is_empty() {
        NOBODY
    } else {
        let id = number.unwrap_or(who).parse().ok();
        id.with_context(|| {
            format!(
                "its access list names {}, and has no number for it; tar --numeric-owner writes them",
                who.escape_debug()
            )
        })?
    };
    let mut bits = 0;
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => bail!(malformed()),
        };
    }
    Ok((tag, id, bits))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    /// What Linux stores for `setfacl -m u:1000:rw`, looked at with getfattr.
    #[test]
    fn words_become_what_linux_stores() {
        let list = [
            2, 0, 0, 0, //
            1, 0, 6, 0, 255, 255, 255, 255, //
            2, 0, 6, 0, 0xe8, 3, 0, 0, //
            4, 0, 4, 0, 255, 255, 255, 255, //
            16, 0, 6, 0, 255, 255, 255, 255, //
            32, 0, 4, 0, 255, 255, 255, 255,
        ];
        for text in [
            "user::rw-,user:1000:rw-,group::r--,mask::rw-,other::r--",
            "user::rw-\nuser:lisa:rw-:1000\ngroup::r--\nmask::rw-\nother::r--\n",
            "o::r--,m::rw-,g::r--,u:1000:rw-,u::rw-",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), list, "{text}");
        }
        for text in ["user:lisa:rw-", "nobody::rwx", "user::rwz", "u:1:2:3:4"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
