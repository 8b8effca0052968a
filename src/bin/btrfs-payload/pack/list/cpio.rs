//! What usr/gen_init_cpio.c of the kernel reads (Linux 6.18), a line for each name:
//!
//! | line | |
//! | --- | --- |
//! | `file NAME LOCATION MODE UID GID [LINK...]` | a file, and further names of it; `${VARIABLE}` in the location |
//! | `dir NAME MODE UID GID` | |
//! | `nod NAME MODE UID GID c\|b MAJOR MINOR` | |
//! | `slink NAME TARGET MODE UID GID` | |
//! | `pipe NAME MODE UID GID`, `sock NAME MODE UID GID` | |
//!
//! Names have no spaces; modes are octal. There are no times in it: files have theirs, all else was
//! changed when 1970 began.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use anyhow::{Context, Result, bail};

use super::super::member::Kind;
use super::{Entry, List, Room, brief, lines, number, owner_number, permissions, place, words};

pub(super) fn is_kind(word: &[u8]) -> bool {
    matches!(
        word,
        b"file" | b"dir" | b"nod" | b"slink" | b"pipe" | b"sock"
    )
}

/// Variables are looked up by `variable`. The last of a name counts.
pub(super) fn parse(
    text: &[u8],
    room: &mut Room,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<List> {
    let mut list = List::new();
    for (line, text) in lines(text) {
        let words: Vec<&[u8]> = words(text).collect();
        if !words.is_empty() {
            let added = add(&mut list, room, line, &words, &variable);
            added.with_context(|| format!("line {line}"))?;
        }
    }
    Ok(list)
}

fn add(
    list: &mut List,
    room: &mut Room,
    line: u64,
    words: &[&[u8]],
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<()> {
    let mut links: &[&[u8]] = &[];
    let (name, kind, [mode, uid, gid], content) = match *words {
        [b"file", name, location, mode, uid, gid, ref more @ ..] => {
            links = more;
            let content = Some(expanded(location, variable)?);
            (name, Kind::File, [mode, uid, gid], content)
        }
        [b"dir", name, mode, uid, gid] => (name, Kind::Directory, [mode, uid, gid], None),
        [b"nod", name, mode, uid, gid, kind, major, minor] => {
            let (major, minor) = (number(major, 10)?, number(minor, 10)?);
            let kind = match kind {
                b"c" => Kind::CharDevice(major, minor),
                b"b" => Kind::BlockDevice(major, minor),
                other => bail!("a device is c or b, not {}", brief(other)),
            };
            (name, kind, [mode, uid, gid], None)
        }
        [b"slink", name, target, mode, uid, gid] => {
            let kind = Kind::Symlink(target.to_vec());
            (name, kind, [mode, uid, gid], None)
        }
        [b"pipe", name, mode, uid, gid] => (name, Kind::Fifo, [mode, uid, gid], None),
        [b"sock", name, mode, uid, gid] => (name, Kind::Socket, [mode, uid, gid], None),
        _ => bail!("no line of a list for gen_init_cpio looks like this"),
    };
    let mut entry = entry(line, kind, [mode, uid, gid], content)?;
    entry.group = (!links.is_empty()).then(|| name.to_vec());
    for name in links.iter().chain([&name]) {
        room.take_name(name, 0)?;
        room.take(entry.content.as_ref().map_or(0, Vec::len))?;
        list.0.insert(place(name)?, entry.clone());
    }
    Ok(())
}

fn entry(
    line: u64,
    kind: Kind,
    [mode, uid, gid]: [&[u8]; 3],
    content: Option<Vec<u8>>,
) -> Result<Entry> {
    // Only files have a time: that of where their content is.
    let mtime = match kind {
        Kind::File => None,
        _ => Some(Default::default()),
    };
    Ok(Entry {
        line,
        kind: Some(kind),
        mode: Some(permissions(mode)?),
        uid: Some(owner_number(uid)?),
        gid: Some(owner_number(gid)?),
        mtime,
        content,
        ..Entry::default()
    })
}

/// With the values of variables.
fn expanded(location: &[u8], variable: &impl Fn(&str) -> Option<OsString>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = location;
    while let Some(at) = rest.windows(2).position(|two| two == b"${") {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        all.extend_from_slice(before);
        let Some(end) = after.iter().position(|&byte| byte == b'}') else {
            break;
        };
        let name = after.get(2..end).unwrap_or_default();
        let value = str::from_utf8(name).ok().and_then(variable);
        let value =
            value.with_context(|| format!("the environment has no variable {}", brief(name)))?;
        all.extend(value.into_vec());
        rest = after
            .get(end..)
            .and_then(|rest| rest.get(1..))
            .unwrap_or_default();
    }
    all.extend_from_slice(rest);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn each_kind_of_line() {
        let text = b"# comment\n\ndir /dev 755 0 0\nnod /dev/console 600 0 5 c 5 1\n\
            nod /dev/loop0 660 0 6 b 7 0\nslink /bin usr/bin 777 0 0\npipe /p 600 1 2\n\
            sock /s 600 0 0\nfile /z ${D}/x/${E} 4755 0 0 /a /z\n";
        let list = parse(text, &mut Room(1 << 20), |name| match name {
            "D" => Some("/where".into()),
            "E" => Some("".into()),
            _ => None,
        });
        let list = list.unwrap();
        let found: Vec<_> = list
            .entries()
            .map(|(place, entry)| (place.path(), entry.kind.clone().unwrap(), entry.line))
            .collect();
        let expected: [(&[u8], Kind, u64); 8] = [
            (b"a", Kind::File, 9),
            (b"bin", Kind::Symlink(b"usr/bin".to_vec()), 6),
            (b"dev", Kind::Directory, 3),
            (b"dev/console", Kind::CharDevice(5, 1), 4),
            (b"dev/loop0", Kind::BlockDevice(7, 0), 5),
            (b"p", Kind::Fifo, 7),
            (b"s", Kind::Socket, 8),
            (b"z", Kind::File, 9),
        ];
        assert_eq!(found, expected.map(|(p, k, l)| (p.to_vec(), k, l)));
        let file = &list.0[&Place::new(b"a").unwrap()];
        assert_eq!(*file, list.0[&Place::new(b"z").unwrap()]);
        assert_eq!(file.group.as_deref(), Some(&b"/z"[..]));
        assert_eq!(file.content.as_deref(), Some(&b"/where/x/"[..]));
        assert_eq!(
            (file.mode, file.uid, file.gid),
            (Some(0o4755), Some(0), Some(0))
        );
        let console = &list.0[&Place::new(b"dev/console").unwrap()];
        assert_eq!(
            (console.mode, console.uid, console.gid),
            (Some(0o600), Some(0), Some(5))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("dir /a 755 0 0\ndir /b 755 0\n", "line 2: no line"),
            ("dir /a 79 0 0", "line 1: 79 is not a number"),
            ("dir /a 10000 0 0", "line 1: 10000 are no permissions"),
            ("dir /a 755 -1 0", "line 1: -1 is not a number"),
            ("dir /a 755 0 4294967296", "line 1: 4294967296 is not"),
            ("dir /a 755 4294967295 0", "line 1: 4294967295 is nobody's"),
            ("dir ../a 755 0 0", "line 1: "),
            (
                "file /a ${NONE} 755 0 0",
                "line 1: the environment has no variable NONE",
            ),
            ("nod /a 755 0 0 x 1 1", "line 1: a device is c or b"),
        ] {
            let error = format!(
                "{:#}",
                parse(text.as_bytes(), &mut Room(1 << 20), |_| None).unwrap_err()
            );
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
