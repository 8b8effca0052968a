//! The streams of a chain, as commands that look into them take them: before `--` streams, after
//! it paths.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::pack::Parent;
use btrfs_payload::send_stream::Skip;
use btrfs_payload::tree::{Chain, Data, Options, ReadAt, Subvolume, TreeError};

use crate::Verdict;
use crate::args::{byte_count, cannot_read, open_input};
use crate::output::{Output, input_name, remark, shown};
use crate::progress::stream_progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Stored {
    /// The streams: a full one, then its increments in their order; `-` for standard input
    #[arg(required = true, value_name = "CHAIN")]
    inputs: Vec<PathBuf>,

    #[command(flatten)]
    reading: Reading,
}

/// How a chain is read.
#[derive(Debug, clap::Args)]
pub(crate) struct Reading {
    /// The subvolume of this name or UUID, not the last
    #[arg(long, value_name = "NAME")]
    subvol: Option<OsString>,

    /// Memory that the tree may take: 784 bytes for each name, 128 for each extent, 8192 for what
    /// an increment changes
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count, default_value = "1G")]
    memory: u64,

    /// Longest command that is read. Kernels make at most 256K
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count, default_value = "16M")]
    max_command_size: u64,
}

/// Whether data will be read, after the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Names,
    Data,
}

/// A chain that has been read.
pub(crate) struct Opened {
    chain: Chain,
    inputs: Vec<Input>,
    subvol: Option<OsString>,
}

/// A stream that can be read again at any place.
pub(crate) struct Input {
    file: File,
    name: String,
    /// Where the stream begins in the file.
    begin: u64,
}

impl Stored {
    /// See [`Reading::open`].
    pub(crate) fn open(
        &self,
        wanted: Wanted,
        output: &mut Output,
    ) -> Result<Result<Opened, Verdict>> {
        self.reading.open(&self.inputs, wanted, output)
    }
}

impl Reading {
    /// Reads the streams, without their data. What is wrong with them is said: `Err` with the
    /// verdict then.
    pub(crate) fn open(
        &self,
        inputs: &[PathBuf],
        wanted: Wanted,
        output: &mut Output,
    ) -> Result<Result<Opened, Verdict>> {
        let mut options = Options::default();
        options.max_memory = self.memory;
        options.max_command_len = usize::try_from(self.max_command_size).unwrap_or(usize::MAX);
        let read = read(inputs, options, wanted, output)?;
        Ok(read.map(|(chain, inputs)| Opened {
            chain,
            inputs,
            subvol: self.subvol.clone(),
        }))
    }
}

/// A chain and what it was read from.
type Read = (Chain, Vec<Input>);

fn read(
    inputs: &[PathBuf],
    options: Options,
    wanted: Wanted,
    output: &mut Output,
) -> Result<Result<Read, Verdict>> {
    let mut chain = Chain::new(options);
    let mut opened = Vec::new();
    for path in inputs {
        let mut input = Input::open(path, wanted)?;
        let bar = stream_progress(input.len(path));
        let read = chain.read(Shown {
            input: &mut input.file,
            bar: bar.clone(),
        });
        bar.finish_and_clear();
        if let Err(error) = read {
            return said(error, &input.name, output).map(Err);
        }
        opened.push(input);
    }
    warn_of_changed_parents(&chain);
    Ok(Ok((chain, opened)))
}

/// The last subvolume of a chain, to which all others lead, for an increment. The names of it take so
/// many bytes of memory at the most.
pub(crate) fn parent(
    inputs: &[PathBuf],
    max_memory: u64,
    output: &mut Output,
) -> Result<Result<Parent, Verdict>> {
    let mut options = Options::default();
    options.max_memory = max_memory;
    let (chain, inputs) = match read(inputs, options, Wanted::Data, output)? {
        Ok(read) => read,
        Err(verdict) => return Ok(Err(verdict)),
    };
    let parent = Parent::new(&chain, inputs, None);
    Ok(Ok(
        parent.context("the parents do not lead to one subvolume")?
    ))
}

impl Opened {
    /// The subvolume that is looked into.
    pub(crate) fn subvolume(&self) -> Result<&Subvolume> {
        let name = self.subvol.as_deref().map(OsStrExt::as_bytes);
        let found = self.chain.result(name);
        found.context("which subvolume is meant? --subvol says it")
    }

    /// Reads data.
    pub(crate) fn data(&self) -> Data<'_, Input> {
        Data::new(&self.chain, &self.inputs)
    }

    /// Bytes of data that the subvolume has, for a bar.
    pub(crate) fn len(&self) -> u64 {
        let Ok(subvolume) = self.subvolume() else {
            return 0;
        };
        subvolume.tree.data_bytes()
    }

    /// The names of the inputs.
    pub(crate) fn name(&self) -> String {
        let names: Vec<&str> = self.inputs.iter().map(|input| &input.name[..]).collect();
        names.join(" + ")
    }
}

/// Says what is wrong with streams; an error where they are not at fault.
pub(crate) fn said(error: TreeError, name: &str, output: &mut Output) -> Result<Verdict> {
    if error.is_of_stream() {
        output.trouble(&anyhow::Error::new(error).context(name.to_owned()));
        return Ok(Verdict::NotSound);
    }
    Err(error).with_context(|| format!("cannot read {name}"))
}

/// A parent that was changed after its stream was made is not what the increment builds on.
fn warn_of_changed_parents(chain: &Chain) {
    for subvolume in chain.subvolumes() {
        if let Some(parent) = subvolume.parent
            && parent.ctransid != parent.got
        {
            remark(format_args!(
                "{} builds on its parent as of transaction {}; the stream of that is of {}",
                shown(std::ffi::OsStr::from_bytes(&subvolume.name)),
                parent.ctransid,
                parent.got
            ));
        }
    }
}

impl Input {
    fn open(path: &Path, wanted: Wanted) -> Result<Self> {
        let mut file = open_input(path)?;
        let metadata = file.metadata().with_context(|| cannot_read(path))?;
        if metadata.is_dir() {
            bail!("{} is a directory, not a send stream", shown(path));
        }
        let begin = match file.stream_position() {
            Ok(begin) => begin,
            Err(_) if wanted == Wanted::Names => 0,
            Err(_) => bail!(
                "{} is a pipe: data is read again in the order of files, so a file is needed",
                input_name(path)
            ),
        };
        Ok(Self {
            file,
            name: input_name(path),
            begin,
        })
    }

    fn len(&self, path: &Path) -> u64 {
        let len = self.file.metadata().map_or(0, |metadata| metadata.len());
        if path == Path::new("-") {
            0
        } else {
            len.saturating_sub(self.begin)
        }
    }
}

impl ReadAt for Input {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let at = self.begin.saturating_add(offset);
        self.file.read_exact_at(buffer, at)
    }
}

/// An input whose way is shown.
struct Shown<'a> {
    input: &'a mut File,
    bar: indicatif::ProgressBar,
}

impl io::Read for Shown<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.bar.inc(u64::try_from(got).unwrap_or(u64::MAX));
        Ok(got)
    }
}

impl Skip for Shown<'_> {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let skipped = self.input.skip(bytes)?;
        self.bar.inc(skipped);
        Ok(skipped)
    }
}

/// What is at a path of the tree, as it is asked for; paths that nothing is under are an error.
pub(crate) fn none_at(path: &Path, subvolume: &Subvolume) -> anyhow::Error {
    let name = shown(std::ffi::OsStr::from_bytes(&subvolume.name)).to_string();
    anyhow::anyhow!("there is no {} in {name}", shown(path))
}
