//! Running cases: many of them in parallel, or one of them slowly and with words.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use btrfs_payload::Kernel;
use btrfs_payload::ioctl::{Probe, probe};
use btrfs_payload::rules::{Codec, Target};
use btrfs_payload::validate::{Outcome, validate};

use crate::generate::{Case, Generator};
use crate::guard;
use crate::lab::Slot;
use crate::observed::{Observed, Read, difference, distorted, is_cut_short, prediction};
use crate::options::Options;
use crate::support::Mount;

/// Cases that are written together, so that the device works while others are made.
const BATCH: u64 = 32;

/// Of so many cases one has its stored extent looked at.
const LOOK_AT_STORED: u64 = 8;

/// Disagreements that are printed; more are only counted.
const PRINTED: usize = 30;

/// A second look is for one case in ten thousand; more of them would hide something.
const SECOND_LOOKS_PER_MILLION: u64 = 100;

/// What became of the cases of one codec.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases by what was predicted of them.
    kinds: BTreeMap<&'static str, u64>,
    kept_back: u64,
    /// Cases that were read a second time; see [`is_cut_short`].
    second_looks: u64,
    agreements: u64,
    disagreements: u64,
    elapsed: Duration,
}

impl Tally {
    /// True if something was run, and all of it went as predicted.
    pub fn passed(&self) -> bool {
        let few = 2 + self.agreements * SECOND_LOOKS_PER_MILLION / 1_000_000;
        self.agreements > 0 && self.disagreements == 0 && self.second_looks <= few
    }

    fn add(&mut self, other: &Self) {
        for (kind, number) in &other.kinds {
            *self.kinds.entry(kind).or_default() += number;
        }
        self.kept_back += other.kept_back;
        self.second_looks += other.second_looks;
        self.agreements += other.agreements;
        self.disagreements += other.disagreements;
    }
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Refused(_) => "refused",
        Outcome::NothingWritten => "nothing written",
        Outcome::Data { .. } => "data",
        Outcome::ReadError { good, .. } if !good.is_empty() => "partly read",
        Outcome::ReadError { .. } => "read error",
        Outcome::Uninitialised { .. } => "uninitialised",
        Outcome::DependsOnMemory { .. } => "depends on memory",
        Outcome::Unsafe => "unsafe",
        other => panic!("no name for {other:?}"),
    }
}

/// The filesystem and the kernel that cases run on.
#[derive(Debug, Clone)]
struct Place {
    probe: Probe,
    kernel: Kernel,
}

impl Place {
    fn of(mount: &Mount) -> Self {
        let root = fs::File::open(mount.path()).unwrap();
        let probe = probe(root.as_fd()).unwrap();
        let kernel = probe.kernel.expect("a kernel with encoded writes");
        Self { probe, kernel }
    }

    fn target(&self, case: &Case) -> Target {
        self.probe
            .target(case.offset)
            .file_size(case.file_size)
            .nodatasum(false)
    }
}

/// Runs all cases of a codec.
pub fn all(mount: &Mount, options: &Options, codec: Codec) -> Tally {
    let place = Place::of(mount);
    println!(
        "{codec}: {} cases, seed {}, placement {}, Linux {} as {}",
        options.cases, options.seed, options.placing, place.probe.release, place.kernel
    );
    let generator = Generator::new(codec, options.seed, options.placing);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let printed = Mutex::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for job in 0..options.jobs {
            let (generator, place, next, total, printed) =
                (&generator, &place, &next, &total, &printed);
            scope.spawn(move || {
                let directory = mount.join(format!("{codec}-{job}"));
                let slots = slots(&directory);
                let mut tally = Tally::default();
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= options.cases {
                        break;
                    }
                    let numbers = first..(first + BATCH).min(options.cases);
                    let report = |number: u64, words: &str| {
                        let mut printed = printed.lock().unwrap();
                        *printed += 1;
                        if *printed <= PRINTED {
                            println!("{}\n    {words}", repeat(options, codec, number));
                        }
                    };
                    batch(generator, place, &slots, numbers, &mut tally, &report);
                }
                drop(slots);
                fs::remove_dir_all(directory).unwrap();
                total.lock().unwrap().add(&tally);
            });
        }
    });
    let mut tally = total.into_inner().unwrap();
    tally.elapsed = begin.elapsed();
    tally
}

fn slots(directory: &Path) -> Vec<Slot> {
    fs::create_dir(directory).unwrap();
    (0..BATCH)
        .map(|number| Slot::new(directory, &number.to_string()).unwrap())
        .collect()
}

/// Writes a few cases, then reads them back.
fn batch(
    generator: &Generator,
    place: &Place,
    slots: &[Slot],
    numbers: std::ops::Range<u64>,
    tally: &mut Tally,
    report: &dyn Fn(u64, &str),
) {
    let mut written = Vec::new();
    for (number, slot) in numbers.zip(slots) {
        let case = generator.case(number);
        let target = place.target(&case);
        let predicted = prediction(&case, &target, place.kernel);
        if !guard::may_pass(&case.payload, &case.fields, &target) {
            tally.kept_back += 1;
            continue;
        }
        *tally.kinds.entry(kind(&predicted)).or_default() += 1;
        let outcome = slot.write(&case).unwrap();
        written.push((number, slot, case, predicted, outcome));
    }
    for (number, slot, case, predicted, outcome) in written {
        let look = number % LOOK_AT_STORED == 0;
        let mut observed = slot.read(&case, outcome, look).unwrap();
        if is_cut_short(&predicted, &observed) {
            tally.second_looks += 1;
            let outcome = slot.write(&case).unwrap();
            observed = slot.read(&case, outcome, look).unwrap();
        }
        let target = place.target(&case);
        match difference(&case, &target, place.kernel, &predicted, &observed) {
            None => {
                tally.agreements += 1;
                if let Some(wrong) = distorted(&predicted).filter(|_| look) {
                    let noticed = difference(&case, &target, place.kernel, &wrong, &observed);
                    assert!(
                        noticed.is_some(),
                        "the comparison is blind to {}",
                        summary(&wrong)
                    );
                }
            }
            Some(words) => {
                tally.disagreements += 1;
                report(
                    number,
                    &format!("predicted {}; {words}", summary(&predicted)),
                );
            }
        }
    }
}

/// The command that runs a case again.
fn repeat(options: &Options, codec: Codec, number: u64) -> String {
    format!(
        "DISAGREEMENT: cargo test --release --test live_kernel -- --codec {codec} --placement {} \
         --one {}:{number}",
        options.placing, options.seed
    )
}

fn summary(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Data {
            bytes, placement, ..
        } => {
            format!("{} bytes of data, {placement:?}", bytes.len())
        }
        Outcome::ReadError {
            errno,
            good,
            placement,
            ..
        } => format!("{errno} after {} good bytes, {placement:?}", good.len()),
        Outcome::Uninitialised {
            good, placement, ..
        } => {
            format!("uninitialised after {} bytes, {placement:?}", good.len())
        }
        Outcome::DependsOnMemory { roomy, tight } => {
            format!("either {}, or {}", summary(roomy), summary(tight))
        }
        other => format!("{other:?}"),
    }
}

/// Runs one case, and prints everything about it. True if it went as predicted.
pub fn one(mount: &Mount, options: &Options, number: u64) -> bool {
    let codec = options.codecs[0];
    let place = Place::of(mount);
    let case = Generator::new(codec, options.seed, options.placing).case(number);
    let target = place.target(&case);
    if let Some(path) = &options.save {
        fs::write(path, &case.payload).unwrap();
    }
    println!("payload, {} bytes:", case.payload.len());
    for (line, bytes) in case.payload.chunks(32).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{:6x}  {hex}", line * 32);
    }
    println!("{:#?}\n{target:#?}", case.fields);
    println!(
        "background {:#04x}, flags {:#x}, reserved zero {}, read only {}, page by page {}",
        case.background,
        case.flags,
        case.reserved == [0; 64],
        case.read_only,
        case.by_pages
    );
    for finding in validate(&case.payload, &case.fields, &target).findings() {
        println!("{finding}");
    }
    for kernel in Kernel::ALL {
        let predicted = prediction(&case, &target, kernel);
        println!("{kernel}: {}", summary(&predicted));
    }
    if !guard::may_pass(&case.payload, &case.fields, &target) {
        println!("kept back");
        return true;
    }
    let directory = mount.join("one");
    let slots = slots(&directory);
    let written = slots[0].write(&case).unwrap();
    let observed = slots[0].read(&case, written, true).unwrap();
    println!("observed: {}", in_words(&observed));
    let predicted = prediction(&case, &target, place.kernel);
    match difference(&case, &target, place.kernel, &predicted, &observed) {
        None => println!("as predicted"),
        Some(words) => {
            println!("NOT as predicted: {words}");
            return false;
        }
    }
    true
}

fn in_words(observed: &Observed) -> String {
    let Observed::Taken { read, size, .. } = observed else {
        return format!("{observed:?}");
    };
    match read {
        Read::Whole { bytes, error } => {
            let head: Vec<u8> = bytes.iter().copied().take(32).collect();
            format!(
                "file of {size} bytes, {} read, error {error:?}, {head:02x?}...",
                bytes.len()
            )
        }
        Read::Pages(pages) => {
            let pages: Vec<_> = pages
                .iter()
                .map(|page| page.as_ref().map(Vec::len))
                .collect();
            format!("file of {size} bytes, pages {pages:?}")
        }
    }
}

/// A line for each codec.
pub fn print_table(tallies: &[(Codec, Tally)]) {
    let mut kinds: Vec<&str> = tallies
        .iter()
        .flat_map(|(_, tally)| tally.kinds.keys().copied())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    println!();
    print!("{:<6}{:>10}", "codec", "cases");
    for kind in &kinds {
        print!("{:>width$}", kind, width = kind.len().max(8) + 2);
    }
    println!(
        "{:>11}{:>13}{:>10}{:>10}{:>12}",
        "kept back", "second looks", "agree", "disagree", "verdicts/s"
    );
    for (codec, tally) in tallies {
        let cases = tally.agreements + tally.disagreements + tally.kept_back;
        print!("{:<6}{cases:>10}", codec.name());
        for kind in &kinds {
            let number = tally.kinds.get(kind).copied().unwrap_or(0);
            print!("{number:>width$}", width = kind.len().max(8) + 2);
        }
        let verdicts = tally.agreements + tally.disagreements;
        let rate = verdicts as f64 / tally.elapsed.as_secs_f64();
        println!(
            "{:>11}{:>13}{:>10}{:>10}{rate:>12.0}",
            tally.kept_back, tally.second_looks, tally.agreements, tally.disagreements
        );
    }
    println!();
}
