//! Records of pax: `LENGTH KEY=VALUE`, each with a line feed at its end. Values hold any bytes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use btrfs_payload::bytes::Bytes;
use btrfs_payload::send_stream::Timespec;

use super::acl;

/// Records, the last of each key.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Pieces of a sparse file in the first form of pax, whose keys come again and again.
    pieces: Vec<u64>,
}

impl Records {
    /// Takes in what a member of type `x` or `g` holds.
    pub(super) fn add(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            // Zeroes may fill it up.
            if text.iter().all(|&byte| byte == 0) {
                break;
            }
            let (key, value, rest) = record(text).context("a pax record is malformed")?;
            text = rest;
            match key {
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    self.pieces.push(parsed(value).context("a sparse map")?);
                }
                _ => {
                    self.values.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }

    /// These, and those of one member over them.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.values.extend(other.values.clone());
        all.pieces.clone_from(&other.pieces);
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.pieces.is_empty()
    }

    /// An empty value takes a record of before away.
    fn get(&self, key: &str) -> Option<&[u8]> {
        let value = self.values.get(key.as_bytes()).map(Vec::as_slice);
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn path(&self) -> Option<&[u8]> {
        self.get("path")
    }

    pub(super) fn link_path(&self) -> Option<&[u8]> {
        self.get("linkpath")
    }

    /// The name of a sparse file, whose own says where it would go if nobody knew of that.
    pub(super) fn sparse_name(&self) -> Option<&[u8]> {
        self.get("GNU.sparse.name")
    }

    pub(super) fn size(&self) -> Result<Option<u64>> {
        let size = self.get("size").map(parsed).transpose();
        size.context("its size is not a number")
    }

    /// Owner or group.
    pub(super) fn number(&self, key: &str) -> Result<Option<u32>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = parsed(value).with_context(|| format!("its {key} is not a number"))?;
        ensure!(
            number < u64::from(u32::MAX),
            "its {key} {number} is too large"
        );
        Ok(u32::try_from(number).ok())
    }

    /// Seconds with a fraction.
    pub(super) fn time(&self, key: &str) -> Result<Option<Timespec>> {
        let wrong = || format!("its {key} is not a time");
        let time = self.get(key).map(|value| time(value).with_context(wrong));
        time.transpose()
    }

    /// The size of a sparse file, where it is one.
    pub(super) fn sparse_size(&self) -> Result<Option<u64>> {
        let size = self
            .get("GNU.sparse.realsize")
            .or_else(|| self.get("GNU.sparse.size"));
        let size = size.map(parsed).transpose();
        size.context("its size is not a number")
    }

    /// Offsets and lengths, where they are in the records: forms 0.0 and 0.1.
    pub(super) fn sparse_map(&self) -> Result<Option<Vec<(u64, u64)>>> {
        let numbers = match self.get("GNU.sparse.map") {
            Some(map) => map
                .split(|&byte| byte == b',')
                .map(parsed)
                .collect::<Result<_>>()
                .context("its sparse map is malformed")?,
            None if self.get("GNU.sparse.major").is_some() => return Ok(None),
            None => self.pieces.clone(),
        };
        let (pairs, rest) = numbers.as_chunks::<2>();
        ensure!(rest.is_empty(), "its sparse map ends with an offset");
        Ok(Some(pairs.iter().map(|&[at, len]| (at, len)).collect()))
    }

    /// Extended attributes: as they are, and access lists that are told in words.
    pub(super) fn xattrs(&self) -> Result<Vec<(Bytes, Bytes)>> {
        const SCHILY: &[u8] = b"SCHILY.xattr.";
        let mut xattrs = BTreeMap::<Bytes, Bytes>::new();
        let mut put = |name: &[u8], value: Bytes| {
            xattrs.insert(Bytes::copy_from_slice(name), value);
        };
        for (key, value) in &self.values {
            if let Some(name) = key.strip_prefix(SCHILY).filter(|name| !name.is_empty()) {
                put(name, value.clone().into());
            }
        }
        if let Some(label) = self.get("RHT.security.selinux") {
            // A label is stored with the zero at its end.
            let mut label = label.to_vec();
            if label.last() != Some(&0) {
                label.push(0);
            }
            put(b"security.selinux", label.into());
        }
        for (key, name) in [
            ("SCHILY.acl.access", &b"system.posix_acl_access"[..]),
            ("SCHILY.acl.default", b"system.posix_acl_default"),
        ] {
            if let Some(text) = self.get(key) {
                let list = acl::parse(text).with_context(|| format!("its {key}"))?;
                put(name, list.into());
            }
        }
        Ok(xattrs.into_iter().collect())
    }
}

/// Key, value and what follows.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|&byte| byte == b' ')?;
    let len: usize = std::str::from_utf8(text.get(..space)?).ok()?.parse().ok()?;
    let (record, rest) = text.split_at_checked(len)?;
    let (&b'\n', record) = record.split_last()? else {
        return None;
    };
    let record = record.get(space.checked_add(1)?..)?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    Some((key, value.get(1..)?, rest))
}

pub(super) fn parsed(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).ok();
    text.filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok())
        .with_context(|| format!("\"{}\" is not a number", value.escape_ascii()))
}

/// Seconds, maybe negative, with any number of digits after a point.
fn time(value: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = nine.parse().ok()?;
    if !whole.starts_with('-') || nanoseconds == 0 {
        return Some(Timespec {
            seconds,
            nanoseconds,
        });
    }
    // Counted back from the second.
    Some(Timespec {
        seconds: seconds.checked_sub(1)?,
        nanoseconds: 1_000_000_000_u32.checked_sub(nanoseconds)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_line_feeds_and_equal_signs() {
        let mut records = Records::default();
        records
            .add(b"25 SCHILY.xattr.user.a=\n=b\n18 path=some/name\n")
            .unwrap_err();
        records
            .add(b"28 SCHILY.xattr.user.a=\n=b\n\n18 path=some/name\n")
            .unwrap();
        assert_eq!(records.path(), Some(&b"some/name"[..]));
        let expected = [(Bytes::from("user.a"), Bytes::from("\n=b\n"))];
        assert_eq!(records.xattrs().unwrap(), expected);
    }

    #[test]
    fn times_may_be_before_1970() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("5.", Some((5, 0))),
            ("5.1234567899", Some((5, 123_456_789))),
            ("", None),
            ("1e9", None),
            ("5.-1", None),
        ] {
            let got = time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(got, expected, "{text}");
        }
    }
}
