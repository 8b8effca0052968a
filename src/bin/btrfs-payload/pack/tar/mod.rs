//! Members of tar archives: ustar, pax, GNU long names, sparse files, extended attributes.
//!
//! The crate `tar` has the layout of the headers. What comes between headers is read here: that
//! crate holds names and records of any length in memory, takes a line feed in an extended
//! attribute for the end of its record, and knows no sparse files in pax.

mod acl;
mod header;
mod pax;
mod sparse;

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use btrfs_payload::pack::Metadata;

use self::header::{Block, Fields};
use self::pax::Records;
use super::compressed::decompressed;
use super::member::{Kind, Member};
use super::packing::Packing;
use super::sparse_map::Map;

/// Bytes of a header, and what everything is filled up to.
const BLOCK: u64 = 512;

/// Bytes that the records of a member, or a long name, may have: several of the largest
/// attributes that Linux takes (64 KiB each).
const MAX_RECORDS: u64 = 1 << 20;

/// Adds everything in an archive, compressed or not.
pub(in super::super) fn add(input: impl Read, packing: &mut Packing<'_>) -> Result<()> {
    let mut archive = Archive::new(decompressed(input)?);
    while let Some(Found { member, sparse }) = archive.next()? {
        let shown = member.path.escape_ascii().to_string();
        let len = archive.left;
        let added = packing.add_member(member, sparse, archive.content(), len);
        added.with_context(|| shown)?;
    }
    Ok(())
}

/// An archive, member by member.
struct Archive<R> {
    input: R,
    /// Bytes of the present member that have not been read, and what fills its last block.
    left: u64,
    padding: u64,
    /// Records that hold for all members from there on.
    global: Records,
    /// Members so far.
    count: u64,
    /// There is a header at least.
    begun: bool,
}

/// A member and what its content is made of.
struct Found {
    member: Member,
    /// Where data stands, in a file that is not whole in the archive.
    sparse: Option<Map>,
}

impl<R: BufRead> Archive<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
            global: Records::default(),
            count: 0,
            begun: false,
        }
    }

    /// The next member; `None` at the end of the archive.
    fn next(&mut self) -> Result<Option<Found>> {
        let (mut name, mut link) = (None, None);
        let mut records = Records::default();
        loop {
            self.skip_rest()?;
            let Some(block) = self.header()? else {
                ensure!(
                    name.is_none() && link.is_none() && records.is_empty(),
                    "the archive ends after a name that no member follows"
                );
                return Ok(None);
            };
            let fields = Fields::new(&block);
            let kind = fields.kind();
            let is_about_next = matches!(kind, b'x' | b'g' | b'L' | b'K' | b'X');
            let size = fields.size()?;
            if is_about_next {
                self.begin(size)?;
                match kind {
                    b'L' => name = Some(self.text()?),
                    b'K' => link = Some(self.text()?),
                    b'g' => {
                        let text = self.records()?;
                        self.global.add(&text).context("global records")?;
                    }
                    _ => {
                        let text = self.records()?;
                        records.add(&text)?;
                    }
                }
                continue;
            }
            self.count = self.count.saturating_add(1);
            let records = self.global.with(&records);
            let path = records
                .sparse_name()
                .or(records.path())
                .map(<[u8]>::to_vec)
                .or(name.take())
                .unwrap_or_else(|| fields.path());
            let shown = path.escape_ascii().to_string();
            let found = self.member(&fields, &records, path, link.take(), size);
            return found.with_context(|| shown).map(Some);
        }
    }

    fn member(
        &mut self,
        fields: &Fields<'_>,
        records: &Records,
        path: Vec<u8>,
        link: Option<Vec<u8>>,
        size: u64,
    ) -> Result<Found> {
        let mut size = records.size()?.unwrap_or(size);
        let link = || {
            records
                .link_path()
                .map(<[u8]>::to_vec)
                .or(link)
                .unwrap_or_else(|| fields.link())
        };
        let kind = match fields.kind() {
            // Before ustar a slash at the end made the directory.
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'5' | b'D' => Kind::Directory,
            b'2' => Kind::Symlink(link()),
            b'1' => Kind::HardLink(link()),
            b'3' | b'4' => {
                let (major, minor) = fields.device()?;
                if fields.kind() == b'3' {
                    Kind::CharDevice(major, minor)
                } else {
                    Kind::BlockDevice(major, minor)
                }
            }
            b'6' => Kind::Fifo,
            other => bail!(
                "a member of type '{}' is not read here",
                char::from(other).escape_default()
            ),
        };
        match kind {
            Kind::File => {}
            // Archivers give it the size of the file, whose content is elsewhere.
            Kind::HardLink(_) => size = 0,
            // GNU tar's list of what is in it.
            Kind::Directory if fields.kind() == b'D' => {}
            // Readers do not agree on whether content follows.
            _ => ensure!(size == 0, "it has a size of {size} bytes, and is no file"),
        }
        let gnu = match fields.kind() {
            b'S' => Some(sparse::of_gnu(fields, size, &mut self.input)?),
            _ => None,
        };
        self.begin(size)?;
        let sparse = match gnu {
            None if kind == Kind::File => self.sparse_of_pax(records)?,
            gnu => gnu,
        };
        let metadata = metadata(fields, records, &kind)?;
        Ok(Found {
            member: Member {
                path,
                kind,
                metadata,
            },
            sparse,
        })
    }

    /// What records say of a sparse file; its map may stand before its data.
    fn sparse_of_pax(&mut self, records: &Records) -> Result<Option<Map>> {
        let Some(real_size) = records.sparse_size()? else {
            return Ok(None);
        };
        let map = match records.sparse_map()? {
            Some(map) => map,
            None => {
                let mut content = Content { archive: self };
                sparse::in_data(&mut content)?
            }
        };
        Map::new(map, real_size, self.left).map(Some)
    }

    /// A header; `None` at the end: a block of zeroes, or no more bytes.
    fn header(&mut self) -> Result<Option<Block>> {
        let mut block: Block = [0; 512];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) if filled == 0 => {
                    ensure!(self.begun, "there is nothing in it");
                    return Ok(None);
                }
                Ok(0) => bail!("the archive ends inside a header"),
                Ok(got) => filled = filled.saturating_add(got),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if block.iter().all(|&byte| byte == 0) {
            // What may come after is not the archive's. A pipe is read to its end all the same, so
            // that whoever writes it does not fail.
            io::copy(&mut self.input, &mut io::sink())?;
            return Ok(None);
        }
        if !header::is_right(&block) {
            if !self.begun {
                bail!("it is no tar archive: the checksum of the first header is wrong");
            }
            bail!(
                "the checksum of the header after member {} is wrong",
                self.count
            );
        }
        self.begun = true;
        Ok(Some(block))
    }

    fn begin(&mut self, size: u64) -> Result<()> {
        ensure!(
            i64::try_from(size).is_ok(),
            "a size of {size} bytes is none of a file"
        );
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK).saturating_sub(size);
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        ensure!(skipped == rest, "the archive ends inside a member");
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// A long name: up to the zero byte.
    fn text(&mut self) -> Result<Vec<u8>> {
        let mut text = self.records()?;
        let end = text.iter().position(|&byte| byte == 0);
        text.truncate(end.unwrap_or(text.len()));
        Ok(text)
    }

    fn records(&mut self) -> Result<Vec<u8>> {
        ensure!(
            self.left <= MAX_RECORDS,
            "names and attributes of a member have {} bytes; at most {MAX_RECORDS} are read",
            self.left
        );
        let mut bytes = Vec::new();
        Content { archive: self }.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What there is of the present member's content.
    fn content(&mut self) -> Content<'_, R> {
        Content { archive: self }
    }
}

/// The bytes of a member. That the archive ends before they do is an error.
struct Content<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Archive { input, left, .. } = &mut *self.archive;
        let room = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(buffer) = buffer.get_mut(..room).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        let got = input.read(buffer)?;
        if got == 0 {
            return Err(io::Error::other("the archive ends inside a member"));
        }
        *left = left.saturating_sub(got as u64);
        Ok(got)
    }
}

fn metadata(fields: &Fields<'_>, records: &Records, kind: &Kind) -> Result<Metadata> {
    let mut metadata = Metadata::new(fields.mode()?);
    metadata.uid = match records.number("uid")? {
        Some(uid) => uid,
        None => fields.uid()?,
    };
    metadata.gid = match records.number("gid")? {
        Some(gid) => gid,
        None => fields.gid()?,
    };
    let mtime = match records.time("mtime")? {
        Some(time) => time,
        None => fields.mtime()?,
    };
    let or_mtime = |time: Option<_>| time.unwrap_or(mtime);
    metadata.times.mtime = mtime;
    metadata.times.atime = or_mtime(records.time("atime")?);
    metadata.times.ctime = or_mtime(records.time("ctime")?);
    metadata.times.otime = or_mtime(records.time("LIBARCHIVE.creationtime")?);
    if !matches!(kind, Kind::HardLink(_)) {
        metadata.xattrs = records.xattrs()?;
    }
    Ok(metadata)
}
