//! Prepared files on the running kernel: written as extents, filesystem unmounted and mounted,
//! read back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail as tests do

mod support;

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use btrfs_payload::extent::{ClaimedExtent, Content};
use btrfs_payload::ioctl::{self, ExtentWriter, WriterError};
use btrfs_payload::prepare::{
    Checksum, Keep, Level, Options, Prepared, prepare_extent, prepare_file,
};
use btrfs_payload::rules::Codec;
use support::{Mount, create};

/// The sizes at which something changes: sector, extent, one more, one less.
const SIZES: [usize; 9] = [
    1, 2048, 4095, 4096, 4097, 131_071, 131_072, 131_073, 200_000,
];

/// Every level a codec has, from the lowest to the smallest payload there is.
fn levels(codec: Codec) -> Vec<Level> {
    let numbers: Vec<i32> = match codec {
        Codec::Zlib => (1..=9).collect(),
        Codec::Lzo => vec![1, 9],
        Codec::Zstd => [-131_072, -1000, -50].into_iter().chain(-7..=22).collect(),
    };
    let numbers = numbers.into_iter().filter(|&level| level != 0);
    numbers
        .map(Level::Number)
        .chain([Level::Smallest, Level::Auto])
        .collect()
}

/// What a file became.
#[derive(Debug, Default)]
struct Tally {
    encoded: usize,
    plain: usize,
    holes: usize,
    /// LZO headers moved to the next sector.
    paddings: usize,
}

/// Prepares `source` and writes it as extents.
fn write(source: &File, to: &Path, options: &Options) -> Tally {
    let mut tally = Tally::default();
    let unread = |_: u64, _: &mut [u8]| unreachable!("nothing falls back");
    let file = create(to);
    let mut writer = ExtentWriter::new(&file, unread).unwrap();
    let jobs = NonZeroUsize::new(2).unwrap();
    prepare_file(source, options, jobs, |extent| {
        match &extent.content {
            Content::Encoded(encoded) => {
                tally.encoded += 1;
                if encoded.fields().codec() == Some(Codec::Lzo) {
                    let walk =
                        btrfs_payload_lzo::walk(encoded.payload(), 4096, 1 << 18, &mut |_| {});
                    tally.paddings += walk.paddings;
                }
            }
            Content::Plain(_) => tally.plain += 1,
            Content::Hole => tally.holes += 1,
        }
        writer.write(&extent)?;
        Ok::<_, WriterError>(())
    })
    .unwrap();
    let summary = writer.finish().unwrap();
    assert_eq!(
        summary.encoded.extents,
        u64::try_from(tally.encoded).unwrap()
    );
    assert_eq!(summary.fallbacks, []);
    tally
}

/// A file beside the filesystem with this content.
fn source(fs: &Mount, data: &[u8]) -> File {
    let file = create(fs.outside().join("source"));
    file.write_all_at(data, 0).unwrap();
    file
}

fn assert_all_read_back(fs: &Mount, written: &[(PathBuf, Vec<u8>)]) {
    fs.remount();
    for (path, data) in written {
        let read = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            read == *data,
            "{} reads back as something else",
            path.display()
        );
    }
}

#[test]
fn every_level_at_every_boundary() {
    let Some(fs) = support::btrfs("every_level_at_every_boundary", &Default::default()) else {
        return;
    };
    let text: Vec<u8> = support::corpus(1 << 20)
        .into_iter()
        .flat_map(|sample| sample.data)
        .collect();
    let mut written = Vec::new();
    let (mut inline, mut number) = (0, 0);
    for codec in Codec::ALL {
        for level in levels(codec) {
            for size in SIZES {
                // Other data each time.
                number += 1;
                let start = number * 7919 % (text.len() - size);
                let data = &text[start..start + size];
                let mut options = Options::new(codec, level);
                options.keep = Keep::Smaller;
                if number % 5 == 0 {
                    options.zstd.checksum = Checksum::Content;
                }
                let path = fs.join(format!("{codec} {level} {size}"));
                let tally = write(&source(&fs, data), &path, &options);
                inline += usize::from(size <= 4096 && tally.encoded == 1);
                written.push((path, data.to_vec()));
            }
        }
    }
    assert!(inline > 50, "only {inline} small files were encoded");
    assert_all_read_back(&fs, &written);
}

#[test]
fn files_of_megabytes() {
    let Some(fs) = support::btrfs("files_of_megabytes", &support::Options::default()) else {
        return;
    };
    let mut all = Vec::new();
    let mut samples = support::corpus(6 << 20);
    for sample in &samples {
        all.extend(&sample.data);
    }
    // A hole in the middle, and an end that is nobody's multiple.
    let mut one_more = all[..(1 << 20) + 1].to_vec();
    one_more[300_000..700_000].fill(0);
    samples.push(support::Sample {
        name: "one-more".to_owned(),
        data: one_more,
    });
    samples.push(support::Sample {
        name: "all".to_owned(),
        data: all,
    });
    let mut written = Vec::new();
    let mut total = Tally::default();
    for (codec, levels) in [
        (Codec::Zlib, &[1, 6][..]),
        (Codec::Lzo, &[1, 9]),
        (Codec::Zstd, &[-5, 3, 12]),
    ] {
        for (i, &level) in levels.iter().enumerate() {
            let options = Options::new(codec, Level::Number(level));
            // The whole once for each codec, its parts with the other levels.
            for sample in samples.iter().filter(|s| (s.name == "all") == (i == 0)) {
                let path = fs.join(format!("{codec} {level} {}", sample.name));
                let tally = write(&source(&fs, &sample.data), &path, &options);
                total.encoded += tally.encoded;
                total.plain += tally.plain;
                total.holes += tally.holes;
                total.paddings += tally.paddings;
                written.push((path, sample.data.clone()));
            }
        }
    }
    assert_all_read_back(&fs, &written);
    // Everything that can become of data did.
    assert!(total.encoded > 200, "{total:?}");
    assert!(total.plain > 20, "{total:?}");
    assert!(total.holes > 3, "{total:?}");
    println!("{total:?}");
}

#[test]
fn lzo_headers_that_move_to_the_next_sector() {
    let test = "lzo_headers_that_move_to_the_next_sector";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let words = support::generated(6 << 20).remove(2).data;
    let mut written = Vec::new();
    for level in [Level::Number(1), Level::Number(9), Level::Smallest] {
        let options = Options::new(Codec::Lzo, level);
        let mut data = Vec::new();
        let mut paddings = 0;
        // Three lengths in 4096 let a segment end just before a sector does, so that every
        // fortieth extent or so is one that is looked for here.
        for start in (0..words.len() - 131_072).cycle().step_by(4099).take(2000) {
            let piece = &words[start..start + 131_072];
            let prepared = prepare_extent(piece, &options).unwrap();
            let Prepared::Encoded(extent) = prepared else {
                panic!("words do not shrink");
            };
            let walk = btrfs_payload_lzo::walk(extent.payload(), 4096, 1 << 18, &mut |_| {});
            paddings += walk.paddings;
            if walk.paddings > 0 {
                data.extend(piece);
            }
            if paddings >= 2 {
                break;
            }
        }
        let path = fs.join(format!("padded {level}"));
        let tally = write(&source(&fs, &data), &path, &options);
        assert_eq!(tally.paddings, paddings);
        assert!(paddings >= 2, "level {level}: only {paddings}");
        written.push((path, data));
    }
    assert_all_read_back(&fs, &written);
}

#[test]
fn slices_of_one_payload() {
    let Some(fs) = support::btrfs("slices_of_one_payload", &support::Options::default()) else {
        return;
    };
    let data = support::text(131_072 - 100);
    let slices = [
        (0, 4096),
        (0, 5000),
        (4096, 4096),
        (4096, 100_000),
        (8192, 1),
        (65_536, 65_536 - 100),
        (126_976, 3996),
    ];
    let mut written = Vec::new();
    for codec in Codec::ALL {
        let options = Options::new(codec, Level::Default);
        let Prepared::Encoded(whole) = prepare_extent(&data, &options).unwrap() else {
            panic!("{codec} does not shrink text");
        };
        // Each at the start of a file, and each after a hole.
        for (from, len) in slices {
            for offset in [0, 12_288] {
                let slice = whole.slice(from, len).unwrap();
                let path = fs.join(format!("{codec} {from} {len} {offset}"));
                ioctl::encoded_write(create(&path), offset, &slice).unwrap();
                let mut expected = vec![0; usize::try_from(offset).unwrap()];
                let from = usize::try_from(from).unwrap();
                expected.extend(&data[from..from + usize::try_from(len).unwrap()]);
                written.push((path, expected));
            }
        }
        // The middle of an extent replaced by a slice of another: what is left are bookends.
        let path = fs.join(format!("{codec} middle"));
        let file = create(&path);
        ioctl::encoded_write(&file, 0, &whole).unwrap();
        let slice = whole.slice(40_960, 8192).unwrap();
        ioctl::encoded_write(&file, 16_384, &slice).unwrap();
        let mut expected = data.clone();
        expected.copy_within(40_960..49_152, 16_384);
        file.sync_all().unwrap();
        let starts: Vec<u64> = ioctl::extents(&file)
            .filter_map(|extent| match extent.unwrap().content {
                Content::Encoded(ClaimedExtent { fields, .. }) => Some(fields.unencoded_offset),
                _ => None,
            })
            .collect();
        assert_eq!(starts, [0, 40_960, 24_576], "{codec}");
        written.push((path, expected));
    }
    assert_all_read_back(&fs, &written);
}
