//! The face: entries come one after another.

use std::fmt;
use std::io::{Read, Seek, Write};

use bytes::Bytes;
use indexmap::IndexMap;

use super::check::checked;
use super::entry::{Metadata, Node, Times};
use super::error::{EntryFault, PackError};
use super::file::FileWriter;
use super::identity::{self, Seekable, ino, stamp};
use super::increment;
use super::names::{InodeId, Kind, NameId, Names, ROOT};
use super::node::{check_node, made};
use super::options::{Identity, Options};
use super::out::{Out, is_handed_down};
use super::queue::Queue;
use super::record::Records;
use super::temporary::{is_temporary, temporary};
use super::work::Step;
use super::write::{Sink, Summary, version};
use crate::prepare::Preparer;
use crate::rules::sums::add;
use crate::rules::xattr::XattrOn;
use crate::send_stream::{Uuid, WriteError, Writer, command};

/// Permissions of a directory that nobody has added.
const IMPLIED_MODE: u32 = 0o755;

/// Writes the UUID where it belongs, in outputs that can do that.
type Stamp<W> = fn(&mut W, u64, &[u64], Uuid, bool) -> Result<(), PackError>;

/// Packs a tree, entry by entry, into the full send stream of a subvolume.
///
/// Entries come in any order, but a hard link after what it is another name of. What is added
/// under a name that is taken replaces what was there, as in an archive; directories stay and get
/// the new metadata. A directory that is not there when something in it is added is made, with mode
/// 0755, for root.
///
/// The stream has the entries in the order in which they came: who wants the same bytes for the
/// same tree adds them in the same order.
pub struct Builder<W> {
    out: Out<W>,
    names: Names,
    options: Options,
    /// What a directory gets when everything in it is there.
    directories: IndexMap<NameId, Late>,
    top: Metadata,
    records: Records,
    /// In an increment: the times of all inodes.
    times: Vec<Times>,
    counts: Counts,
    stamp: Option<Stamp<W>>,
    /// Where the stream begins in an output that is stamped.
    start: u64,
}

/// What has been added; see [`Summary`].
#[derive(Debug, Default)]
struct Counts {
    directories: u64,
    files: u64,
    symlinks: u64,
    hard_links: u64,
    special: u64,
    implied_directories: u64,
    replaced: u64,
    xattrs_left_out: u64,
}

/// What a directory gets at the end.
#[derive(Debug)]
struct Late {
    times: Times,
    /// What would be handed down to whatever is made in it.
    handed_down: Vec<(Bytes, Bytes)>,
}

impl<W> fmt::Debug for Builder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("unfinished", &self.out.unfinished)
            .finish_non_exhaustive()
    }
}

impl<W: Read + Write + Seek + Send + 'static> Builder<W> {
    /// Begins a stream where the output stands: anything to write to and to seek in, a file or a
    /// `Cursor`. With [`Identity::OfContent`] it is read and written again at the end.
    ///
    /// # Errors
    /// [`PackError::Options`], [`PackError::SubvolumeName`], and when the output fails.
    pub fn new(mut output: W, options: Options) -> Result<Self, PackError> {
        let start = output.stream_position()?;
        let uuid = match options.identity {
            Identity::Given(uuid) => Some(uuid),
            Identity::OfContent => None,
        };
        let mut builder = Self::begin(output, options, uuid)?;
        builder.start = start;
        builder.stamp = uuid
            .is_none()
            .then_some(|output, start, places, uuid, plain| {
                let output: &mut dyn Seekable = output;
                stamp(output, start, places, version(plain), uuid)
            });
        Ok(builder)
    }
}

impl<W: Write + Send + 'static> Builder<W> {
    /// Begins a stream that can only be written once, such as a pipe, so its UUID has to be known.
    ///
    /// # Errors
    /// As [`Builder::new`].
    pub fn streaming(output: W, uuid: Uuid, mut options: Options) -> Result<Self, PackError> {
        options.identity = Identity::Given(uuid);
        Self::begin(output, options, Some(uuid))
    }

    fn begin(output: W, options: Options, uuid: Option<Uuid>) -> Result<Self, PackError> {
        let name = &options.subvolume;
        let is_path = name.contains(&b'/') || matches!(&name[..], b"" | b"." | b"..");
        if is_path || name.contains(&0) || name.len() > 255 {
            return Err(PackError::SubvolumeName(name.clone()));
        }
        // Fails here where it would fail on every thread.
        Preparer::new(&options.extents)?;
        let writer = Writer::new(output, version(options.plain))?;
        let mut sink = Sink::new(writer, uuid);
        let mut old = None;
        if let Some(parent) = &options.parent {
            if parent.uuid == Uuid::default() || uuid == Some(parent.uuid) {
                return Err(PackError::ParentUuid(parent.uuid));
            }
            let mut tree = increment::open(parent)?;
            let sector_size = options.extents.target.sector_size;
            sink.change = Some(increment::begin(parent, &mut tree, sector_size));
            old = Some(tree);
        }
        sink.begin(name.clone())?;
        if let Some(old) = &old {
            increment::strip_top(&mut sink, old)?;
        }
        let mut builder = Self {
            out: Out {
                queue: Queue::start(sink, &options)?,
                unfinished: None,
                old,
            },
            names: Names::new(name.len(), options.max_names),
            options,
            directories: IndexMap::new(),
            top: Metadata::new(IMPLIED_MODE),
            records: Records::default(),
            times: Vec::new(),
            counts: Counts::default(),
            stamp: None,
            start: 0,
        };
        let top = builder.top.clone();
        builder.remember(Some(Node::Directory), &top);
        Ok(builder)
    }

    /// Adds something that has no content. The path goes from the top of the tree; slashes at its
    /// ends, double ones, and parts `.` lead nowhere else. An empty path is the top directory.
    ///
    /// # Errors
    /// [`PackError::Entry`] for what cannot stand in the tree, which is then as it was, but for
    /// directories that have been made for it. Anything else ends the work.
    pub fn add(
        &mut self,
        path: impl AsRef<[u8]>,
        node: Node<'_>,
        metadata: &Metadata,
    ) -> Result<(), PackError> {
        let path = path.as_ref();
        self.check_finished()?;
        let entry = |fault| of_entry(path, fault);
        match node {
            Node::Directory => {
                let metadata = self.checked(metadata, XattrOn::Directory).map_err(entry)?;
                return self.add_directory(path, metadata);
            }
            Node::HardLink(target) => return self.add_link(path, target),
            _ => check_node(node).map_err(entry)?,
        }
        let on = match node {
            Node::Symlink(_) => XattrOn::Symlink,
            _ => XattrOn::Special,
        };
        let metadata = self.checked(metadata, on).map_err(entry)?;
        let (path, inode) = self.make(path, Some(node), &metadata)?;
        let sum = match node {
            Node::Symlink(_) => &mut self.counts.symlinks,
            _ => &mut self.counts.special,
        };
        add(sum, 1);
        self.out
            .command(made(&path, ino(inode), node, metadata.mode))?;
        let has_mode = !matches!(node, Node::Symlink(_));
        self.out.describe(&path, &metadata, has_mode)?;
        self.out.utimes(path, metadata.times)
    }

    /// Adds a file and takes its content: what is written to the [`FileWriter`], up to its
    /// `finish`.
    ///
    /// # Errors
    /// As [`Builder::add`].
    pub fn add_file(
        &mut self,
        path: impl AsRef<[u8]>,
        metadata: &Metadata,
    ) -> Result<FileWriter<'_, W>, PackError> {
        let path = path.as_ref();
        self.check_finished()?;
        let metadata = self
            .checked(metadata, XattrOn::File)
            .map_err(|fault| of_entry(path, fault))?;
        let replaced = self.counts.replaced;
        let (path, inode) = self.make(path, None, &metadata)?;
        self.out.unfinished = Some(path.clone());
        // Something may have been written under the name before.
        let is_second =
            self.out.old.is_none() && (self.counts.replaced != replaced || is_temporary(&path));
        let moves_to = is_second.then(|| path.clone());
        let path = match is_second {
            true => self.temporary(inode),
            false => path,
        };
        add(&mut self.counts.files, 1);
        self.out.command(command::MkFile {
            path: path.clone(),
            ino: ino(inode),
        })?;
        let sector_size = self.options.extents.target.sector_size;
        let extent_size = self.options.extents.extent_size;
        Ok(FileWriter::new(
            &mut self.out,
            path,
            moves_to,
            metadata,
            inode,
            sector_size,
            extent_size,
        ))
    }

    /// Ends the stream; gives the output back, and what is in it.
    ///
    /// # Errors
    /// [`PackError::Unfinished`], and when the output fails.
    pub fn finish(mut self) -> Result<(W, Summary), PackError> {
        self.check_finished()?;
        let top = std::mem::take(&mut self.top);
        let mut late = std::mem::take(&mut self.directories);
        let handed_down = self.out.describe(&Bytes::new(), &top, true)?;
        let top = Late {
            times: top.times,
            handed_down,
        };
        late.insert(ROOT, top);
        for (id, directory) in late {
            let path = self.names.path(id);
            self.out.xattrs(&path, directory.handed_down)?;
            self.out.utimes(path, directory.times)?;
        }
        let mut sink = self.out.queue.finish()?;
        let mut changes = None;
        if let Some(old) = &mut self.out.old {
            let (names, records) = (&self.names, &self.records);
            let made = increment::finish(&mut sink, old, names, records, &self.times)?;
            changes = Some(made);
        }
        let Sink {
            writer,
            places,
            sums,
            uuid,
            contents,
            ..
        } = sink;
        let Counts {
            directories,
            files,
            symlinks,
            hard_links,
            special,
            implied_directories,
            replaced,
            xattrs_left_out,
        } = self.counts;
        let (mut output, stream_bytes) = end(writer)?;
        let mut summary = Summary {
            uuid,
            digest: self.records.digest(&self.names, &contents),
            directories,
            files,
            symlinks,
            hard_links,
            special,
            implied_directories,
            replaced,
            xattrs_left_out,
            data: sums.with_holes(changes.map_or(0, |changes| changes.unchanged_bytes)),
            changes,
            stream_bytes,
        };
        if let (Some(stamp), Some(places)) = (self.stamp, places) {
            let parent = self.options.parent.as_ref();
            let parent = parent.map(|parent| (parent.uuid, parent.ctransid));
            summary.uuid = identity::uuid(&self.options.subvolume, &summary.digest, parent);
            let plain = self.options.plain;
            stamp(&mut output, self.start, &places, summary.uuid, plain)?;
        }
        Ok((output, summary))
    }

    fn check_finished(&self) -> Result<(), PackError> {
        match &self.out.unfinished {
            Some(path) => Err(PackError::Unfinished(path.clone())),
            None => Ok(()),
        }
    }

    fn checked(&mut self, metadata: &Metadata, on: XattrOn) -> Result<Metadata, EntryFault> {
        checked(
            metadata,
            on,
            &self.options,
            &mut self.counts.xattrs_left_out,
        )
    }

    /// Makes room for something new under a path: its directories are there, what had the name
    /// is gone. Returns the path in its plain form, and the inode.
    fn make(
        &mut self,
        path: &[u8],
        node: Option<Node<'_>>,
        metadata: &Metadata,
    ) -> Result<(Bytes, InodeId), PackError> {
        let entry = |fault| of_entry(path, fault);
        let parts = self.names.parts(path).map_err(entry)?;
        let (name, directories) = parts.split_last().ok_or(EntryFault::Top).map_err(entry)?;
        let parent = self.directory(path, directories)?;
        self.names.check_room(parent, name).map_err(entry)?;
        let plain = Bytes::from(parts.join(&b'/'));
        self.make_way(path, &plain, parent, name)?;
        let (_, inode) = self.names.make(parent, name, Kind::Other);
        self.remember(node, metadata);
        Ok((plain, inode))
    }

    /// Takes down what is told of the inode made last.
    fn remember(&mut self, node: Option<Node<'_>>, metadata: &Metadata) {
        let xattrs = metadata.xattrs.iter();
        let of_xattrs = xattrs.map(|(name, value)| name.len().saturating_add(value.len()));
        let target = match node {
            Some(Node::Symlink(target)) => target.len(),
            _ => 0,
        };
        self.names
            .remember(of_xattrs.fold(target, usize::saturating_add));
        self.records.add(node, metadata);
        if self.out.old.is_some() {
            self.names.remember(increment::MORE_BYTES);
            self.times.push(metadata.times);
        }
    }

    /// Takes away what has the name, unless that is a directory.
    fn make_way(
        &mut self,
        path: &[u8],
        plain: &Bytes,
        parent: NameId,
        name: &[u8],
    ) -> Result<(), PackError> {
        match self.names.look(parent, name) {
            None => Ok(()),
            Some((_, Kind::Directory, _)) => Err(of_entry(path, EntryFault::IsADirectory)),
            Some((id, Kind::Other, _)) => {
                self.names.remove(id);
                add(&mut self.counts.replaced, 1);
                self.out.command(command::Unlink {
                    path: plain.clone(),
                })?;
                match self.out.old {
                    // Until the end it is only hidden.
                    Some(_) => Ok(()),
                    None => self.out.step(Step::Forget, 0),
                }
            }
        }
    }

    /// A name at the top that nothing has, for as long as a file is being written.
    fn temporary(&self, inode: InodeId) -> Bytes {
        let is_free = |name: &[u8]| self.names.look(ROOT, name).is_none();
        temporary(ino(inode), is_free)
    }

    fn set_times(&mut self, inode: InodeId, times: Times) {
        if let Some(old) = self.times.get_mut(inode as usize) {
            *old = times;
        }
    }

    /// The directory that these parts of a path lead to; made where there is none.
    fn directory(&mut self, path: &[u8], parts: &[&[u8]]) -> Result<NameId, PackError> {
        let mut at = ROOT;
        for (depth, part) in parts.iter().enumerate() {
            at = match self.names.look(at, part) {
                Some((id, Kind::Directory, _)) => id,
                Some((id, Kind::Other, _)) => {
                    let fault = EntryFault::NotADirectory(self.names.path(id));
                    return Err(of_entry(path, fault));
                }
                None => {
                    let entry = |fault| of_entry(path, fault);
                    self.names.check_room(at, part).map_err(entry)?;
                    let made = parts.get(..=depth).unwrap_or_default().join(&b'/');
                    add(&mut self.counts.implied_directories, 1);
                    self.make_directory(made.into(), at, part, Metadata::new(IMPLIED_MODE))?
                }
            };
        }
        Ok(at)
    }

    fn add_directory(&mut self, path: &[u8], metadata: Metadata) -> Result<(), PackError> {
        let entry = |fault| of_entry(path, fault);
        let parts = self.names.parts(path).map_err(entry)?;
        let Some((name, directories)) = parts.split_last() else {
            self.records.replace(0, &metadata);
            self.set_times(0, metadata.times);
            self.top = metadata;
            return Ok(());
        };
        let parent = self.directory(path, directories)?;
        let plain = Bytes::from(parts.join(&b'/'));
        if let Some((id, Kind::Directory, inode)) = self.names.look(parent, name) {
            self.set_times(inode, metadata.times);
            for (xattr_name, _) in self.records.replace(inode, &metadata) {
                let is_late = is_handed_down(&xattr_name);
                if !is_late && metadata.xattrs.iter().all(|(name, _)| *name != xattr_name) {
                    self.out.command(command::RemoveXattr {
                        path: plain.clone(),
                        xattr_name,
                    })?;
                }
            }
            let handed_down = self.out.describe(&plain, &metadata, true)?;
            let late = Late {
                times: metadata.times,
                handed_down,
            };
            self.directories.insert(id, late);
            return Ok(());
        }
        self.names.check_room(parent, name).map_err(entry)?;
        self.make_way(path, &plain, parent, name)?;
        self.make_directory(plain, parent, name, metadata)?;
        Ok(())
    }

    fn make_directory(
        &mut self,
        path: Bytes,
        parent: NameId,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<NameId, PackError> {
        let (id, inode) = self.names.make(parent, name, Kind::Directory);
        self.remember(Some(Node::Directory), &metadata);
        add(&mut self.counts.directories, 1);
        self.out.command(command::MkDir {
            path: path.clone(),
            ino: ino(inode),
        })?;
        let handed_down = self.out.describe(&path, &metadata, true)?;
        let late = Late {
            times: metadata.times,
            handed_down,
        };
        self.directories.insert(id, late);
        Ok(id)
    }

    fn add_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), PackError> {
        let entry = |fault| of_entry(path, fault);
        let parts = self.names.parts(path).map_err(entry)?;
        let (name, directories) = parts.split_last().ok_or(EntryFault::Top).map_err(entry)?;
        let target_parts = self.names.parts(target).map_err(entry)?;
        let shown = || Bytes::copy_from_slice(target);
        let inode = match self.names.find(&target_parts) {
            None => return Err(entry(EntryFault::NoTarget(shown()))),
            Some((_, Kind::Directory, _)) => {
                return Err(entry(EntryFault::DirectoryTarget(shown())));
            }
            Some((_, Kind::Other, inode)) => inode,
        };
        let parent = self.directory(path, directories)?;
        self.names.check_room(parent, name).map_err(entry)?;
        // Two names of one file already.
        let there = self.names.look(parent, name);
        if there.is_some_and(|(_, _, there)| there == inode) {
            return Ok(());
        }
        self.names.check_links(inode).map_err(entry)?;
        let plain = Bytes::from(parts.join(&b'/'));
        self.make_way(path, &plain, parent, name)?;
        self.names.link(parent, name, inode);
        add(&mut self.counts.hard_links, 1);
        self.out.command(command::Link {
            path: plain,
            path_link: target_parts.join(&b'/').into(),
        })
    }
}

/// Ends the stream; gives the output back, and how long the stream is.
fn end<W: Write>(mut writer: Writer<W>) -> Result<(W, u64), WriteError> {
    writer.write_command(&command::End {})?;
    let len = writer.position();
    Ok((writer.finish()?, len))
}

fn of_entry(path: &[u8], fault: EntryFault) -> PackError {
    PackError::Entry {
        path: Bytes::copy_from_slice(path),
        fault,
    }
}
