//! Lists of what is to be packed, so that whoever is not root can say what belongs to root: mtree(5), and
//! what the kernel's gen_init_cpio reads.

mod cpio;
mod mtree;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use btrfs_payload::pack::Times;
use btrfs_payload::send_stream::Timespec;

use super::member::{Kind, Member, Place};
use crate::args::cannot_read;
use crate::output::shown;

/// Longest path, bytes (`PATH_MAX` without the end of the path).
const MAX_PATH: usize = 4095;

/// What a list says of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// Where it says so.
    pub(super) line: u64,
    /// `None` where the directory decides.
    pub(super) kind: Option<Kind>,
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timespec>,
    /// Where the content is in the directory, if not under the same name.
    pub(super) content: Option<Vec<u8>>,
    /// Names with the same one here are names of one file.
    pub(super) group: Option<Vec<u8>>,
    /// What the content has to be.
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<Vec<u8>>,
    pub(super) sha384: Option<Vec<u8>>,
    pub(super) sha512: Option<Vec<u8>>,
    /// It need not be there.
    pub(super) optional: bool,
}

impl Entry {
    /// Makes a member what the list says.
    ///
    /// # Errors
    /// Where it is something else.
    pub(super) fn apply(&self, member: &mut Member) -> Result<()> {
        match (&self.kind, &mut member.kind) {
            // The first name was what the list says.
            (None, _) | (_, Kind::HardLink(_)) => {}
            (Some(listed), found) => {
                let (said, is) = (listed.name(), found.name());
                if said != is {
                    let line = self.line;
                    let differs =
                        format!("line {line} of the list says it is a {said}, it is a {is}");
                    return Err(Differs(differs).into());
                }
                found.clone_from(listed);
            }
        }
        let metadata = &mut member.metadata;
        metadata.mode = self.mode.unwrap_or(metadata.mode);
        metadata.uid = self.uid.unwrap_or(metadata.uid);
        metadata.gid = self.gid.unwrap_or(metadata.gid);
        if let Some(mtime) = self.mtime {
            metadata.times = Times::all(mtime);
        }
        Ok(())
    }
}

/// What is packed is not what the list says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Differs(pub(super) String);

/// Bytes of memory that a list may take yet.
struct Room(u64);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let left = self.0.checked_sub(bytes);
        self.0 = left.context("it takes more memory than --memory allows")?;
        Ok(())
    }

    /// For a name, and so many keywords that are said of it: what is measured, and a little more.
    fn take_name(&mut self, path: &[u8], keywords: usize) -> Result<()> {
        self.take(path.len().saturating_add(1024))?;
        self.take(keywords.saturating_mul(64))
    }
}

/// What a list says, in the order of the names.
#[derive(Debug)]
pub(super) struct List(BTreeMap<Place, Entry>);

impl List {
    /// A list that takes so much memory at the most, bytes.
    pub(super) fn read(path: &Path, memory: u64) -> Result<Self> {
        // Beside the text there is at most one line in words, which are 16 bytes for each two.
        let most = memory / 9;
        let mut text = Vec::new();
        let file = File::open(path).with_context(|| cannot_read(path))?;
        let len = file.take(most.saturating_add(1)).read_to_end(&mut text);
        let len = len.with_context(|| cannot_read(path))?;
        let mut room = Room(memory);
        room.take(len.saturating_mul(9))
            .and_then(|()| Self::parse(&text, &mut room))
            .with_context(|| shown(path).to_string())
    }

    /// Of either form: a list for gen_init_cpio begins each line with one of six words.
    fn parse(text: &[u8], room: &mut Room) -> Result<Self> {
        let first = lines(text).map(|(_, line)| words(line).next().unwrap_or_default());
        let first = first.clone().find(|word| !word.is_empty());
        match first {
            Some(word) if cpio::is_kind(word) => {
                cpio::parse(text, room, |name| std::env::var_os(name))
            }
            Some(_) => mtree::parse(text, room),
            None => bail!("it is empty"),
        }
    }

    fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Place, &Entry)> {
        self.0.iter()
    }
}

fn place(path: &[u8]) -> Result<Place> {
    let most = MAX_PATH;
    ensure!(path.len() <= most, "a path longer than {most} bytes");
    Ok(Place::new(path)?)
}

/// Lines with their numbers, without comments.
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, &[u8])> + Clone {
    let lines = (1_u64..).zip(text.split(|&byte| byte == b'\n'));
    lines.filter(|(_, line)| line.trim_ascii_start().first() != Some(&b'#'))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = line.split(|byte| byte.is_ascii_whitespace());
    words.filter(|word| !word.is_empty())
}

/// What was read, for a message: no more than is of use.
fn brief(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    match bytes.get(..MOST) {
        None => bytes.escape_ascii().to_string(),
        Some(begun) => format!("{}...", begun.escape_ascii()),
    }
}

/// A number in this base.
fn number<T: TryFrom<u64>>(word: &[u8], base: u32) -> Result<T> {
    let digits = str::from_utf8(word)
        .ok()
        .filter(|word| !word.starts_with('+'));
    let number = digits.and_then(|digits| u64::from_str_radix(digits, base).ok());
    number
        .and_then(|number| T::try_from(number).ok())
        .with_context(|| format!("{} is not a number that may stand here", brief(word)))
}

fn permissions(word: &[u8]) -> Result<u32> {
    let mode = number(word, 8)?;
    ensure!(mode <= 0o7777, "{mode:o} are no permissions");
    Ok(mode)
}

/// The largest number is nobody's: chown(2) takes it for "leave it as it is".
fn owner_number(word: &[u8]) -> Result<u32> {
    let id = number(word, 10)?;
    ensure!(id != u32::MAX, "{id} is nobody's number");
    Ok(id)
}
