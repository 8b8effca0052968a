//! The page of `scan`: where the space is, and what could be had back.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use btrfs_payload::files::{DirectoryId, Extent, Map};
use btrfs_payload::rules::OnDiskId;

use super::estimate::Done;
use crate::Verdict;
use crate::output::{Output, add, count, shown};
use crate::page::{Cell, Ink, Page, Tone, percent};

/// Directories that get a row.
const ROWS: usize = 40;

/// What extents take, each counted once, for the first file that shows it.
#[derive(Debug, Clone, Default)]
struct Space {
    /// On disk, by what is there.
    by_ink: BTreeMap<Ink, u64>,
    on_disk: u64,
    decoded: u64,
    /// Shown by more than one file.
    shared: u64,
    /// Shown by no file.
    unreachable: u64,
}

impl Space {
    fn add(&mut self, ink: Ink, on_disk: u64, decoded: u64) {
        add(self.by_ink.entry(ink).or_default(), on_disk);
        add(&mut self.on_disk, on_disk);
        add(&mut self.decoded, decoded);
    }

    fn add_all(&mut self, other: &Self) {
        for (&ink, &on_disk) in &other.by_ink {
            add(self.by_ink.entry(ink).or_default(), on_disk);
        }
        add(&mut self.on_disk, other.on_disk);
        add(&mut self.decoded, other.decoded);
        add(&mut self.shared, other.shared);
        add(&mut self.unreachable, other.unreachable);
    }
}

/// A name for each colour, in the order of the bars.
const NAMES: [(Ink, &str); 6] = [
    (Ink::Plain, "plain"),
    (Ink::Zlib, "zlib"),
    (Ink::Lzo, "lzo"),
    (Ink::Zstd, "zstd"),
    (Ink::Unknown, "unknown"),
    (Ink::Reserved, "preallocated"),
];

/// The page of a map, with directories as many names below the paths that were asked for.
/// `estimated` is what `--estimate` gave, `verified` the verdict where payloads were decoded.
pub(super) fn page(
    map: &Map,
    depth: usize,
    estimated: Option<&Done>,
    verified: Option<Verdict>,
    output: &Output,
) -> Page {
    let own = own_space(map);
    let mut all = Space::default();
    own.values().for_each(|space| all.add_all(space));
    let saved = all.decoded.saturating_sub(all.on_disk);
    let [on_disk, decoded] = [all.on_disk, all.decoded].map(|bytes| output.size(bytes));

    let paths = map.included.len();
    let about = format!(
        "{} in {}",
        count(map.files, "file"),
        count(u64::try_from(paths).unwrap_or(u64::MAX), "subvolume")
    );
    let mut page = Page::new(&format!("{on_disk} on disk: {about}"));
    let sentence = format!(
        "Extents decode to {decoded}; compression saves {}.{}",
        percent(saved, all.decoded),
        match verified {
            None => "",
            Some(Verdict::Sound) => " What was decoded of them is sound.",
            Some(Verdict::NotSound) =>
                " Not every one is sound: scan --verify prints which, and whose.",
            Some(Verdict::Trouble) => " Not every one was decoded.",
        }
    );
    let tone = match verified {
        None => Tone::Plain,
        Some(Verdict::Sound) => Tone::Good,
        Some(_) => Tone::Bad,
    };
    page.verdict(tone, &format!("{on_disk} on disk"), &about, &sentence);
    page.figures(&[
        ("files show", output.size(map.referenced_bytes)),
        ("shared", output.size(all.shared)),
        ("unreachable", output.size(all.unreachable)),
    ]);
    page.heading("On disk, by codec");
    let parts = NAMES.iter().map(|&(ink, name)| {
        let bytes = all.by_ink.get(&ink).copied().unwrap_or(0);
        (ink, name, bytes)
    });
    page.bytes_and_saved(parts, saved, output);
    unreachable(&all, &mut page, output);
    if let Some(done) = estimated {
        page.estimates(&done.estimates, done.samples, done.now, output);
    }
    directories(map, depth, &own, &mut page, output);
    page
}

/// What could be had back.
fn unreachable(all: &Space, page: &mut Page, output: &Output) {
    if all.unreachable == 0 {
        return;
    }
    page.heading("What could be had back");
    page.paragraph(&format!(
        "{} ({}) of the extents is shown by no file: it was overwritten or cut off. It comes back when the rest of the extent is written again, for instance by cp or \
         btrfs filesystem defragment, unless a snapshot shows the old extent.",
        output.size(all.unreachable),
        percent(all.unreachable, all.on_disk)
    ));
}

/// A row for each directory, the largest first.
fn directories(
    map: &Map,
    depth: usize,
    own: &HashMap<DirectoryId, Space>,
    page: &mut Page,
    output: &Output,
) {
    let mut with_below: HashMap<DirectoryId, Space> = HashMap::new();
    for (&directory, space) in own {
        let mut way = map.directories.way(directory);
        way.truncate(depth.saturating_add(1));
        way.sort_unstable();
        way.dedup();
        for above in way {
            with_below.entry(above).or_default().add_all(space);
        }
    }
    let mut rows: Vec<(Vec<u8>, Space)> = with_below
        .into_iter()
        .map(|(directory, space)| (map.directories.path(directory), space))
        .collect();
    rows.sort_by(|(a_path, a), (b_path, b)| {
        let by_size = b.on_disk.cmp(&a.on_disk);
        by_size.then_with(|| a_path.cmp(b_path))
    });
    let whole = rows.first().map_or(0, |(_, space)| space.on_disk);
    page.heading("Directories");
    page.table(
        [
            "directory",
            "by codec",
            "on disk",
            "of its data",
            "unreachable",
        ],
        rows.iter().take(ROWS).map(|(path, space)| {
            let name = shown(OsStr::from_bytes(path)).to_string();
            let parts = space.by_ink.iter().map(|(&ink, &part)| (ink, part));
            [
                Cell::Name(name),
                Cell::Bar {
                    parts: parts.collect(),
                    whole,
                    error: 0,
                },
                Cell::Number(output.size(space.on_disk)),
                Cell::Number(percent(space.on_disk, space.decoded)),
                Cell::Number(match space.unreachable {
                    0 => "none".to_owned(),
                    bytes => output.size(bytes),
                }),
            ]
        }),
    );
    if let Some(more) = rows.len().checked_sub(ROWS).filter(|&more| more > 0) {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        page.note(&format!(
            "{more} smaller ones are left out; scan prints all."
        ));
    }
    page.note(
        "An extent counts once, whatever shows it, for the directory of the first file that does; a \
         directory has what is below it.",
    );
}

/// What is counted for each directory itself.
fn own_space(map: &Map) -> HashMap<DirectoryId, Space> {
    let mut own: HashMap<DirectoryId, Space> = HashMap::new();
    for extent in map.extents() {
        let space = own.entry(extent.directory).or_default();
        space.add(ink(extent), extent.disk_bytes, extent.ram_bytes);
        if extent.shared {
            add(&mut space.shared, extent.disk_bytes);
        }
        let hidden = u128::from(map.unreachable(extent));
        let share = u128::from(extent.disk_bytes).saturating_mul(hidden);
        let share = share.checked_div(extent.ram_bytes.into()).unwrap_or(0);
        add(
            &mut space.unreachable,
            u64::try_from(share).unwrap_or(u64::MAX),
        );
    }
    for (&(directory, compression), inline) in &map.inline {
        let compression = OnDiskId(u8::try_from(compression).unwrap_or(u8::MAX));
        let space = own.entry(directory).or_default();
        space.add(by_number(compression), inline.disk_bytes, inline.ram_bytes);
    }
    own
}

fn ink(extent: &Extent) -> Ink {
    if extent.preallocated {
        Ink::Reserved
    } else {
        by_number(extent.compression)
    }
}

fn by_number(compression: OnDiskId) -> Ink {
    match compression {
        OnDiskId(0) => Ink::Plain,
        id => Ink::of(id.codec()),
    }
}
