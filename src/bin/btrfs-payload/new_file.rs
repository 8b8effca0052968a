//! Files that appear whole or not at all, and only to those who may see what they are made from.
//!
//! A new file has no name until it is complete (`O_TMPFILE`), so that nothing is left behind
//! however the process ends. Filesystems that know no such files get a temporary name. Until
//! then only its owner may read it. It is on the disk before it takes its name, and the name is
//! on the disk before the program says that it is done.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::{NamedTempFile, TempPath};

use crate::about::{About, about, bail_about};
use crate::args::directory_of;
use crate::interrupt::Temporary;
use crate::origin::Origin;
use crate::output::{remark, shown};

/// Beginning of temporary names.
pub(crate) const PREFIX: &str = ".btrfs-payload-";

/// Where something new is to appear.
pub(crate) struct Place {
    /// What the user calls it.
    pub(crate) asked: PathBuf,
    /// Its name, symbolic links followed.
    pub(crate) name: PathBuf,
    /// The directory that it is in.
    pub(crate) parent: PathBuf,
    /// What has this name already.
    pub(crate) old: Option<Metadata>,
}

impl Place {
    /// Follows symbolic links as `cp` does: what they point to is replaced, they stay, and those
    /// that point to nothing are refused.
    pub(crate) fn find(asked: &Path) -> Result<Self> {
        let cannot_look = || about(asked, format_args!("cannot look at {}", shown(asked)));
        let mut name = asked.to_owned();
        let mut old = look(asked).with_context(cannot_look)?;
        if old.as_ref().is_some_and(Metadata::is_symlink) {
            name = match fs::canonicalize(asked) {
                Err(error) if error.kind() == ErrorKind::NotFound => bail_about!(
                    asked,
                    "{} is a symbolic link to nothing, and is not written through",
                    shown(asked)
                ),
                name => name.with_context(cannot_look)?,
            };
            old = look(&name).with_context(cannot_look)?;
        }
        let parent = directory_of(&name);
        Ok(Self {
            asked: asked.to_owned(),
            parent: parent.to_owned(),
            name,
            old,
        })
    }

    /// The directory that it is in has to be there.
    pub(crate) fn check_parent(&self) -> Result<()> {
        if !self.parent.is_dir() {
            bail_about!(
                &self.asked,
                "cannot make {}: there is no directory {}",
                shown(&self.asked),
                shown(&self.parent)
            );
        }
        Ok(())
    }

    /// Context for what fails while it is begun.
    pub(crate) fn cannot_make(&self) -> About {
        let (asked, parent) = (shown(&self.asked), shown(&self.parent));
        about(&self.asked, format_args!("cannot make {asked} in {parent}"))
    }

    /// Context for what fails while it takes its name.
    pub(crate) fn cannot_complete(&self) -> About {
        about(
            &self.asked,
            format_args!("cannot complete {}", shown(&self.asked)),
        )
    }

    /// Waits until the directory, and with it the name, is on the disk. `content` is any file of
    /// the same filesystem.
    pub(crate) fn sync_parent(&self, content: &File) -> io::Result<()> {
        match File::open(&self.parent) {
            Ok(parent) => sync(&parent),
            // A directory can be one to write to and not one to read.
            Err(_) => Ok(rustix::fs::syncfs(content)?),
        }
    }
}

/// What has this name; `None` for nothing.
fn look(name: &Path) -> io::Result<Option<Metadata>> {
    match name.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A file that takes its name when it is complete.
pub(crate) struct NewFile {
    file: File,
    /// Where the filesystem wants it to have a name from the start.
    named: Option<(TempPath, Temporary)>,
    place: Place,
    force: bool,
}

impl NewFile {
    /// Nothing of that name may exist; with `force` a regular file may, and is replaced.
    pub(crate) fn create(name: &Path, force: bool) -> Result<Self> {
        if name == Path::new("-") {
            bail!("extents cannot go to standard output; ./- is a file of that name");
        }
        let has_kind = |kind: fn(&Metadata) -> bool| fs::metadata(name).is_ok_and(|old| kind(&old));
        if has_kind(Metadata::is_dir) || name.as_os_str().as_encoded_bytes().ends_with(b"/") {
            bail_about!(name, "{} is a directory; name a file in it", shown(name));
        }
        if has_kind(|old| !old.is_file()) || descriptor_named(name).is_some() {
            bail_about!(
                name,
                "{} is not a regular file, and is not replaced by one",
                shown(name)
            );
        }
        let place = Place::find(name)?;
        if place.old.is_some() && !force {
            bail_about!(name, "{} exists already; --force replaces it", shown(name));
        }
        place.check_parent()?;
        let (file, named) = begin(&place.parent)
            .map_err(|error| in_words(&error))
            .with_context(|| place.cannot_make())?;
        Ok(Self {
            file,
            named,
            place,
            force,
        })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Lets those read it who may read `origin`, unless what it replaces was closed to them. Until
    /// then its owner alone may. A file that replaces its origin keeps the owner too.
    pub(crate) fn permit(&self, origin: &Origin) {
        if let Err(error) = origin.permit(&self.file, self.place.old.as_ref()) {
            let name = shown(&self.place.asked);
            remark(format_args!(
                "{name}: the mode is not set, so only the owner may read it: {error}"
            ));
        }
    }

    /// Gives it its name.
    pub(crate) fn finish(self) -> Result<()> {
        let cannot_complete = self.place.cannot_complete();
        self.appear().context(cannot_complete)
    }

    fn appear(self) -> io::Result<()> {
        let name = &self.place.name;
        sync(&self.file)?;
        let mut named = self.named;
        if named.is_none() {
            match link(&self.file, name) {
                Ok(()) => {
                    let synced = sync_named(&self.file, &self.place);
                    if synced.is_err() {
                        // What may not be there after a power loss is not said to be there.
                        let _ = fs::remove_file(name);
                    }
                    return synced;
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists || !self.force => {
                    return Err(error);
                }
                // Only a name can replace a name.
                Err(_) => {
                    named = Some(temporary(&self.place.parent, |path| {
                        link(&self.file, path)
                    })?)
                }
            }
        }
        if let Some((path, _temporary)) = named {
            if !self.force {
                path.persist_noclobber(name).map_err(|error| error.error)?;
            } else if look(name)?.is_some_and(|now| !now.is_file()) {
                // It was a regular file, or nothing, when the work began.
                return Err(io::Error::other("it is no longer a regular file"));
            } else {
                path.persist(name).map_err(|error| error.error)?;
            }
        }
        sync_named(&self.file, &self.place)
    }
}

/// A file that its owner alone may open: without a name where that is possible.
fn begin(parent: &Path) -> io::Result<(File, Option<(TempPath, Temporary)>)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(parent, flags, Mode::RUSR | Mode::WUSR) {
        let file = File::from(file);
        // The way to its name leads through here.
        if descriptor(&file).exists() {
            return Ok((file, None));
        }
    }
    let named = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(parent)?;
    let temporary = Temporary::new(named.path());
    let (file, path) = named.into_parts();
    Ok((file, Some((path, temporary))))
}

/// A temporary name in a directory, for something that `make` makes.
fn temporary(
    parent: &Path,
    make: impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<(TempPath, Temporary)> {
    let named: NamedTempFile<()> = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(parent, make)?;
    let temporary = Temporary::new(named.path());
    Ok((named.into_temp_path(), temporary))
}

/// Gives a file without a name one that is free.
fn link(file: &File, name: &Path) -> io::Result<()> {
    let follow = AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(
        CWD,
        descriptor(file),
        CWD,
        name,
        follow,
    )?)
}

fn descriptor(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Waits until what was written is on the disk.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    match rustix::fs::fsync(file) {
        // There is nothing to wait for.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The same for a file that has just taken its name: btrfs keeps no log of files without one.
fn sync_named(file: &File, place: &Place) -> io::Result<()> {
    sync(file)?;
    place.sync_parent(file)
}

/// An error without the temporary name that it is about, which nobody has chosen.
pub(crate) fn in_words(error: &io::Error) -> io::Error {
    io::Error::from(error.kind())
}

/// Where output goes that has a name.
pub(crate) enum OutFile {
    /// A regular file, which appears when it is whole.
    New(Box<NewFile>),
    /// A pipe, a terminal, a device: it is written to and stays what it is.
    Open(File),
}

impl OutFile {
    /// What `-o NAME` means; `-` is standard output.
    pub(crate) fn create(name: &Path, force: bool) -> Result<Self> {
        if name == Path::new("-") {
            return Ok(Self::Open(stdout()?));
        }
        Ok(match existing(name)? {
            Some(file) => Self::Open(file),
            None => Self::New(Box::new(NewFile::create(name, force)?)),
        })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        match self {
            Self::New(file) => file.file(),
            Self::Open(file) => file,
        }
    }

    /// False for a pipe, a terminal, a device: standard output may be the same one.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }

    /// Says that all has been written: a new file takes its name and its mode.
    pub(crate) fn finish(self, origin: &Origin) -> Result<()> {
        match self {
            Self::New(file) => {
                file.permit(origin);
                file.finish()
            }
            Self::Open(file) => sync(&file).context("cannot complete the output"),
        }
    }
}

/// Opens what exists and can only be written to as it is; `None` for what can be replaced.
fn existing(name: &Path) -> Result<Option<File>> {
    // Through all links, those of /proc included, which lead to what has no name.
    let Ok(metadata) = fs::metadata(name) else {
        return Ok(None);
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    if kind.is_file() {
        return match descriptor_named(name) {
            None => Ok(None),
            Some(is_stdout) if is_stdout => Ok(Some(stdout()?)),
            Some(_) => bail_about!(
                name,
                "{} is a file that is open already; give its name, or - for standard output",
                shown(name)
            ),
        };
    }
    if kind.is_block_device() || kind.is_socket() {
        let what = if kind.is_socket() {
            "a socket"
        } else {
            "a block device"
        };
        bail_about!(
            name,
            "{} is {what}; write to standard output instead",
            shown(name)
        );
    }
    let cannot_write = || about(name, format_args!("cannot write {}", shown(name)));
    let file = OpenOptions::new()
        .write(true)
        .open(name)
        .with_context(cannot_write)?;
    if file.metadata().with_context(cannot_write)?.is_file() {
        bail_about!(name, "{} has just become a regular file", shown(name));
    }
    Ok(Some(file))
}

/// Standard output without a buffer.
pub(crate) fn stdout() -> Result<File> {
    use std::os::fd::AsFd;
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    Ok(File::from(stdout.context("cannot write standard output")?))
}

/// Whether a name, such as /dev/stdout or /proc/self/fd/3, stands for a descriptor; and then,
/// whether it is standard output of this process.
fn descriptor_named(name: &Path) -> Option<bool> {
    /// Links that the kernel follows (include/linux/namei.h: MAXSYMLINKS).
    const LINKS: usize = 40;
    let mut path = std::path::absolute(name).ok()?;
    for _ in 0..LINKS {
        let parent = path.parent()?.canonicalize().ok()?;
        let last = path.file_name()?.to_owned();
        if parent.starts_with("/proc") && parent.ends_with("fd") {
            let own = format!("/proc/{}/fd", std::process::id());
            return Some(parent == Path::new(&own) && last == "1");
        }
        path = parent.join(&last);
        path = parent.join(fs::read_link(&path).ok()?);
    }
    None
}
