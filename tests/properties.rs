//! Properties that hold for any data and any bytes.
//!
//! * what we prepare is sound and decodes to the data, for every codec, level and sector size;
//! * the automatic level takes no more sectors than the most expensive effort it may use;
//! * no bytes make a decoder, a walker or a judge panic or give more than its cap;
//! * what the judge calls sound is read as the same bytes by every kernel we have a model of,
//!   on every page size, and by the fallback decoders of `btrfs receive`;
//! * what the judge calls unsound has a finding that says why, and its code is explained.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use btrfs_payload::prepare::{
    Checksum, Keep, Level, Options, PlainReason, Prepared, prepare_extent,
};
use btrfs_payload::rules::{
    Codec, EncodedIoId, ExtentFields, Sectors, Target, WriteAnswer, WriteCall, plain_sectors,
};
use btrfs_payload::validate::{
    Finding, Outcome, decode, explain, predict, validate, validate_by_walking,
};
use btrfs_payload::{Errno, Kernel};
use btrfs_payload_lzo::Effort;
use quickcheck::{Arbitrary, Gen, QuickCheck, TestResult};

/// Data with some structure, so that it compresses, of a length near a boundary or anywhere.
#[derive(Clone, Debug)]
struct Data(Vec<u8>);

const BOUNDARIES: [usize; 10] = [
    1, 4095, 4096, 4097, 8192, 16384, 65535, 65537, 131_071, 131_072,
];

impl Arbitrary for Data {
    fn arbitrary(g: &mut Gen) -> Self {
        let len = if bool::arbitrary(g) {
            *g.choose(&BOUNDARIES).unwrap()
        } else {
            usize::arbitrary(g) % 131_072 + 1
        };
        let mut data = Vec::with_capacity(len);
        let words: Vec<Vec<u8>> = (0..40).map(|_| Vec::arbitrary(g)).collect();
        while data.len() < len {
            match u8::arbitrary(g) % 8 {
                0 => data.extend((0..u8::arbitrary(g)).map(|_| u8::arbitrary(g))),
                1 => data.resize(data.len() + usize::from(u16::arbitrary(g) % 9000), 0),
                2 => {
                    let byte = u8::arbitrary(g);
                    data.resize(data.len() + usize::from(u8::arbitrary(g)), byte);
                }
                3 if !data.is_empty() => {
                    let start = usize::arbitrary(g) % data.len();
                    let end = data
                        .len()
                        .min(start + usize::from(u16::arbitrary(g) % 6000));
                    data.extend_from_within(start..end);
                }
                _ => data.extend_from_slice(g.choose(&words).unwrap()),
            }
        }
        data.truncate(len);
        Self(data)
    }
}

/// Everything that can be chosen.
#[derive(Clone, Debug)]
struct Choice(Options);

impl Arbitrary for Choice {
    fn arbitrary(g: &mut Gen) -> Self {
        let codec = *g.choose(&Codec::ALL).unwrap();
        let level = match codec {
            Codec::Zlib => *g.choose(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap(),
            Codec::Lzo => *g.choose(&[1, 9]).unwrap(),
            // Level 22 is slow without optimisation; the lowest levels are -131072 and -7.
            Codec::Zstd => *g
                .choose(&[-131_072, -1000, -7, -1, 1, 3, 5, 9, 12, 15, 19, 22])
                .unwrap(),
        };
        let level = *g
            .choose(&[
                Level::Number(level),
                Level::Number(level),
                Level::Default,
                Level::Smallest,
            ])
            .unwrap();
        let sector_size = 4096 << (u32::arbitrary(g) % 5);
        let mut options = Options::new(codec, level).sector_size(sector_size);
        options.keep = Keep::Smaller;
        options.zstd.checksum = *g.choose(&[Checksum::None, Checksum::Content]).unwrap();
        Self(options)
    }
}

fn check(tests: u64, property: impl quickcheck::Testable) {
    // Sizes are chosen above; the generator's own size is for the little words.
    QuickCheck::new()
        .tests(tests)
        .rng(Gen::new(24))
        .quickcheck(property);
}

/// The machines a payload for this filesystem may be read on: kernel and page size.
fn machines(sector_size: u32) -> impl Iterator<Item = (Kernel, u32)> {
    let pages = [4096, 16384, 65536]
        .into_iter()
        .filter(move |&page| page >= sector_size);
    pages.flat_map(|page| Kernel::ALL.into_iter().map(move |kernel| (kernel, page)))
}

/// What the fallback of `btrfs receive` makes of a payload: the bytes of the slice.
fn receive(payload: &[u8], fields: &ExtentFields) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    let len = usize::try_from(fields.unencoded_len).unwrap();
    match fields.codec().unwrap() {
        Codec::Zlib => btrfs_payload_zlib::receive::fallback(payload, len, &mut out)?,
        Codec::Lzo => {
            let sector_size = fields.compression.lzo_sector_size().unwrap() as usize;
            btrfs_payload_lzo::receive::fallback(payload, len, sector_size, &mut out)?;
        }
        Codec::Zstd => btrfs_payload_zstd::receive::fallback(payload, len, &mut out)?,
    }
    let start = usize::try_from(fields.unencoded_offset).unwrap();
    Ok(out[start..start + usize::try_from(fields.len).unwrap()].to_vec())
}

#[test]
fn what_we_prepare_is_sound_and_decodes_to_the_data() {
    fn property(data: Data, choice: Choice) -> TestResult {
        let (Data(data), Choice(options)) = (data, choice);
        let extent = match prepare_extent(&data, &options).unwrap() {
            Prepared::Hole => return TestResult::from_bool(data.iter().all(|&byte| byte == 0)),
            Prepared::Plain(reason) => {
                let PlainReason::DoesNotShrink { payload } = reason else {
                    return TestResult::error(format!("{reason} though smaller is enough"));
                };
                return TestResult::from_bool(payload >= data.len());
            }
            Prepared::Encoded(extent) => extent,
        };
        let (payload, fields) = (extent.payload(), extent.fields());
        let report = validate(payload, fields, &options.target);
        if !report.findings().is_empty() {
            return TestResult::error(format!("{:?}", report.findings()));
        }
        let sector_size = options.target.sector_size as usize;
        // Where as much as can be is inline, and where nothing is.
        let inline = options.target.max_inline(options.target.sector_size);
        let elsewhere = options.target.at(1 << 20);
        if decode(payload, fields, &options.target).unwrap() != data {
            return TestResult::error("decodes to something else");
        }
        // The same payload as it lies on disk, with the zeroes that fill its last sector.
        let mut disk = payload.to_vec();
        disk.resize(payload.len().next_multiple_of(sector_size), 0);
        if disk.len() < data.len()
            && (validate(&disk, fields, &elsewhere)
                != validate_by_walking(&disk, fields, &elsewhere)
                || decode(&disk, fields, &elsewhere).unwrap() != data)
        {
            return TestResult::error("padding confuses the judge");
        }
        TestResult::from_bool(
            [inline, elsewhere].iter().all(|place| {
                extent.check_place(place).is_ok()
                    && validate(payload, fields, place).findings().is_empty()
            }) && receive(payload, fields).is_ok_and(|bytes| bytes == data),
        )
    }
    check(300, property as fn(Data, Choice) -> TestResult);
}

/// What a more expensive effort could save is measured and not proven, for LZO from a few segments of
/// the extent: on real content three stretches in 6000 take a sector more. None of 20,000 cases
/// made as here did, so that this asks for none.
#[test]
fn auto_takes_no_more_sectors_than_any_effort_it_may_use() {
    /// The dearest effort of each codec that is tried.
    fn most_expensive(codec: Codec, data: &[u8], sector_size: u32) -> usize {
        let mut payload = Vec::new();
        match codec {
            Codec::Zlib => btrfs_payload_zlib::Encoder::new(btrfs_payload_zlib::Options::new(
                btrfs_payload_zlib::Level::NearSmallest,
            ))
            .and_then(|mut encoder| encoder.encode(data, &mut payload))
            .unwrap(),
            Codec::Lzo => btrfs_payload_lzo::Encoder::new(btrfs_payload_lzo::Options::new(
                Effort::Smallest,
                sector_size as usize,
            ))
            .and_then(|mut encoder| encoder.encode(data, &mut payload))
            .unwrap(),
            Codec::Zstd => btrfs_payload_zstd::Encoder::new(btrfs_payload_zstd::Options::new(16))
                .and_then(|mut encoder| encoder.encode(data, &mut payload))
                .unwrap(),
        }
        payload.len()
    }
    fn property(data: Data, sector_log: u8) -> TestResult {
        let Data(data) = data;
        let sector_size = 4096 << (sector_log % 3);
        // Without a payload: what would be inline takes none.
        let plain = plain_sectors(data.len() as u64, &Target::new(sector_size));
        let on_disk = |methods: &[(Codec, Level)]| {
            let mut options = Options::new(Codec::Zstd, Level::Auto).sector_size(sector_size);
            options.methods = methods.to_vec();
            match prepare_extent(&data, &options).unwrap() {
                Prepared::Hole => 0,
                Prepared::Plain { .. } => plain,
                Prepared::Encoded(extent) => {
                    let len = extent.payload().len() as u64;
                    Sectors::of(len, extent.fields(), &options.target).encoded
                }
            }
        };
        let mut least = u64::MAX;
        for codec in Codec::ALL {
            let auto = on_disk(&[(codec, Level::Auto)]);
            least = least.min(auto);
            let id = EncodedIoId::new(codec, sector_size).unwrap();
            let fields = ExtentFields::whole(data.len() as u64, id);
            let expensive = most_expensive(codec, &data, sector_size);
            // The ioctl takes no payload that is not smaller.
            let expensive = match expensive < data.len() {
                true => Sectors::of(expensive as u64, &fields, &Target::new(sector_size)).encoded,
                false => plain,
            };
            if auto > expensive.min(plain) || auto > on_disk(&[(codec, Level::Default)]) {
                return TestResult::error(format!(
                    "{codec}: {auto} sectors, {expensive} are enough"
                ));
            }
        }
        let all = on_disk(&Codec::ALL.map(|codec| (codec, Level::Auto)));
        TestResult::from_bool(all <= least)
    }
    check(150, property as fn(Data, u8) -> TestResult);
}

#[test]
fn every_slice_of_what_we_prepare_is_sound() {
    fn property(data: Data, choice: Choice, at: u16, len: usize) -> TestResult {
        let (Data(data), Choice(options)) = (data, choice);
        let sector_size = options.target.sector_size;
        let Prepared::Encoded(extent) = prepare_extent(&data, &options).unwrap() else {
            return TestResult::discard();
        };
        let sectors = data.len() / sector_size as usize;
        let start = usize::from(at) % (sectors + 1) * sector_size as usize;
        if start == data.len() {
            return TestResult::discard();
        }
        let len = len % (data.len() - start) + 1;
        let slice = extent.slice(start as u64, len as u64).unwrap();
        let target = options.target.at(u64::from(sector_size));
        let bytes = decode(slice.payload(), slice.fields(), &target).unwrap();
        let good = bytes == data[start..start + len]
            && machines(sector_size).all(|(kernel, page_size)| {
                let target = target.page_size(page_size);
                let outcome = predict(slice.payload(), slice.fields(), &target, kernel);
                matches!(outcome, Outcome::Data { bytes: read, .. } if bytes == read)
            });
        TestResult::from_bool(good)
    }
    check(60, property as fn(Data, Choice, u16, usize) -> TestResult);
}

/// A payload with damage, and claims that fit the original or do not.
#[derive(Clone, Debug)]
struct Damaged {
    payload: Vec<u8>,
    fields: ExtentFields,
    target: Target,
}

impl Arbitrary for Damaged {
    fn arbitrary(g: &mut Gen) -> Self {
        let Data(mut data) = Data::arbitrary(g);
        if u8::arbitrary(g) % 4 != 0 {
            data.truncate(1 + usize::arbitrary(g) % 12_000);
        }
        let Choice(mut options) = Choice::arbitrary(g);
        if options.methods[0].1 == Level::Smallest {
            options.methods[0].1 = Level::Default;
        }
        let extent = prepare_extent(&data, &options);
        let (mut payload, mut fields) = match extent.unwrap() {
            Prepared::Encoded(extent) => (extent.payload().to_vec(), *extent.fields()),
            _ => (
                data,
                ExtentFields::whole(
                    u64::arbitrary(g) % 131_073,
                    EncodedIoId(u32::arbitrary(g) % 9),
                ),
            ),
        };
        for _ in 0..u8::arbitrary(g) % 4 {
            damage(g, &mut payload);
        }
        let mut target = options.target;
        match u8::arbitrary(g) % 12 {
            0 => fields.unencoded_len = u64::arbitrary(g) % 140_000,
            1 => fields.len = u64::arbitrary(g) % (fields.len + 2),
            2 => fields.unencoded_offset = 4096 * (u64::arbitrary(g) % 33),
            3 => fields.compression = EncodedIoId(u32::arbitrary(g) % 9),
            4 => {
                fields.unencoded_len = fields.unencoded_len / 2 + 1;
                fields.len = fields.unencoded_len;
            }
            5 => {
                fields.unencoded_len = (fields.unencoded_len * 2).min(131_072);
                fields.len = fields.unencoded_len;
            }
            _ => {}
        }
        if bool::arbitrary(g) {
            target.offset = 65536 * u64::from(u16::arbitrary(g));
        }
        if u8::arbitrary(g) % 5 == 0 {
            target.file_size = u64::from(u32::arbitrary(g));
        }
        Self {
            payload,
            fields,
            target,
        }
    }
}

fn damage(g: &mut Gen, payload: &mut Vec<u8>) {
    let len = payload.len();
    if len == 0 {
        return;
    }
    // Half of the damage goes to the first bytes, where the headers are.
    let reach = if bool::arbitrary(g) { len } else { len.min(16) };
    let at = usize::arbitrary(g) % reach;
    match u8::arbitrary(g) % 9 {
        0 | 1 => payload[at] ^= 1 << (u8::arbitrary(g) % 8),
        2 => payload[at] = u8::arbitrary(g),
        3 => payload.truncate(at),
        4 => payload.truncate(len - 1 - usize::arbitrary(g) % len.min(12)),
        5 => payload.insert(at, u8::arbitrary(g)),
        6 => drop(payload.remove(at)),
        7 => payload.resize(len + usize::from(u8::arbitrary(g)), 0),
        _ => {
            let copy = payload.clone();
            payload.extend_from_slice(&copy[at..]);
        }
    }
}

#[test]
fn what_the_judge_calls_sound_is_read_alike_by_everyone() {
    fn property(damaged: Damaged) -> TestResult {
        let Damaged {
            payload,
            fields,
            target,
        } = damaged;
        let report = validate(&payload, &fields, &target);
        if validate_by_walking(&payload, &fields, &target) != report {
            return TestResult::error("the fast way and the slow way disagree");
        }
        for finding in report.findings() {
            if explain(finding.code).is_none() {
                return TestResult::error(format!("{} is not explained", finding.code));
            }
        }
        if !report.is_sound() {
            return TestResult::from_bool(decode(&payload, &fields, &target).is_err());
        }
        let bytes = decode(&payload, &fields, &target).unwrap();
        for (kernel, page_size) in machines(target.sector_size) {
            let target = target.page_size(page_size);
            let outcome = predict(&payload, &fields, &target, kernel);
            if !matches!(&outcome, Outcome::Data { bytes: read, .. } if *read == bytes) {
                return TestResult::error(format!(
                    "{kernel} with {page_size}-byte pages: {}; findings {:?}",
                    brief(&outcome),
                    report.findings()
                ));
            }
        }
        // Inline extents as Linux 7 makes them: sound for kernels, with a warning.
        let has_rest = |finding: &Finding| finding.code == "decodes-too-long";
        let is_whole_sector = report.findings().iter().any(has_rest);
        match receive(&payload, &fields) {
            Ok(read) if read == bytes => TestResult::passed(),
            Err(_) if is_whole_sector => TestResult::passed(),
            other => TestResult::error(format!(
                "btrfs receive: {:?}; findings {:?}",
                other.map(|bytes| bytes.len()),
                report.findings()
            )),
        }
    }
    check(8000, property as fn(Damaged) -> TestResult);
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Data { bytes, .. } => format!("{} bytes of data", bytes.len()),
        Outcome::ReadError { errno, good, .. } => format!("{errno} after {}", good.len()),
        other => format!("{other:.60?}"),
    }
}

#[test]
fn any_bytes_and_any_claims_are_judged_and_predicted_within_bounds() {
    fn property(payload: Vec<u8>, len: u64, unencoded_len: u64, at: u64, ids: u8) -> bool {
        let fields = ExtentFields {
            len,
            unencoded_len,
            unencoded_offset: at,
            compression: EncodedIoId(u32::from(ids % 9)),
            encryption: u32::from(ids / 128),
        };
        let target = Target::default().at(len ^ at).file_size(at);
        let _ = validate(&payload, &fields, &target);
        Kernel::ALL
            .into_iter()
            .all(|kernel| match predict(&payload, &fields, &target, kernel) {
                Outcome::Data { bytes, .. } => bytes.len() as u64 == len,
                Outcome::ReadError { good, .. } | Outcome::Uninitialised { good, .. } => {
                    good.len() as u64 <= len
                }
                Outcome::Refused(_) | Outcome::NothingWritten => {
                    WriteCall::new(payload.len() as u64, &fields, &target).answer(kernel)
                        != WriteAnswer::Taken
                }
                _ => true,
            })
    }
    check(2000, property as fn(Vec<u8>, u64, u64, u64, u8) -> bool);
}
