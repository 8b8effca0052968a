//! What the fuzz targets do with their input. The tests run the same bodies on random input, so
//! that a target that no longer works is noticed without a fuzzer.

use btrfs_payload::Kernel;
use btrfs_payload::prepare::{Keep, Level, Options, Prepared, prepare_extent};
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields, Target};
use btrfs_payload::send_stream::{Command, Reader};
use btrfs_payload::validate::{Outcome, decode, predict, validate, validate_by_walking};

/// Claims from the first bytes, the payload from the rest: judged in both ways, predicted for
/// every kernel; what is sound is read alike.
pub fn payload(input: &[u8]) {
    let Some((claims, payload)) = input.split_first_chunk::<8>() else {
        return;
    };
    let [kind, sectors, slice, shift, a, b, c, place] = *claims;
    let unencoded_len = u64::from(u32::from_le_bytes([a, b, c & 1, 0])) + 1;
    let unencoded_offset = u64::from(slice % 32) * 4096;
    let fields = ExtentFields {
        len: unencoded_len.saturating_sub(unencoded_offset),
        unencoded_len,
        unencoded_offset,
        compression: EncodedIoId(u32::from(kind % 9)),
        encryption: 0,
    };
    let target = Target {
        offset: u64::from(place % 2) * 65536,
        file_size: u64::from(sectors) * 4096,
        ..Target::new(4096 << (shift % 5))
    };
    let report = validate(payload, &fields, &target);
    assert_eq!(report, validate_by_walking(payload, &fields, &target));
    let bytes = decode(payload, &fields, &target).ok();
    assert_eq!(bytes.is_some(), report.is_sound());
    for kernel in Kernel::ALL {
        let outcome = predict(payload, &fields, &target, kernel);
        if let Some(bytes) = &bytes {
            assert!(
                matches!(
                    &outcome,
                    Outcome::Data { bytes: read, right, .. } if read == bytes && *right == read.len()
                ),
                "{kernel}"
            );
        }
    }
}

/// A send stream: every command parsed, every finding of the reader asked for.
pub fn stream(input: &[u8]) {
    for raw in Reader::new(input) {
        let Ok(raw) = raw else { return };
        let _ = raw.issues().count();
        let _ = Command::parse(&raw);
    }
}

/// Data: what is made of it is sound and decodes to it.
pub fn encode(input: &[u8]) {
    let Some(([choice, shift], data)) = input.split_first_chunk::<2>() else {
        return;
    };
    let codec = match choice % 3 {
        0 => Codec::Zlib,
        1 => Codec::Lzo,
        _ => Codec::Zstd,
    };
    let level = match choice / 3 % 4 {
        0 => Level::Default,
        1 => Level::Number(1),
        2 => Level::Number(9),
        _ => Level::Smallest,
    };
    let mut options = Options::new(codec, level).sector_size(4096 << (shift % 5));
    options.keep = Keep::Smaller;
    if let Ok(Prepared::Encoded(extent)) = prepare_extent(data, &options) {
        let decoded = decode(extent.payload(), extent.fields(), &options.target);
        assert_eq!(decoded.as_deref(), Ok(data));
    }
}
