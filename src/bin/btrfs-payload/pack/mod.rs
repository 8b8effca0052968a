//! `pack`: a directory or an archive becomes a send stream.

mod adjust;
mod compressed;
mod destination;
mod directory;
mod found;
mod list;
mod listed;
mod member;
mod packing;
mod scope;
mod selinux;
mod sorted;
mod sparse_map;
mod tar;

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Seek};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::bytes::Bytes;
use btrfs_payload::pack::{BYTES_PER_NAME, Identity, Options, PackError, Summary};
use btrfs_payload::send_stream::{Timespec, Uuid};
use serde::Serialize;

use self::adjust::{Adjust, Exclude, ModeChange, OwnerMap};
use self::destination::Destination;
use self::list::{Differs, List};
use self::listed::Source;
use self::packing::Packing;
use self::scope::Scope;
use self::selinux::Contexts;
use self::sorted::Sorted;
use crate::Verdict;
use crate::args::{Methods, byte_count, cannot_read, jobs, open_input, sector_size};
use crate::origin::Origin;
use crate::output::{Output, count, input_name, remark, shown};
use crate::progress::stream_progress;
use crate::stored;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A directory, or a tar archive (also .gz, .xz and .zst); `-` for an archive on standard input
    input: PathBuf,

    /// Write to this file, which appears when it is whole; `-` for standard output. Links are
    /// followed, pipes and devices written to as they are
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: PathBuf,

    /// Replace a regular file that exists
    #[arg(short, long, help_heading = "Output")]
    force: bool,

    /// Name of the subvolume [default: that of the input, without .tar and the like]
    #[arg(long, help_heading = "Output")]
    name: Option<String>,

    /// The UUID of the subvolume at its sender [default: made from what is packed]
    ///
    /// With one, a pack into a pipe goes out while it is made. Without one it is held in a temporary
    /// file until its UUID is known.
    #[arg(long, value_parser = uuid, help_heading = "Output")]
    uuid: Option<Uuid>,

    /// Make an increment on this stored stream: one that `pack` or `btrfs send` has made. For a chain,
    /// one --parent for each, the full stream first
    ///
    /// The increment holds what has changed. Who has received the parents receives it after them.
    #[arg(
        long = "parent",
        value_name = "FILE",
        conflicts_with = "subvol",
        help_heading = "Output"
    )]
    parents: Vec<PathBuf>,

    #[command(flatten)]
    methods: Methods,

    /// A stream of version 1, with all data plain, for a compressor with a long window
    #[arg(long, help_heading = "Compression")]
    plain: bool,

    /// Send what is there twice twice
    #[arg(long, help_heading = "Compression")]
    no_dedupe: bool,

    /// Sector size of the filesystem that is to receive the stream: 4K to 64K
    #[arg(long, default_value = "4K", value_name = "BYTES", value_parser = sector_size, help_heading = "Filesystem")]
    sector_size: u32,

    /// Everything belongs to root
    #[arg(long, conflicts_with = "owner_map", help_heading = "Metadata")]
    all_root: bool,

    /// Users and groups of these numbers get others: 1000:0, or a range 100000-165535:0; u1000:0 for
    /// users, g100:0 for groups only
    #[arg(long, value_name = "FROM:TO", help_heading = "Metadata")]
    owner_map: Vec<OwnerMap>,

    /// Change permissions, as chmod does: 644, go-w, a+rX,u+w
    #[arg(long, value_name = "CHANGE", value_parser = ModeChange::parse_all, help_heading = "Metadata")]
    mode: Vec<std::vec::Vec<ModeChange>>,

    /// Label files for SELinux as this file_contexts says, in the place of labels they have
    #[arg(long, value_name = "FILE_CONTEXTS", help_heading = "Metadata")]
    selinux: Option<PathBuf>,

    /// All times of a directory's files, not only that of the last change of their content, which
    /// then stands for all
    #[arg(long, help_heading = "Metadata")]
    all_times: bool,

    /// Leave out what has such a name, or such a path where there is a slash in the pattern, with all
    /// inside
    #[arg(long, value_name = "GLOB", help_heading = "What is packed")]
    exclude: Vec<String>,

    /// Leave out what other filesystems hold; the directories where they begin stay
    #[arg(short = 'x', long, help_heading = "What is packed")]
    one_file_system: bool,

    /// Pack what this list names, and nothing else: mtree, or the list that the kernel's gen_init_cpio
    /// reads. Contents come from the directory
    ///
    /// Owners, permissions, times, links and devices are what the list says, whatever --all-root and
    /// the like say; what it does not say is what the directory has. A location in the list
    /// (contents=) is a path in the directory, also if it begins with a slash; its symbolic links are
    /// followed inside the directory only. Of an mtree sizes and SHA-2 digests are compared with the
    /// contents; older digests (md5, sha1, cksum and the like) are not.
    #[arg(
        long,
        value_name = "LIST",
        conflicts_with = "overlay",
        help_heading = "What is packed"
    )]
    list: Option<PathBuf>,

    /// Pack the directory, with what this list says of it and adds to it
    #[arg(long, value_name = "LIST", help_heading = "What is packed")]
    overlay: Option<PathBuf>,

    /// A directory that becomes a subvolume of its own, in a stream of its own after that of the rest,
    /// which keeps an empty directory there. Its name has the path at its end: rootfs-var-log
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with = "uuid",
        help_heading = "What is packed"
    )]
    subvol: Vec<std::ffi::OsString>,

    /// Members of an archive in the order of names, as a directory has them
    ///
    /// Archives of one tree then give the same bytes, whatever order they have. Contents wait in a
    /// temporary file.
    #[arg(long, help_heading = "What is packed")]
    sort: bool,

    /// Names of one file become files of their own (of a directory, not of an archive)
    #[arg(long, help_heading = "What is packed")]
    hard_dereference: bool,

    /// Memory that names may take, 256 bytes each and their own; more is refused
    ///
    /// With --sort they may take that twice. With --parent those of the parents may take as much
    /// again, 784 bytes each, and so may a list, 1 KiB a name.
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count, default_value = "4G")]
    memory: u64,

    /// Threads that compress, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload pack rootfs/ -o rootfs.stream --all-root
  btrfs-payload pack rootfs/ -o rootfs.stream --overlay devices-and-owners.mtree
  btrfs-payload pack rootfs.tar.zst -o rootfs.stream --level 15
  docker export box | btrfs-payload pack - --name box -o box.stream
  btrfs-payload pack home/ -o monday.stream --name monday --parent sunday.stream
  btrfs-payload pack rootfs/ -o - --plain | zstd -19 --long > rootfs.stream.zst

With --subvol the file has several streams, and `btrfs receive` makes the subvolumes side by side. To
put one into another, take a snapshot of it there: `btrfs subvolume snapshot rootfs-var-log
system/var/log`, where `system` is a writable snapshot of rootfs without that empty directory.

With --parent the file is an increment, as of `btrfs send -p`: what has changed within files is
written, what has another name renamed, and the rest is not said. A file is a renamed one where size,
time and content are those of a file of the parent. The parents are read, their data too; whoever has
received them as they are receives the increment, and all commands here take both as a chain.

--plain is for what is compressed once more on its way, as a download: `zstd -19 --long` makes it
smaller than compressed extents are. Extents are right for all else: nobody compresses again.

Needs neither root nor btrfs; `btrfs receive` takes what it makes. The same input gives the same
bytes, whoever packs it where: a directory in the order of names, an archive in its own order, or in
that of names with --sort. Times later than SOURCE_DATE_EPOCH, where that is set, become
SOURCE_DATE_EPOCH. Extended attributes that btrfs has not are left out. Where a name comes again in
an archive, the last one counts.

Exit status:
  0  done
  1  the archive is damaged, something in it cannot be packed, or is not what the list says
  2  wrong usage, or a file cannot be read or written";

/// What was packed, as a JSON line.
#[derive(Serialize)]
struct PackedLine<'a> {
    kind: &'static str,
    input: &'a str,
    name: &'a str,
    uuid: String,
    #[serde(flatten)]
    summary: &'a Summary,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if args.output == Path::new("-") {
        output.give_up_stdout();
        if io::stdout().is_terminal() {
            bail!("a send stream is not written to a terminal; use -o FILE or a pipe");
        }
    }
    let adjust = Adjust {
        all_root: args.all_root,
        owners: args.owner_map.clone(),
        modes: args.mode.concat(),
        exclude: Exclude::new(&args.exclude)?,
        labels: args.selinux.as_deref().map(Contexts::read).transpose()?,
    };
    let list = args.list.as_ref().or(args.overlay.as_ref());
    let list = list.map(|path| List::read(path, args.memory)).transpose()?;
    let mut options = options(args)?;
    if !args.parents.is_empty() {
        let parent = match stored::parent(&args.parents, args.memory, output)? {
            Ok(parent) => parent,
            Err(verdict) => return Ok(verdict),
        };
        if *parent.name() == options.subvolume[..] {
            remark(format_args!(
                "the subvolume has the name of its parent, {}: --name gives another, or they go into \
                 different directories",
                shown(OsStr::from_bytes(parent.name()))
            ));
        }
        options.parent = Some(parent);
    }
    let mut input = open_input(&args.input)?;
    let found = input.metadata().with_context(|| cannot_read(&args.input))?;
    if !found.is_dir() && args.hard_dereference {
        bail!("--hard-dereference is for directories: an archive has the content of a file once");
    }
    if !found.is_dir() && list.is_some() {
        bail!("--list and --overlay are about a directory");
    }
    if !found.is_dir() && !found.is_file() && !args.subvol.is_empty() {
        bail!("--subvol reads an archive several times, so it has to be a file");
    }
    let (origin, size) = if found.is_dir() {
        (Origin::default(), 0)
    } else {
        (Origin::of(&input), found.len())
    };
    let name = input_name(&args.input);
    let mut destination = Destination::create(&args.output, args.force)?;
    let directories: Vec<_> = args
        .subvol
        .iter()
        .map(|path| path.as_bytes().to_vec())
        .collect();
    let mut packed = Vec::new();
    for scope in Scope::all(&directories) {
        let mut options = options.clone();
        options.subvolume = scope.name(&options.subvolume).into();
        let bar = stream_progress(size);
        let sorted = (args.sort && !found.is_dir())
            .then(|| Sorted::new(args.memory))
            .transpose()?;
        let builder = destination.builder(&options)?;
        let mut packing = Packing::new(builder, &adjust, scope, sorted);
        let added = if found.is_dir() {
            let how = found::How {
                hard_dereference: args.hard_dereference,
                one_file_system: args.one_file_system,
                all_times: args.all_times,
            };
            match &list {
                Some(list) if args.list.is_some() => Source::new(&args.input, how)
                    .and_then(|mut source| source.add_all(list, &bar, &mut packing)),
                list => directory::add(&args.input, list.as_ref(), how, &bar, &mut packing),
            }
        } else {
            if !packed.is_empty() {
                input.rewind().with_context(|| cannot_read(&args.input))?;
            }
            tar::add(bar.wrap_read(&input), &mut packing)
        };
        let finished = added.and_then(|()| packing.finish());
        bar.finish_and_clear();
        match finished {
            Ok(summary) => packed.push((options.subvolume, summary)),
            Err(error) if is_of_input(&error, found.is_dir()) => {
                output.trouble(&error.context(name));
                return Ok(Verdict::NotSound);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot pack {name}")),
        }
    }
    destination.finish(&origin)?;
    for (subvolume, summary) in packed {
        sums(&name, &subvolume, &summary, output)?;
    }
    Ok(Verdict::Sound)
}

fn options(args: &Args) -> Result<Options> {
    let mut options = Options::new(match &args.name {
        Some(name) => Bytes::copy_from_slice(name.as_bytes()),
        None => default_name(&args.input)?,
    });
    options.identity = match args.uuid {
        Some(uuid) => Identity::Given(uuid),
        None => Identity::OfContent,
    };
    options.extents = args.methods.options(args.sector_size);
    options.plain = args.plain;
    options.dedupe = !args.no_dedupe;
    options.leave_out_xattrs = true;
    options.latest = latest()?;
    options.max_names = usize::try_from(args.memory).unwrap_or(usize::MAX) / BYTES_PER_NAME;
    options.jobs = args.jobs;
    Ok(options)
}

/// What the environment says that no time is later than
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn latest() -> Result<Option<Timespec>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let seconds = value.to_str().and_then(|value| value.parse().ok());
    let seconds = seconds.with_context(|| {
        format!(
            "SOURCE_DATE_EPOCH is {}, which is no number of seconds",
            shown(&value)
        )
    })?;
    Ok(Some(Timespec {
        seconds,
        nanoseconds: 0,
    }))
}

/// The name of the input without what says that it is an archive.
fn default_name(input: &Path) -> Result<Bytes> {
    if input == Path::new("-") {
        bail!("standard input has no name for the subvolume; --name gives one");
    }
    let real = std::fs::canonicalize(input).with_context(|| cannot_read(input))?;
    // The name as the user has it, unless that is `.` or the like.
    let name = match input.components().next_back() {
        Some(Component::Normal(name)) => name,
        _ => real.file_name().unwrap_or(OsStr::new("root")),
    };
    let name = name.as_bytes();
    let endings = [
        ".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tgz", ".txz", ".tzst",
    ];
    let ending = endings
        .iter()
        .find(|ending| name.ends_with(ending.as_bytes()));
    let len = name.len().saturating_sub(match ending {
        Some(ending) if real.is_file() => ending.len(),
        _ => 0,
    });
    Ok(Bytes::copy_from_slice(name.get(..len).unwrap_or(name)))
}

fn uuid(text: &str) -> Result<Uuid, String> {
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok();
    number
        .filter(|_| digits.len() == 32 && digits.bytes().all(|c| c.is_ascii_hexdigit()))
        .map(|number| Uuid(number.to_be_bytes()))
        .ok_or_else(|| "32 hexadecimal digits are expected, with hyphens or without".to_owned())
}

/// True where what is packed is at fault: an archive that is damaged, something that cannot stand
/// in a tree. What the system says is not.
fn is_of_input(error: &anyhow::Error, is_directory: bool) -> bool {
    let is_entry = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(PackError::Entry { .. })) || cause.is::<Differs>()
    };
    let of_system = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.raw_os_error().is_some())
    };
    if is_directory {
        return error.chain().any(is_entry);
    }
    !error.chain().any(of_system)
}

fn sums(input: &str, subvolume: &[u8], summary: &Summary, output: &mut Output) -> Result<()> {
    let subvolume = shown(OsStr::from_bytes(subvolume)).to_string();
    output.json(&PackedLine {
        kind: "packed",
        input,
        name: &subvolume,
        uuid: summary.uuid.to_string(),
        summary,
    })?;
    let [stream, data, cloned, holes] = [
        summary.stream_bytes,
        summary.data.data_bytes,
        summary.data.cloned_bytes,
        summary.data.hole_bytes,
    ]
    .map(|bytes| output.size(bytes));
    output.sum(
        true,
        format_args!(
            "{input}: {} with {data} became {stream}; {cloned} cloned, {holes} in holes",
            count(summary.files, "file"),
        ),
    )?;
    if let Some(changes) = &summary.changes {
        let unchanged = output.size(changes.unchanged_bytes);
        let names = [
            (changes.new, "new"),
            (changes.changed, "changed"),
            (changes.renamed, "renamed"),
            (changes.deleted, "deleted"),
            (changes.unchanged, "unchanged"),
        ];
        let names = names.map(|(count, what)| format!("{count} {what}"));
        output.sum(
            true,
            format_args!(
                "{input}: names: {}; {unchanged} unchanged",
                names.join(", ")
            ),
        )?;
    }
    output.sum(
        true,
        format_args!(
            "{input}: subvolume {subvolume}, UUID {}, digest {}",
            summary.uuid, summary.digest
        ),
    )?;
    if summary.xattrs_left_out > 0 {
        let attributes = count(summary.xattrs_left_out, "extended attribute");
        output.warn(format_args!(
            "{input}: left out: {attributes} that btrfs has not"
        ));
    }
    Ok(())
}
