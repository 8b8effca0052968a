//! Reading the streams of a chain, one after the other.

use std::collections::HashMap;

use bytes::Bytes;

use super::data::Place;
use super::error::TreeError;
use super::follow::{BYTES_PER_NAME, Data, Follower, Memory};
use super::names::Tree;
use crate::rules::Target;
use crate::send_stream::{Command, RawCommand, Reader, Skimmed, Skip, Uuid, Version, command};
use crate::transform::{self, Escaped, Order, Subvolumes, Way};
use crate::validate::Severity::Error;

/// How streams are read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Memory that the trees may take, bytes: [`BYTES_PER_NAME`] and more for each name,
    /// [`BYTES_PER_EXTENT`](super::BYTES_PER_EXTENT) for each extent. It is taken for what comes.
    pub max_memory: u64,
    /// Bytes that a command may have.
    pub max_command_len: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_memory: 1 << 30,
            max_command_len: crate::send_stream::format::MAX_COMMAND_LEN,
        }
    }
}

/// Where data is read from: an input, and the version of a stream in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// Inputs read before it.
    pub input: usize,
    /// The version.
    pub version: Version,
}

/// A subvolume that a stream has made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Subvolume {
    /// Its name.
    pub name: Bytes,
    /// Its identity, by which others name it.
    pub uuid: Uuid,
    /// Transaction of its last change at the sender.
    pub ctransid: u64,
    /// The subvolume it began as.
    pub parent: Option<Parent>,
    /// Number of the input that it is in.
    pub input: usize,
    /// What is in it.
    pub tree: Tree,
}

/// The parent of a subvolume, as its stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parent {
    /// Its identity.
    pub uuid: Uuid,
    /// Transaction of its last change, as the increment was made from it.
    pub ctransid: u64,
    /// Transaction of its last change, as its own stream says. Where that differs, the parent was
    /// changed in between, or its stream comes from another machine.
    pub got: u64,
}

/// The subvolumes that a chain of streams makes: a full one and its increments.
///
/// ```
/// use std::io::Cursor;
/// use btrfs_payload::send_stream::{Uuid, Version, Writer, command};
/// use btrfs_payload::tree::{Chain, Options};
///
/// let mut writer = Writer::new(Vec::new(), Version::V1)?;
/// writer.write_command(&command::Subvol { path: "s".into(), uuid: Uuid([1; 16]), ctransid: 7 })?;
/// writer.write_command(&command::MkFile { path: "a".into(), ino: 257 })?;
/// writer.write_data(&"a".into(), 0, b"hello")?;
/// let stream = writer.finish()?;
///
/// let mut chain = Chain::new(Options::default());
/// chain.read(Cursor::new(&stream))?;
/// let subvolume = chain.result(None)?;
/// assert_eq!(subvolume.tree.at(b"a").unwrap().size(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Chain {
    options: Options,
    order: Order,
    subvolumes: Vec<Subvolume>,
    by_uuid: HashMap<Uuid, usize>,
    sources: Vec<Source>,
    inputs: usize,
    memory: Memory,
    /// In the tree of the last subvolume.
    way: Way,
}

impl Chain {
    /// Of no stream yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let each = BYTES_PER_NAME.saturating_add(transform::BYTES_PER_NAME);
        let names = options.max_memory.checked_div(each).unwrap_or(0);
        let names = usize::try_from(names).unwrap_or(usize::MAX);
        Self {
            order: Order::new(Subvolumes::default(), Target::default(), names),
            memory: Memory {
                used: 0,
                limit: options.max_memory,
            },
            options,
            subvolumes: Vec::new(),
            by_uuid: HashMap::new(),
            sources: Vec::new(),
            inputs: 0,
            way: Way::default(),
        }
    }

    /// Reads the next input: one stream or several. Data is passed over.
    ///
    /// # Errors
    /// [`TreeError`]; the chain is of no use after one.
    pub fn read(&mut self, input: impl Skip) -> Result<(), TreeError> {
        let mut reader = Reader::new(input).max_command_len(self.options.max_command_len);
        let number = self.inputs;
        self.inputs = number.saturating_add(1);
        let mut stream = None;
        while let Some(skimmed) = reader.skim_command()? {
            self.take(&skimmed, number, &mut stream)?;
        }
        self.order.next_input();
        Ok(())
    }

    /// The subvolumes, in the order of the streams.
    #[must_use]
    pub fn subvolumes(&self) -> &[Subvolume] {
        &self.subvolumes
    }

    /// Where data is, as [`Place::source`] names it.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The subvolume of this name or UUID; without one, the last, to which all others have to lead
    /// as parents of parents.
    ///
    /// # Errors
    /// [`TreeError::NoSubvolume`], [`TreeError::Several`], [`TreeError::NoSuchSubvolume`].
    pub fn result(&self, name: Option<&[u8]>) -> Result<&Subvolume, TreeError> {
        let last = self.subvolumes.last().ok_or(TreeError::NoSubvolume)?;
        let Some(name) = name else {
            return match self.lead_to(last) {
                true => Ok(last),
                false => Err(TreeError::Several {
                    names: self.names(),
                }),
            };
        };
        let is_it = |subvolume: &&Subvolume| {
            subvolume.name == name || subvolume.uuid.to_string().as_bytes() == name
        };
        let found = self.subvolumes.iter().rev().find(is_it);
        found.ok_or_else(|| TreeError::NoSuchSubvolume {
            name: Bytes::copy_from_slice(name),
            names: self.names(),
        })
    }

    /// True where all subvolumes are parents of parents of this one.
    fn lead_to(&self, last: &Subvolume) -> bool {
        let parent = |subvolume: &&Subvolume| {
            let &number = self.by_uuid.get(&subvolume.parent?.uuid)?;
            self.subvolumes.get(number)
        };
        let lineage = std::iter::successors(Some(last), parent);
        lineage.take(self.subvolumes.len()).count() == self.subvolumes.len()
    }

    fn names(&self) -> String {
        let names = self.subvolumes.iter().map(|subvolume| {
            let Subvolume { name, uuid, .. } = subvolume;
            format!("{} ({uuid})", Escaped(name))
        });
        names.collect::<Vec<_>>().join(", ")
    }

    fn take(
        &mut self,
        skimmed: &Skimmed,
        input: usize,
        stream: &mut Option<u64>,
    ) -> Result<(), TreeError> {
        let raw = &skimmed.raw;
        let offset = raw.offset();
        if skimmed.damaged == Some(true) {
            return Err(TreeError::Damaged { offset });
        }
        let command = Command::parse(raw)?;
        if stream.replace(raw.stream()) != Some(raw.stream()) {
            self.add_source(input, raw.version());
        }
        let data = data_of(&command, skimmed, self.sources.len());
        self.judge(raw, &command, data)?;
        let memory = TreeError::Memory {
            offset,
            limit: self.options.max_memory,
        };
        match &command {
            Command::Subvol(c) => {
                let begun = Subvolume {
                    name: Bytes::copy_from_slice(&c.path),
                    uuid: c.uuid,
                    ctransid: c.ctransid,
                    parent: None,
                    input,
                    tree: Tree::new(),
                };
                self.begin(begun).ok_or(memory)
            }
            Command::Snapshot(c) => {
                let begun = self.snapshot(c, input, offset)?;
                self.begin(begun).ok_or(memory)
            }
            command => self.follow(command, data, offset)?.ok_or(memory),
        }
    }

    fn add_source(&mut self, input: usize, version: Version) {
        let source = Source { input, version };
        if self.sources.last() != Some(&source) {
            self.sources.push(source);
        }
    }

    /// What a receiver would fail at ends it.
    fn judge(
        &mut self,
        raw: &RawCommand,
        command: &Command,
        data: Option<Data>,
    ) -> Result<(), TreeError> {
        let mut findings = Vec::new();
        // What a write does to names and sizes, an encoded one of as many bytes does too.
        let stand_in = match (command, data) {
            (Command::Write(c), Some(data)) => Some(Command::from(command::EncodedWrite {
                path: c.path.clone(),
                file_offset: c.file_offset,
                unencoded_file_len: data.len,
                unencoded_len: data.len,
                unencoded_offset: 0,
                compression: None,
                encryption: None,
                data: Bytes::new(),
            })),
            _ => None,
        };
        let command = stand_in.as_ref().unwrap_or(command);
        self.order.follow(raw, command, &mut findings);
        for finding in findings {
            if finding.code == "order-unchecked" {
                return Err(TreeError::Memory {
                    offset: raw.offset(),
                    limit: self.options.max_memory,
                });
            }
            if finding.severity == Error {
                return Err(TreeError::Refused(Box::new(finding)));
            }
        }
        Ok(())
    }

    fn snapshot(
        &self,
        c: &command::Snapshot,
        input: usize,
        offset: u64,
    ) -> Result<Subvolume, TreeError> {
        let parent = self.by_uuid.get(&c.clone_uuid);
        let parent = parent.and_then(|&number| self.subvolumes.get(number));
        let Some(parent) = parent else {
            return Err(TreeError::NoParent {
                offset,
                name: Bytes::copy_from_slice(&c.path),
                parent: c.clone_uuid,
                ctransid: c.clone_ctransid,
            });
        };
        Ok(Subvolume {
            name: Bytes::copy_from_slice(&c.path),
            uuid: c.uuid,
            ctransid: c.ctransid,
            parent: Some(Parent {
                uuid: c.clone_uuid,
                ctransid: c.clone_ctransid,
                got: parent.ctransid,
            }),
            input,
            tree: parent.tree.clone(),
        })
    }

    fn begin(&mut self, subvolume: Subvolume) -> Option<()> {
        self.by_uuid.insert(subvolume.uuid, self.subvolumes.len());
        self.memory.take_subvolume()?;
        self.way.forget();
        self.subvolumes.push(subvolume);
        Some(())
    }

    /// Follows a command in the subvolume that is being made; `None` where the memory does not do.
    fn follow(
        &mut self,
        command: &Command,
        data: Option<Data>,
        offset: u64,
    ) -> Result<Option<()>, TreeError> {
        let Some((own, earlier)) = self.subvolumes.split_last_mut() else {
            return Ok(Some(()));
        };
        let source = match command {
            Command::Clone(c) if c.clone_uuid != own.uuid => {
                let &number = self.by_uuid.get(&c.clone_uuid).unwrap_or(&usize::MAX);
                let source = earlier
                    .get(number)
                    .ok_or_else(|| TreeError::NoCloneSource {
                        offset,
                        path: Bytes::copy_from_slice(&c.path),
                        uuid: c.clone_uuid,
                    })?;
                Some(&source.tree)
            }
            _ => None,
        };
        let mut follower = Follower {
            tree: &mut own.tree,
            memory: &mut self.memory,
            way: &mut self.way,
            is_increment: own.parent.is_some(),
        };
        Ok(follower.follow(command, data, source))
    }
}

/// Where the data of a command is, of the source added last.
fn data_of(command: &Command, skimmed: &Skimmed, sources: usize) -> Option<Data> {
    let data = skimmed.data.as_ref()?;
    let (encoded, len) = match command {
        Command::EncodedWrite(c) => (true, c.unencoded_file_len),
        _ => (false, data.end.saturating_sub(data.start)),
    };
    Some(Data {
        len,
        place: Place {
            command: skimmed.raw.offset(),
            command_len: u32::try_from(skimmed.len).unwrap_or(u32::MAX),
            skip: 0,
            source: u32::try_from(sources.saturating_sub(1)).unwrap_or(u32::MAX),
            encoded,
            cloned: false,
        },
    })
}
