//! The page of `stream stats`.

use btrfs_payload::transform::{CodecStats, Stats};

use crate::estimates::Estimated;
use crate::output::{Output, count};
use crate::page::{Cell, Ink, Page, Tone, percent};

/// The data of one kind.
struct Kind<'a> {
    ink: Ink,
    name: &'static str,
    sums: &'a CodecStats,
}

/// The page of a stream that was counted. `faults` are what receivers fail at, where there is
/// something; `sector` is the size of a sector, bytes.
pub(super) fn page(
    name: &str,
    stats: &Stats,
    estimates: &[Estimated],
    faults: Option<&str>,
    sector: u64,
    output: &Output,
) -> Page {
    let encoded = stats.encoded.iter().map(|(codec, sums)| Kind {
        ink: Ink::of(*codec),
        name: codec.map_or("unknown", |codec| codec.name()),
        sums,
    });
    let kind = |ink, name, sums| Kind { ink, name, sums };
    let mut kinds = vec![kind(Ink::Plain, "plain", &stats.plain)];
    kinds.extend(encoded);
    kinds.push(kind(Ink::Unknown, "unknown", &stats.unknown));
    let sum = |of: fn(&CodecStats) -> u64| {
        let all = kinds.iter().map(|kind| of(kind.sums));
        all.fold(0, u64::saturating_add)
    };
    let (data, extents) = (sum(|sums| sums.data), sum(|sums| sums.extents));
    let [on_disk, uncompressed] = [sum(|sums| sums.sectors), sum(|sums| sums.plain_sectors)]
        .map(|sectors| sectors.saturating_mul(sector));
    let saved = uncompressed.saturating_sub(on_disk);

    let mut page = Page::new(&format!("{name}: {} in it", output.size(data)));
    let streams = count(stats.streams, "stream");
    match faults {
        Some(faults) => page.verdict(Tone::Bad, "Receivers fail", name, faults),
        None => page.verdict(
            Tone::Plain,
            &format!("{} saved", percent(saved, uncompressed)),
            name,
            &format!(
                "{} on disk instead of {}, once {} received.",
                output.size(on_disk),
                output.size(uncompressed),
                match stats.streams {
                    1 => "it is".to_owned(),
                    _ => format!("its {streams} are"),
                }
            ),
        ),
    }
    page.figures(&[
        ("streams", stats.streams.to_string()),
        ("size of the stream", output.size(stats.bytes)),
        ("data of files", output.size(data)),
        ("extents", extents.to_string()),
        ("on disk", output.size(on_disk)),
    ]);

    page.heading("On disk, by codec");
    let on_disk_of = |kind: &Kind| kind.sums.sectors.saturating_mul(sector);
    let parts = kinds
        .iter()
        .map(|kind| (kind.ink, kind.name, on_disk_of(kind)));
    page.bytes_and_saved(parts, saved, output);
    let rows = kinds.iter().filter(|kind| kind.sums.extents > 0);
    let rows = rows.map(|kind| {
        let sums = kind.sums;
        [
            Cell::Ink(kind.ink, kind.name.to_owned()),
            Cell::Number(sums.extents.to_string()),
            Cell::Number(output.size(sums.data)),
            Cell::Number(output.size(sums.payload)),
            Cell::Number(output.size(on_disk_of(kind))),
        ]
    });
    page.table(
        ["data", "extents", "of files", "in the stream", "on disk"],
        rows,
    );
    if !estimates.is_empty() {
        let samples = stats.estimates.first().map_or(0, |first| first.samples);
        page.estimates(estimates, samples, on_disk, output);
    }
    page.heading("Commands");
    let commands = stats.commands.iter();
    let commands = commands.map(|(kind, number)| {
        let name = Cell::Name(kind.name().to_owned());
        [name, Cell::Number(number.to_string())]
    });
    page.table(["command", "how many"], commands);
    page
}

/// The page of a stream that cannot be counted.
pub(super) fn damaged(name: &str, error: &anyhow::Error) -> Page {
    let mut page = Page::new(&format!("{name}: damaged"));
    page.verdict(Tone::Bad, "Damaged", name, &format!("{error:#}"));
    page.paragraph("`stream check` lists everything that is wrong with it, and what to do.");
    page
}
