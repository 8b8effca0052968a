//! mtree(5), as `mtree -c` of the BSDs and `bsdtar --format=mtree` write it.
//!
//! Names with a slash are paths from the top; others are in the directory that the lines are about, into
//! which `type=dir` leads and `..` out. `/set` says what holds for all lines after it. What is said of a
//! name twice is taken together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use btrfs_payload::send_stream::Timespec;

use super::super::member::{Kind, Place};
use super::{Entry, List, Room, brief, lines, number, owner_number, permissions, place, words};

/// Keywords that say nothing which goes into a stream.
const PASSED: [&[u8]; 14] = [
    b"cksum",
    b"flags",
    b"ignore",
    b"inode",
    b"md5",
    b"md5digest",
    b"nlink",
    b"resdevice",
    b"ripemd160digest",
    b"rmd160",
    b"rmd160digest",
    b"sha1",
    b"sha1digest",
    b"tags",
];

/// Keywords that say something of a name.
const SAID: [&[u8]; 20] = [
    b"content",
    b"contents",
    b"device",
    b"gid",
    b"gname",
    b"link",
    b"mode",
    b"nochange",
    b"optional",
    b"sha256",
    b"sha256digest",
    b"sha384",
    b"sha384digest",
    b"sha512",
    b"sha512digest",
    b"size",
    b"time",
    b"type",
    b"uid",
    b"uname",
];

/// Keywords and their values, empty where there are none.
type Keywords<'a> = BTreeMap<&'a [u8], &'a [u8]>;

/// What is said of a name.
struct Said<'a> {
    line: u64,
    /// What held for all lines then.
    set: Rc<Keywords<'a>>,
    own: Keywords<'a>,
}

impl<'a> Said<'a> {
    fn value(&self, key: &str) -> Option<&'a [u8]> {
        let key = key.as_bytes();
        self.own.get(key).or_else(|| self.set.get(key)).copied()
    }
}

/// A list on its way.
struct Reading<'a, 'r> {
    room: &'r mut Room,
    set: Rc<Keywords<'a>>,
    /// Parts of the path to the directory that the lines are about. `.` is one of them: lists that begin
    /// with it have a `..` for it at their end.
    here: Vec<Vec<u8>>,
    all: BTreeMap<Place, Said<'a>>,
}

pub(super) fn parse(text: &[u8], room: &mut Room) -> Result<List> {
    let mut reading = Reading {
        room,
        set: Rc::default(),
        here: Vec::new(),
        all: BTreeMap::new(),
    };
    for (line, words) in logical_lines(text) {
        let read = reading.read(line, &words);
        read.with_context(|| format!("line {line}"))?;
    }
    let mut list = List::new();
    for (place, said) in reading.all {
        let entry = entry(&said).with_context(|| format!("line {}", said.line))?;
        list.0.insert(place, entry);
    }
    Ok(list)
}

/// Words of lines, without comments; a line goes on where a backslash ends it.
fn logical_lines(text: &[u8]) -> impl Iterator<Item = (u64, Vec<&[u8]>)> {
    let mut lines = lines(text);
    let logical = std::iter::from_fn(move || {
        let (number, mut line) = lines.next()?;
        let mut all = Vec::new();
        // Two are one in a name.
        while let Some(begun) = line.trim_ascii().strip_suffix(b"\\")
            && begun.last() != Some(&b'\\')
        {
            all.extend(words(begun));
            line = lines.next().map_or(&[][..], |(_, next)| next);
        }
        all.extend(words(line));
        Some((number, all))
    });
    logical.filter(|(_, words)| !words.is_empty())
}

impl<'a> Reading<'a, '_> {
    fn read(&mut self, line: u64, words: &[&'a [u8]]) -> Result<()> {
        let Some((&name, rest)) = words.split_first() else {
            return Ok(());
        };
        match name {
            b"/set" => {
                let more = keywords(rest)?;
                self.change(|set| set.extend(more))
            }
            b"/unset" if rest.contains(&&b"all"[..]) => self.change(Keywords::clear),
            b"/unset" => self.change(|set| set.retain(|key, _| !rest.contains(key))),
            b".." => {
                let is_inside = self.here.pop().is_some();
                ensure!(is_inside, "`..` leads out of the top directory");
                Ok(())
            }
            _ => self.name(line, name, rest),
        }
    }

    /// Changes what holds for all lines from here on; names keep what held before.
    fn change(&mut self, change: impl FnOnce(&mut Keywords<'a>)) -> Result<()> {
        let set = Rc::make_mut(&mut self.set);
        change(set);
        self.room.take(set.len().saturating_mul(64))
    }

    fn name(&mut self, line: u64, name: &[u8], said: &[&'a [u8]]) -> Result<()> {
        let is_path = name.contains(&b'/');
        let name = unescaped(name)?;
        let path = match is_path {
            true => name.into_owned(),
            false => [&self.here[..], &[name.into_owned()]].concat().join(&b'/'),
        };
        let place = place(&path)?;
        self.room.take_name(&path, said.len())?;
        let entry = self.all.entry(place).or_insert_with(|| Said {
            line,
            set: Rc::clone(&self.set),
            own: Keywords::new(),
        });
        entry.own.extend(keywords(said)?);
        if !is_path && entry.value("type") == Some(b"dir") {
            let parts = path.split(|&byte| byte == b'/');
            self.here = parts.map(<[u8]>::to_vec).collect();
        }
        Ok(())
    }
}

/// # Errors
/// A keyword that there is not: so there are a few dozen at most.
fn keywords<'a>(words: &[&'a [u8]]) -> Result<Keywords<'a>> {
    let pair = |word: &&'a [u8]| {
        let mut parts = word.splitn(2, |&byte| byte == b'=');
        let key = parts.next().unwrap_or_default();
        ensure!(
            SAID.contains(&key) || PASSED.contains(&key),
            "there is no keyword {}",
            brief(key)
        );
        Ok((key, parts.next().unwrap_or_default()))
    };
    words.iter().map(pair).collect()
}

fn entry(said: &Said<'_>) -> Result<Entry> {
    let value = |key: &str| said.value(key);
    let digest = |keys: [&str; 2]| {
        let value = keys.iter().find_map(|key| value(key));
        value.map(from_hexadecimal).transpose()
    };
    let kind = match value("type") {
        None => None,
        Some(b"file") => Some(Kind::File),
        Some(b"dir") => Some(Kind::Directory),
        Some(b"link") => {
            let target = value("link").context("a link without link=")?;
            Some(Kind::Symlink(unescaped(target)?.into_owned()))
        }
        Some(b"char") => Some(device(value("device"), Kind::CharDevice)?),
        Some(b"block") => Some(device(value("device"), Kind::BlockDevice)?),
        Some(b"fifo") => Some(Kind::Fifo),
        Some(b"socket") => Some(Kind::Socket),
        Some(other) => bail!("there is no type {}", brief(other)),
    };
    let mut entry = Entry {
        line: said.line,
        size: value("size").map(|size| number(size, 10)).transpose()?,
        sha256: digest(["sha256", "sha256digest"])?,
        sha384: digest(["sha384", "sha384digest"])?,
        sha512: digest(["sha512", "sha512digest"])?,
        optional: value("optional").is_some(),
        kind,
        ..Entry::default()
    };
    // What must not be changed is left as the directory has it.
    if value("nochange").is_none() {
        entry.mode = value("mode").map(permissions).transpose()?;
        entry.uid = owner(value("uid"), value("uname"))?;
        entry.gid = owner(value("gid"), value("gname"))?;
        entry.mtime = value("time").map(time).transpose()?;
    }
    let content = value("contents").or(value("content"));
    entry.content = content
        .map(|path| unescaped(path).map(Cow::into_owned))
        .transpose()?;
    Ok(entry)
}

/// By number. Of names only root's are known: who has another depends on the machine.
fn owner(id: Option<&[u8]>, name: Option<&[u8]>) -> Result<Option<u32>> {
    match (id, name) {
        (Some(id), _) => owner_number(id).map(Some),
        (None, None) => Ok(None),
        (None, Some(b"root" | b"wheel")) => Ok(Some(0)),
        (None, Some(name)) => bail!(
            "the number of {} is not said, and depends on the machine: the list needs uid= and gid=",
            brief(name)
        ),
    }
}

/// Seconds, and after a point nanoseconds as a number of their own.
fn time(value: &[u8]) -> Result<Timespec> {
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let seconds = parts.next().unwrap_or_default();
    let digits = str::from_utf8(seconds).ok();
    let seconds = digits.and_then(|digits| digits.parse().ok());
    let nanoseconds = match parts.next() {
        None | Some(b"") => 0,
        Some(nanoseconds) => number(nanoseconds, 10)?,
    };
    ensure!(
        nanoseconds < 1_000_000_000,
        "{nanoseconds} nanoseconds are too many"
    );
    Ok(Timespec {
        seconds: seconds.with_context(|| format!("{} is no time", brief(value)))?,
        nanoseconds,
    })
}

/// `native,MAJOR,MINOR`, `linux,MAJOR,MINOR`, or the number that Linux has for it.
fn device(value: Option<&[u8]>, kind: impl FnOnce(u32, u32) -> Kind) -> Result<Kind> {
    let value = value.context("a device without device=")?;
    let parts: Vec<&[u8]> = value.split(|&byte| byte == b',').collect();
    let part = |word: &[u8]| match word.strip_prefix(b"0x") {
        Some(digits) => number::<u64>(digits, 16),
        None => number::<u64>(word, 10),
    };
    let (major, minor) = match parts[..] {
        [b"native" | b"linux", major, minor] => (part(major)?, part(minor)?),
        [number] => {
            let number = part(number)?;
            (
                rustix::fs::major(number).into(),
                rustix::fs::minor(number).into(),
            )
        }
        _ => bail!("no device of Linux: {}", brief(value)),
    };
    // What fits in the numbers that the kernel has (`new_encode_dev`, include/linux/kdev_t.h).
    ensure!(
        major < 1 << 12 && minor < 1 << 20,
        "no device of Linux: {}",
        brief(value)
    );
    Ok(kind(
        u32::try_from(major).unwrap_or(0),
        u32::try_from(minor).unwrap_or(0),
    ))
}

fn from_hexadecimal(value: &[u8]) -> Result<Vec<u8>> {
    let (pairs, rest) = value.as_chunks::<2>();
    ensure!(rest.is_empty(), "{} is no digest", brief(value));
    pairs.iter().map(|pair| number(pair, 16)).collect()
}

/// A name as vis(3) writes it: three octal digits, or a letter as in C.
fn unescaped(name: &[u8]) -> Result<Cow<'_, [u8]>> {
    if !name.contains(&b'\\') {
        return Ok(Cow::Borrowed(name));
    }
    let mut all = Vec::new();
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            all.push(byte);
            continue;
        }
        if let Some((digits, after)) = rest.split_first_chunk::<3>()
            && let Ok(byte) = number(digits, 8)
        {
            all.push(byte);
            rest = after;
            continue;
        }
        let Some((&letter, after)) = rest.split_first() else {
            bail!("{} ends in the middle of an escape", brief(name));
        };
        rest = after;
        all.push(match letter {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b's' => b' ',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'#' | b'*' | b'?' | b'[' | b'=' => letter,
            _ => bail!("{} has an unknown escape", brief(name)),
        });
    }
    Ok(Cow::Owned(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<(String, Entry)> {
        let list = parse(text.as_bytes(), &mut Room(1 << 20)).unwrap();
        let entries = list.entries();
        entries
            .map(|(place, entry)| (place.path().escape_ascii().to_string(), entry.clone()))
            .collect()
    }

    #[test]
    fn directories_lead_in_and_out() {
        let text = "#mtree\n/set type=file uid=0 gid=0 mode=0644\n. type=dir mode=0755\n\
            a\\040b mode=0600\n    usr type=dir\n        bin type=dir \\\n    mode=0700\n\
            sh size=5 \\\n# no comment\n\nx\n..\n..\n..\n/unset uid\n./usr/lib type=dir\ny\n";
        let found = listed(text);
        let names: Vec<_> = found
            .iter()
            .map(|(name, entry)| (&name[..], entry.line, entry.mode, entry.uid))
            .collect();
        assert_eq!(
            names,
            [
                ("", 3, Some(0o755), Some(0)),
                ("a b", 4, Some(0o600), Some(0)),
                ("usr", 5, Some(0o644), Some(0)),
                ("usr/bin", 6, Some(0o700), Some(0)),
                ("usr/bin/sh", 8, Some(0o644), Some(0)),
                ("usr/bin/x", 11, Some(0o644), Some(0)),
                ("usr/lib", 16, Some(0o644), None),
                // A path leads nowhere.
                ("y", 17, Some(0o644), None),
            ]
        );
    }

    #[test]
    fn each_keyword() {
        let found = listed(
            "./c type=char device=native,5,1 mode=600\n./b type=block device=0x703 time=-5.20\n\
             ./l type=link link=a\\sb uname=root gname=wheel\n./f type=file contents=x/y optional \
             sha256=00ff nlink=3\n./f size=7\n./k type=dir nochange mode=700\n",
        );
        let get = |name: &str| &found.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(get("c").kind, Some(Kind::CharDevice(5, 1)));
        assert_eq!(get("b").kind, Some(Kind::BlockDevice(7, 3)));
        let time = get("b").mtime.unwrap();
        assert_eq!((time.seconds, time.nanoseconds), (-5, 20));
        assert_eq!(get("l").kind, Some(Kind::Symlink(b"a b".to_vec())));
        assert_eq!((get("l").uid, get("l").gid), (Some(0), Some(0)));
        let file = get("f");
        assert_eq!(file.content.as_deref(), Some(&b"x/y"[..]));
        assert_eq!(file.sha256, Some(vec![0, 255]));
        assert_eq!((file.size, file.optional, file.line), (Some(7), true, 4));
        assert_eq!(get("k").mode, None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            (". type=dir\n..\n..\n", "line 3: `..` leads out"),
            ("x uid=4294967295", "line 1: 4294967295 is nobody's number"),
            ("/set sizes=1\nx", "line 1: there is no keyword sizes"),
            ("./../x type=file", "line 1: "),
            ("x type=door", "line 1: there is no type door"),
            ("x mdoe=644", "line 1: there is no keyword mdoe"),
            ("\n\nx uname=joe", "line 3: the number of joe is not said"),
            (
                "x type=char device=freebsd,1,2",
                "line 1: no device of Linux",
            ),
            ("x type=block", "line 1: a device without device="),
            (
                "x type=char device=native,4096,0",
                "line 1: no device of Linux",
            ),
            ("x time=1.1000000000", "line 1: 1000000000 nanoseconds"),
            ("x sha256=abc", "line 1: abc is no digest"),
            ("x\\q type=file", "line 1: x\\\\q has an unknown escape"),
            ("x\\ type=link link=\\", "line 1: x\\\\ ends in the middle"),
        ] {
            let error = format!(
                "{:#}",
                parse(text.as_bytes(), &mut Room(1 << 20)).unwrap_err()
            );
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }

    #[test]
    fn any_bytes_do_no_harm() {
        fn holds(text: Vec<u8>, pieces: Vec<u8>) {
            const PIECES: [&[u8]; 12] = [
                b"/set ",
                b"type=dir",
                b"..",
                b"\n",
                b" ",
                b"a",
                b"./b/c",
                b"\\",
                b"\\040",
                b"device=0x",
                b"time=9999999999999999999",
                b"=",
            ];
            let parts = pieces.iter().map(|&at| PIECES[usize::from(at) % 12]);
            let room = || Room(1 << 20);
            let _ = List::parse(&text, &mut room());
            let _ = parse(&text, &mut room());
            let _ = parse(&parts.collect::<Vec<_>>().concat(), &mut room());
        }
        quickcheck::quickcheck(holds as fn(Vec<u8>, Vec<u8>));
    }

    /// What a short line makes of many names counts.
    #[test]
    fn memory_is_bounded() {
        let set = SAID.map(|key| String::from_utf8_lossy(key).into_owned());
        let names = "/set uid=1\nx\n".repeat(200);
        let text = format!("/set {}\n{names}", set.join("=1 "));
        let said = |room| parse(text.as_bytes(), &mut Room(room)).map_err(|e| format!("{e:#}"));
        let error = said(100 * 1024).unwrap_err();
        assert!(
            error.ends_with("it takes more memory than --memory allows"),
            "{error}"
        );
    }
}
