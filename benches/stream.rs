//! Whole send streams beside the bare codecs: what reading, following, framing and writing add.
//!
//! ```sh
//! cargo bench --bench stream [-- --stream FILE] [--jobs N] [--rounds N]
//! ```
//!
//! Without `--stream` the stream is made of the corpus. The file is one of version 1, as
//! `btrfs send --proto 1` writes it. Wall time, since the work is done by several threads;
//! medians, what is compared takes turns: the whole stream through ours, and its extents alone
//! through libzstd, on one thread and on as many as ours has. Nobody keeps the output.
#![allow(missing_docs, clippy::print_stdout)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::{Command, Reader, Timespec, Uuid, Version, Writer, command};
use btrfs_payload::transform::{CheckOptions, RecompressOptions, check, recompress};
use bytes::Bytes;
use support::corpus::{EXTENT, corpus};
use zstd_safe::{CCtx, DCtx};

/// The level that is compared, of libzstd and ours.
const LEVEL: i32 = 3;

struct Args {
    stream: Option<String>,
    jobs: NonZeroUsize,
    rounds: usize,
    megabytes: usize,
}

impl Args {
    fn parse() -> Self {
        let mut parsed = Self {
            stream: None,
            jobs: std::thread::available_parallelism().expect("a number of cores"),
            rounds: 7,
            megabytes: 32,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().expect("a value");
            match arg.as_str() {
                "--stream" => parsed.stream = Some(value()),
                "--jobs" => parsed.jobs = value().parse().expect("a number above 0"),
                "--rounds" => parsed.rounds = value().parse().expect("a number"),
                // `cargo bench` says so.
                "--bench" => {}
                // `cargo test --benches` runs this to see that it works.
                "--test" => (parsed.rounds, parsed.megabytes) = (1, 1),
                other => panic!("{other}? see the beginning of benches/stream.rs"),
            }
        }
        parsed
    }
}

fn main() {
    let args = Args::parse();
    let plain = match &args.stream {
        Some(file) => std::fs::read(file).expect("the stream"),
        None => stream_of_corpus(args.megabytes * 1_000_000),
    };
    let options = RecompressOptions::new(Options::new(Codec::Zstd, Level::Number(LEVEL)));
    let compress = |input: &[u8], output: &mut dyn Write| {
        recompress(input, output, &options, args.jobs, |_| {}).expect("a sound stream");
    };
    let mut packed = Vec::new();
    compress(&plain, &mut packed);
    let extents = data_of(&plain);
    let payloads = payloads_of(&packed);
    let metadata = metadata_stream(args.megabytes * 10_000);
    let data: usize = extents.iter().map(Vec::len).sum();
    let decoded: usize = payloads.iter().map(|(_, len)| len).sum();

    println!(
        "{} jobs; {data} bytes of data, {} of payloads\n",
        args.jobs,
        payloads
            .iter()
            .map(|(payload, _)| payload.len())
            .sum::<usize>()
    );
    println!("| work | MB/s | beside | one thread | ratio, by job | all threads | ratio |");
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: |");
    contest(
        &args,
        ("check of version 2", decoded, &mut || {
            check(&packed[..], &CheckOptions::default(), args.jobs, |_| {}).expect("readable");
        }),
        ("ZSTD_decompress", &|jobs| {
            on_threads(jobs, &payloads, decoder);
        }),
    );
    contest(
        &args,
        ("recompress to zstd:3", data, &mut || {
            compress(&plain, &mut io::sink());
        }),
        ("ZSTD_compress2", &|jobs| {
            on_threads(jobs, &extents, encoder)
        }),
    );
    let pass = || seconds(&mut || compress(&metadata, &mut io::sink()));
    pass();
    let times = (0..args.rounds).map(|_| pass());
    let speed = megabytes_a_second(metadata.len(), middle(times.collect()));
    println!("| pass-through of metadata | {speed:.0} | | | | | |");
}

/// Prints how fast `ours` is with all jobs, and `theirs` with one thread and with all.
fn contest(
    args: &Args,
    (title, bytes, ours): (&str, usize, &mut dyn FnMut()),
    (peer, theirs): (&str, &dyn Fn(usize)),
) {
    let jobs = args.jobs.get();
    let mut times: Vec<[f64; 3]> = (0..=args.rounds)
        .map(|_| {
            [
                seconds(ours),
                seconds(&mut || theirs(1)),
                seconds(&mut || theirs(jobs)),
            ]
        })
        .collect();
    // The first round does not count.
    times.remove(0);
    let of = |number: fn(&[f64; 3]) -> f64| middle(times.iter().map(number).collect());
    let speed = |seconds| megabytes_a_second(bytes, seconds);
    println!(
        "| {title} | {:.0} | {peer} | {:.0} | {:.2} | {:.0} | {:.2} |",
        speed(of(|[ours, ..]| *ours)),
        speed(of(|[_, one, _]| *one)),
        of(|[ours, one, _]| one / ours) / jobs as f64,
        speed(of(|[_, _, all]| *all)),
        of(|[ours, _, all]| all / ours),
    );
}

/// Gives every item to one of `jobs` threads, each with a worker of its own.
fn on_threads<T: Sync, W: FnMut(&T)>(jobs: usize, items: &[T], worker: impl Fn() -> W + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let mut work = worker();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

fn seconds(work: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn megabytes_a_second(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / seconds / 1e6
}

/// libzstd, its context kept.
fn decoder() -> impl FnMut(&(Bytes, usize)) {
    let mut context = DCtx::create();
    let mut out = vec![0_u8; EXTENT];
    move |(payload, len)| {
        let made = context.decompress(&mut out[..], payload);
        assert_eq!(made.as_ref(), Ok(len));
    }
}

/// libzstd, its context kept.
fn encoder() -> impl FnMut(&Vec<u8>) {
    let mut context = CCtx::create();
    let parameter = zstd_safe::CParameter::CompressionLevel(LEVEL);
    context.set_parameter(parameter).expect("a level");
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(EXTENT));
    move |extent| {
        out.clear();
        assert!(context.compress2(&mut out, extent).is_ok());
    }
}

/// What the `WRITE`s of a stream write, gathered into extents as recompressing does.
fn data_of(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut extents: Vec<Vec<u8>> = Vec::new();
    let mut behind = (Bytes::new(), 0);
    for write in commands(stream).filter_map(|command| match command {
        Command::Write(write) => Some(write),
        _ => None,
    }) {
        let end = write.file_offset + write.data.len() as u64;
        let follows = behind == (write.path.clone(), write.file_offset);
        behind = (write.path, end);
        for piece in write.data.chunks(EXTENT) {
            match extents.last_mut() {
                Some(last) if follows && last.len() + piece.len() <= EXTENT => {
                    last.extend_from_slice(piece);
                }
                _ => extents.push(piece.to_vec()),
            }
        }
    }
    extents
}

/// The zstd payloads of a stream, and what they decode to, bytes.
fn payloads_of(stream: &[u8]) -> Vec<(Bytes, usize)> {
    commands(stream)
        .filter_map(|command| match command {
            Command::EncodedWrite(write) => {
                Some((write.data, usize::try_from(write.unencoded_len).unwrap()))
            }
            _ => None,
        })
        .collect()
}

fn commands(stream: &[u8]) -> impl Iterator<Item = Command> {
    let mut reader = Reader::new(stream);
    std::iter::from_fn(move || {
        let raw = reader.read_command().expect("a sound stream")?;
        Some(Command::parse(&raw).expect("a sound command"))
    })
}

fn begin(version: Version) -> Writer<Vec<u8>> {
    let mut stream = Writer::new(Vec::new(), version).expect("memory");
    let (path, uuid) = (Bytes::from("bench"), Uuid(*b"benches/stream.r"));
    let subvol = command::Subvol {
        path,
        uuid,
        ctransid: 1,
    };
    stream.write_command(&subvol).expect("a sound command");
    stream
}

/// The corpus in files of a megabyte, as `btrfs send --proto 1` would write them.
fn stream_of_corpus(bytes: usize) -> Vec<u8> {
    /// Bytes of data in a `WRITE` of version 1 (fs/btrfs/send.c, 6.12: 48 KiB).
    const WRITE: usize = 48 * 1024;
    let mut stream = begin(Version::V1);
    let kinds = corpus(bytes);
    let files = kinds
        .iter()
        .filter(|kind| kind.name != "zeroes")
        .flat_map(|kind| kind.extents.chunks(8));
    for (ino, extents) in (257..).zip(files) {
        let path = Bytes::from(format!("file-{ino}"));
        let data = extents.concat();
        stream
            .write_command(&command::MkFile {
                path: path.clone(),
                ino,
            })
            .expect("a sound command");
        for (number, piece) in data.chunks(WRITE).enumerate() {
            stream
                .write_data(&path, (number * WRITE) as u64, piece)
                .expect("a sound command");
        }
    }
    stream.finish().expect("memory")
}

/// Files without data: what a send of many small changes consists of.
fn metadata_stream(files: usize) -> Vec<u8> {
    let mut stream = begin(Version::V2);
    let time = Timespec {
        seconds: 1_700_000_000,
        nanoseconds: 0,
    };
    for ino in (257..).take(files) {
        let made = Bytes::from(format!("o{ino}-7-0"));
        let path = Bytes::from(format!("directory/file number {ino}"));
        let mut put = |command: Command| stream.write_command(&command).expect("a sound command");
        put(command::MkFile {
            path: made.clone(),
            ino,
        }
        .into());
        put(command::Rename {
            path: made,
            path_to: path.clone(),
        }
        .into());
        put(command::Chown {
            path: path.clone(),
            uid: 0,
            gid: 0,
        }
        .into());
        put(command::Chmod {
            path: path.clone(),
            mode: 0o644,
        }
        .into());
        put(command::Utimes {
            path,
            atime: time,
            mtime: time,
            ctime: time,
            otime: None,
        }
        .into());
    }
    stream.finish().expect("memory")
}
