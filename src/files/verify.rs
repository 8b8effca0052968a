//! A scrub that decodes: every compressed extent is read once, as it is stored, and judged.
//!
//! A scrub of btrfs compares checksums, and a wrong payload has a right one. Encoded reads give the
//! whole extent, whatever part of it a file shows, so each is read through the first file that
//! shows it, and through another where that has changed meanwhile. Inline extents are in the tree
//! with the files' other items, and are judged there. What is not compressed has nothing to decode.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use super::error::FilesError;
use super::item::{FileExtentItem, Stored};
use super::map::{Extent, Map};
use super::scope::Piece;
use super::stored::{Bytes, ExtentReader};
use crate::ioctl::{self, Items, Key, QueryError};
use crate::pipeline;
use crate::rules::sums::add;
use crate::rules::{EncodedIoId, ExtentFields, Target};
use crate::validate::{Finding, Report, Severity, Validator};

/// Where an extent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Where {
    /// In sectors of its own; [`super::Names`] says what shows it.
    Regular {
        /// Its address (`disk_bytenr`).
        bytenr: u64,
    },
    /// In the metadata, with the file that shows it.
    Inline {
        /// The subvolume.
        root: u64,
        /// The inode in it.
        inode: u64,
    },
}

/// An extent in which something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsound {
    /// Where it is.
    pub place: Where,
    /// What is wrong with it. `unreadable-extent` where the kernel does not hand it out: its
    /// checksum is wrong, or the device fails. Warnings only, where every kernel reads it.
    pub report: Report,
}

/// What happens while extents are verified.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Something was found: by address, and after all regular extents the inline ones by file.
    Found(Unsound),
    /// This many bytes on disk more are done.
    Progress(u64),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Regular compressed extents that were read and judged, or could not be read.
    pub extents: u64,
    /// Bytes that they have on disk.
    pub disk_bytes: u64,
    /// Bytes that they decode to.
    pub ram_bytes: u64,
    /// Inline compressed extents that were judged.
    pub inline: u64,
    /// Of all of these, those with an error.
    pub unsound: u64,
    /// Of those, the ones that the kernel did not hand out.
    pub unreadable: u64,
    /// Those with no error but a warning.
    pub with_warnings: u64,
    /// Extents that nobody showed any more when their turn came.
    pub gone: u64,
    /// The caller has had enough before the end.
    pub stopped: bool,
}

impl Verified {
    fn add(&mut self, part: &Self) {
        add(&mut self.extents, part.extents);
        add(&mut self.disk_bytes, part.disk_bytes);
        add(&mut self.ram_bytes, part.ram_bytes);
        add(&mut self.inline, part.inline);
        add(&mut self.unsound, part.unsound);
        add(&mut self.unreadable, part.unreadable);
        add(&mut self.with_warnings, part.with_warnings);
        add(&mut self.gone, part.gone);
    }
}

/// Reads, decodes and judges every compressed extent of a map, on `jobs` threads, whatever is
/// written to the filesystem meanwhile. `each` hears of what is found, in an order that does not
/// depend on `jobs`, and may end it. Needs `CAP_SYS_ADMIN`.
///
/// An extent is judged for its place on disk: a regular one never for what it would be if it were
/// inline. Memory: some 1 MiB per job, and a few reports.
///
/// # Errors
/// [`FilesError`]. What cannot be read because it is damaged is no error but a finding.
pub fn verify(
    map: &Map,
    jobs: NonZeroUsize,
    mut each: impl FnMut(Event) -> ControlFlow<()>,
) -> Result<Verified, FilesError> {
    // References and names are those of the last transaction.
    rustix::fs::syncfs(map.top()).map_err(|errno| {
        FilesError::Query(QueryError::Call {
            call: "syncfs",
            source: errno.into(),
        })
    })?;
    let mut total = Verified::default();
    let mut source = Source::new(map);
    let result = pipeline::ordered(
        jobs,
        || source.next().map_err(End::Failed),
        || {
            let mut worker = Worker::new(map);
            Ok(move |work| worker.judge(work))
        },
        |done: Result<Done, FilesError>| {
            let done = done.map_err(End::Failed)?;
            total.add(&done.sums);
            let found = done.found.into_iter().map(Event::Found);
            for event in found.chain([Event::Progress(done.sums.disk_bytes)]) {
                if each(event).is_break() {
                    return Err(End::Stopped);
                }
            }
            Ok(())
        },
    );
    match result {
        Ok(()) => Ok(total),
        Err(End::Stopped) => {
            total.stopped = true;
            Ok(total)
        }
        Err(End::Failed(error)) => Err(error),
    }
}

/// Why it ends before the end.
enum End {
    Stopped,
    Failed(FilesError),
}

/// What a worker takes at a time: a few extents, so that what is found in them is bounded too.
enum Work<'a> {
    Regular(Vec<&'a Extent>),
    Inline(Vec<Inline>),
}

/// An inline extent as the tree has it.
struct Inline {
    root: u64,
    inode: u64,
    item: FileExtentItem,
    payload: Vec<u8>,
}

/// What was found in one piece of work.
#[derive(Default)]
struct Done {
    sums: Verified,
    found: Vec<Unsound>,
}

/// Decoded bytes of regular extents in one piece of work, about.
const WORK: u64 = 512 * 1024;
/// Extents in one piece of work.
const WORK_EXTENTS: usize = 16;

/// Hands out work: regular extents by address, then inline ones by subvolume and file.
struct Source<'a> {
    regular: std::slice::Iter<'a, Extent>,
    pieces: std::slice::Iter<'a, Piece>,
    items: Items<BorrowedFd<'a>>,
    /// The subvolume whose items are being read.
    root: u64,
}

impl<'a> Source<'a> {
    fn new(map: &'a Map) -> Self {
        let has_inline = map.inline.keys().any(|&(_, compression)| compression > 0);
        let pieces = if has_inline { map.read() } else { &[] };
        let none = Key::first_of(1)..=Key::first_of(0);
        Self {
            regular: map.extents().iter(),
            pieces: pieces.iter(),
            items: ioctl::items(map.top().as_fd(), 0, none).buffer_of(256 * 1024),
            root: 0,
        }
    }

    fn next(&mut self) -> Result<Option<Work<'a>>, FilesError> {
        let regular = self.next_regular();
        if !regular.is_empty() {
            return Ok(Some(Work::Regular(regular)));
        }
        let inline = self.next_inline()?;
        Ok((!inline.is_empty()).then_some(Work::Inline(inline)))
    }

    fn next_regular(&mut self) -> Vec<&'a Extent> {
        let mut work = Vec::new();
        let mut bytes = 0;
        while bytes < WORK && work.len() < WORK_EXTENTS {
            let compressed = self.regular.by_ref();
            let Some(extent) = compressed.find(|it| it.compression.0 != 0 && !it.preallocated)
            else {
                break;
            };
            add(&mut bytes, extent.ram_bytes);
            work.push(extent);
        }
        work
    }

    fn next_inline(&mut self) -> Result<Vec<Inline>, FilesError> {
        let mut work = Vec::new();
        while work.len() < WORK_EXTENTS {
            let item = match self.items.next_item() {
                Ok(item) => item,
                // A subvolume that was deleted meanwhile.
                Err(QueryError::Gone { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let Some(found) = item else {
                let Some(piece) = self.pieces.next() else {
                    break;
                };
                let keys = Key::first_of(piece.first)..=Key::last_of(piece.last);
                self.root = piece.root;
                self.items.restart(piece.root, keys);
                continue;
            };
            if found.key.item_type != Key::EXTENT_DATA {
                continue;
            }
            let Some(item) = FileExtentItem::parse(found.bytes) else {
                continue;
            };
            if item.stored == Stored::Inline && item.compression.0 != 0 {
                work.push(Inline {
                    root: self.root,
                    inode: found.key.objectid,
                    item,
                    payload: FileExtentItem::inline_bytes(found.bytes).to_vec(),
                });
            }
        }
        Ok(work)
    }
}

/// Reads and judges; keeps decoders, buffers and the last file.
struct Worker<'a> {
    reader: ExtentReader<'a>,
    validator: Validator,
    target: Target,
}

impl<'a> Worker<'a> {
    fn new(map: &'a Map) -> Self {
        let filesystem = &map.filesystem;
        Self {
            reader: ExtentReader::new(map),
            validator: Validator::new(),
            target: Target::new(filesystem.sector_size).node_size(filesystem.node_size),
        }
    }

    fn judge(&mut self, work: Work<'_>) -> Result<Done, FilesError> {
        let mut done = Done::default();
        match work {
            Work::Regular(extents) => {
                for extent in extents {
                    self.judge_regular(extent, &mut done)?;
                }
            }
            Work::Inline(extents) => {
                for extent in &extents {
                    add(&mut done.sums.inline, 1);
                    let report = self.judge_inline(extent);
                    let &Inline { root, inode, .. } = extent;
                    done.add(Where::Inline { root, inode }, report);
                }
            }
        }
        Ok(done)
    }

    fn judge_regular(&mut self, extent: &Extent, done: &mut Done) -> Result<(), FilesError> {
        let report = match self.reader.read(extent)? {
            None => {
                add(&mut done.sums.gone, 1);
                return Ok(());
            }
            Some(Bytes::Payload(payload, fields, has_checksums)) => {
                let ExtentFields {
                    len,
                    unencoded_offset,
                    ..
                } = fields;
                // All that is before the shown part is decoded with it.
                let fields = ExtentFields {
                    len: unencoded_offset.saturating_add(len),
                    unencoded_offset: 0,
                    ..fields
                };
                // Not at the start of a file, where it could be inline.
                let target = self.target.at(self.target.sector_size.into());
                let mut report = self.validator.validate_on_disk(payload, &fields, &target);
                if !has_checksums {
                    report.add(without_checksums());
                }
                report
            }
            Some(Bytes::Unreadable(finding)) => {
                add(&mut done.sums.unreadable, 1);
                Report::from_iter([finding])
            }
        };
        add(&mut done.sums.extents, 1);
        add(&mut done.sums.disk_bytes, extent.disk_bytes);
        add(&mut done.sums.ram_bytes, extent.ram_bytes);
        let bytenr = extent.bytenr;
        done.add(Where::Regular { bytenr }, report);
        Ok(())
    }

    fn judge_inline(&mut self, inline: &Inline) -> Report {
        let sector_size = self.target.sector_size;
        let compression = inline.item.compression.encoded_io(sector_size);
        // A type without a meaning keeps its number, which has none in the ioctl either.
        let unknown = || EncodedIoId(u32::from(inline.item.compression.0).saturating_add(8));
        let compression = compression.unwrap_or_else(unknown);
        let fields = ExtentFields::whole(inline.item.ram_bytes, compression);
        let target = self.target.max_inline(sector_size);
        let payload = &inline.payload;
        self.validator.validate_on_disk(payload, &fields, &target)
    }
}

impl Done {
    fn add(&mut self, place: Where, report: Report) {
        if report.count(Severity::Error) > 0 {
            add(&mut self.sums.unsound, 1);
        } else if report.count(Severity::Warning) > 0 {
            add(&mut self.sums.with_warnings, 1);
        } else {
            return;
        }
        self.found.push(Unsound { place, report });
    }
}

/// Of a file with NODATASUM or NODATACOW.
fn without_checksums() -> Finding {
    Finding::new(
        "compressed-without-checksums",
        Severity::Warning,
        "the extent is compressed, and the file has no checksums (NODATASUM)",
    )
}
