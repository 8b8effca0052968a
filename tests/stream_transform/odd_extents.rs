//! Encoded writes that are decoded by other means than extents are: inline extents of a whole
//! sector, as Linux 7 makes them, and what is larger than an extent.

use btrfs_payload::prepare::Level;
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields};
use btrfs_payload::send_stream::Version;
use btrfs_payload::validate::Severity;

use crate::by_hand::{begun, encoded, file, writes};
use crate::frames::{frame, stream, tlv};
use crate::support::{lzo_of_a, text, zlib_of, zstd_of};
use crate::work::{Work, checked, checked_for};

/// Payloads of 7.2.13, see testdata/make_cases/cases_inline.py: 300 bytes of 4096.
fn of_linux_7() -> [(EncodedIoId, Vec<u8>); 3] {
    let payload = |name: &str| {
        let file = format!(
            "{}/testdata/cases/{name}-inline-extent-of-a-whole-sector.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(file).unwrap();
        let case: serde_json::Value = serde_json::from_str(&text).unwrap();
        let hex: String = case["payload"]
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece.as_str().unwrap())
            .collect();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    [
        (EncodedIoId::ZLIB, payload("zlib")),
        (EncodedIoId::LZO_4K, payload("lzo")),
        (EncodedIoId::ZSTD, payload("zstd")),
    ]
}

fn every_rewriter() -> [Work; 7] {
    [
        Work::recompress(Codec::Zstd, Level::Number(3)),
        Work::recompress(Codec::Lzo, Level::Number(1)),
        Work::only_if_smaller(Codec::Zlib, Level::Number(9)),
        Work::decompress(true),
        Work::decompress(false),
        Work::reframe(4096),
        Work::reframe(16384),
    ]
}

#[test]
fn inline_extents_of_linux_7_are_a_warning_and_are_made_again() {
    let shown = &b"some compressible text\n".repeat(14)[..300];
    for (id, payload) in of_linux_7() {
        let stream = encoded(payload.clone(), ExtentFields::whole(300, id), 0);
        let (findings, summary) = checked(&stream);
        let found: Vec<_> = findings.iter().map(|f| (f.code, f.severity)).collect();
        assert_eq!(found, [("decodes-too-long", Severity::Warning)]);
        assert!(summary.is_sound());
        for work in every_rewriter() {
            let (out, _) = work.done(&stream);
            assert_eq!(file(&out), shown, "{work:?}");
            let sector_size = if let Work::Reframe(options) = &work {
                options.target.sector_size
            } else {
                4096
            };
            let (findings, _) = checked_for(&out, sector_size, 1);
            let codes: Vec<_> = findings.iter().map(|f| f.code).collect();
            // Every reader cuts zstd, so it may stay.
            let stays = id == EncodedIoId::ZSTD && !codes.is_empty();
            assert!(stays || codes.is_empty(), "{work:?}: {findings:?}");
        }
        // A receiver that has to decode the payload fails, but for zstd: too short to be smaller.
        let fields = ExtentFields::whole(payload.len() as u64 - 1, id);
        let stream = encoded(payload, fields, 0);
        assert_eq!(checked(&stream).1.is_sound(), id == EncodedIoId::ZSTD);
        let (out, _) = Work::decompress(true).done(&stream);
        let len = usize::try_from(fields.len).unwrap();
        assert_eq!(file(&out), shown[..len]);
    }
}

#[test]
fn inline_extents_of_larger_sectors_are_made_again_and_not_passed_on() {
    let data = [&text(300)[..], &[0; 16_384 - 300]].concat();
    let stream = encoded(
        zlib_of(&data),
        ExtentFields::whole(300, EncodedIoId::ZLIB),
        0,
    );
    // Memory that nobody wrote, on a filesystem with smaller sectors.
    assert!(!checked(&stream).1.is_sound());
    assert!(checked_for(&stream, 16_384, 1).1.is_sound());
    for work in every_rewriter() {
        let (out, _) = work.done(&stream);
        assert_eq!(file(&out), text(300), "{work:?}");
        assert_eq!(checked(&out).0, [], "{work:?}");
    }
}

/// A stream with an encoded write that our writer refuses.
fn larger(payload: &[u8], unencoded_len: u64, id: EncodedIoId) -> Vec<u8> {
    let len = unencoded_len.to_le_bytes();
    let attributes = [
        tlv(15, b"f"),
        tlv(18, &[0; 8]),
        tlv(27, &len),
        tlv(28, &len),
        tlv(29, &[0; 8]),
        tlv(30, &id.0.to_le_bytes()),
        [&19_u16.to_le_bytes()[..], payload].concat(),
    ];
    stream(2, &[frame(25, &attributes.concat())])
}

#[test]
fn what_is_larger_than_an_extent_is_decoded_as_receivers_do() {
    let data = text(400_000);
    let a = vec![b'a'; 64 * 4096];
    for (payload, data, id) in [
        (zlib_of(&data), &data, EncodedIoId::ZLIB),
        (zstd_of(&data), &data, EncodedIoId::ZSTD),
        (lzo_of_a(64), &a, EncodedIoId::LZO_4K),
    ] {
        let len = data.len() as u64;
        let stream = larger(&payload, len, id);
        let (findings, summary) = checked(&stream);
        assert!(summary.is_sound(), "{findings:?}");
        assert_eq!(findings[0].code, "receive-falls-back");
        let (out, _) = Work::decompress(true).done(&stream);
        assert_eq!(file(&out), *data);
        let (out, _) = Work::recompress(Codec::Zstd, Level::Number(3)).done(&stream);
        assert_eq!(file(&out), *data);
        assert_eq!(checked(&out).0, []);
        let encoded_bytes: u64 = writes(&out).iter().filter(|w| w.0).map(|w| w.2).sum();
        assert_eq!(encoded_bytes, data.len() as u64);
        // Damage is an error, whoever decodes it.
        let stream = larger(&payload[..payload.len() / 2], len, id);
        assert!(!checked(&stream).1.is_sound(), "{id:?}");
        assert!(Work::decompress(true).on(&stream, 1).is_err());
    }
    // A claim of a terabyte takes no memory.
    let stream = larger(&zstd_of(&data), 1 << 40, EncodedIoId::ZSTD);
    assert!(!checked(&stream).1.is_sound());
    assert!(Work::decompress(true).on(&stream, 1).is_err());
}

#[test]
fn reframe_judges_payloads_that_it_would_not_touch() {
    let mut writer = begun(Version::V2);
    let mut payload = zstd_of(&text(8192));
    payload[0] ^= 1;
    let fields = ExtentFields::whole(8192, EncodedIoId::ZSTD);
    writer
        .write_claimed(&"f".into(), 0, &fields, &payload.into())
        .unwrap();
    let stream = writer.finish().unwrap();
    let (out, summary, findings) = Work::reframe(16_384).on(&stream, 2).unwrap();
    assert!(out == stream);
    assert_eq!(summary.unsound, 1);
    assert_eq!(findings[0].code, "zstd-magic");
}
