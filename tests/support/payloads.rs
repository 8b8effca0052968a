//! Payloads that this crate's encoders have no part in, and the claims that go with them.

use btrfs_payload::extent::EncodedExtent;
use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target};

/// Words with enough repetition to shrink and enough variety to differ everywhere.
pub fn text(len: usize) -> Vec<u8> {
    let line = |i: u32| format!("line {i}: {:08x}\n", i.wrapping_mul(2_654_435_761)).into_bytes();
    (0..).flat_map(line).take(len).collect()
}

/// One zstd frame, by libzstd.
pub fn zstd_of(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 3).unwrap()
}

/// One zlib stream, by miniz_oxide.
pub fn zlib_of(data: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(data, 6)
}

/// `segments` times 4096 bytes `a`, made by hand: a literal, then one long match at distance 1.
pub fn lzo_of_a(segments: u8) -> Vec<u8> {
    // 0x12: one literal; 0x20: a match of 2 + 31 + 15 * 255 + 237 = 4095 bytes; its distance;
    // 0x11 0 0: the end.
    let mut segment = vec![0x12, b'a', 0x20];
    segment.extend([0; 15]);
    segment.extend([237, 0, 0, 0x11, 0, 0]);
    let mut body = Vec::new();
    for _ in 0..segments {
        body.extend(u32::try_from(segment.len()).unwrap().to_le_bytes());
        body.extend(&segment);
    }
    let mut payload = u32::try_from(body.len() + 4)
        .unwrap()
        .to_le_bytes()
        .to_vec();
    payload.extend(body);
    payload
}

/// An extent for a place in a new file with 4096-byte sectors.
pub fn extent(payload: Vec<u8>, fields: ExtentFields, offset: u64) -> EncodedExtent {
    EncodedExtent::new(payload.into(), fields, &Target::default().at(offset)).unwrap()
}

/// The claims of an extent of which everything is shown.
pub fn whole(data: &[u8], id: EncodedIoId) -> ExtentFields {
    ExtentFields::whole(u64::try_from(data.len()).unwrap(), id)
}
