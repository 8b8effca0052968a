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

/// A longer list is refused, bytes.
const MAX_LEN: u64 = 1 << 30;

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
            // The first name is found to be what the list says.
            (None, _) | (_, Kind::HardLink(_)) => {}
            (Some(listed), found) => {
                let (said, is) = (listed.name(), found.name());
                ensure!(
                    said == is,
                    "line {} of the list says it is a {said}, it is a {is}",
                    self.line
                );
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

/// What a list says, in the order of the names.
#[derive(Debug)]
pub(super) struct List(BTreeMap<Place, Entry>);

impl List {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut text = Vec::new();
        let file = File::open(path).with_context(|| cannot_read(path))?;
        let len = file.take(MAX_LEN).read_to_end(&mut text);
        let len = len.with_context(|| cannot_read(path))?;
        ensure!(
            u64::try_from(len).unwrap_or(u64::MAX) < MAX_LEN,
            "{}: no list is as long as this",
            shown(path)
        );
        Self::parse(&text).with_context(|| shown(path).to_string())
    }

    /// Of either form: a list for gen_init_cpio begins each line with one of six words.
    fn parse(text: &[u8]) -> Result<Self> {
        let first = lines(text).map(|(_, line)| words(line).next().unwrap_or_default());
        let first = first.clone().find(|word| !word.is_empty());
        match first {
            Some(word) if cpio::is_kind(word) => cpio::parse(text, |name| std::env::var_os(name)),
            Some(_) => mtree::parse(text),
            None => bail!("it is empty"),
        }
    }

    fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The last of a name counts; a second line of an mtree adds to the first.
    fn insert(&mut self, path: &[u8], entry: Entry) -> Result<()> {
        ensure!(
            path.len() <= MAX_PATH,
            "a path longer than {MAX_PATH} bytes"
        );
        self.0.insert(Place::new(path)?, entry);
        Ok(())
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Place, &Entry)> {
        self.0.iter()
    }
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
