//! Commands that a writer would not make: what the check says of their frames and attributes.

use std::collections::BTreeSet;

use btrfs_payload::validate::Severity;

use crate::work::{checked, codes};

/// CRC-32C with the initial value 0 and no inversion, from the polynomial.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 }
        })
    })
}

pub fn frame(number: u16, attributes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(attributes.len()).unwrap();
    let mut frame = [&len.to_le_bytes()[..], &number.to_le_bytes(), &[0; 4]].concat();
    frame.extend(attributes);
    let crc = crc(&frame);
    frame[6..10].copy_from_slice(&crc.to_le_bytes());
    frame
}

pub fn tlv(number: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap();
    [&number.to_le_bytes()[..], &len.to_le_bytes(), value].concat()
}

/// A stream with the subvolume, the file `f` and these commands.
pub fn stream(version: u8, commands: &[Vec<u8>]) -> Vec<u8> {
    let subvol = [tlv(15, b"s"), tlv(1, &[1; 16]), tlv(2, &[0; 8])].concat();
    let file = [tlv(15, b"f"), tlv(3, &[0; 8])].concat();
    let mut stream = b"btrfs-stream\0".to_vec();
    stream.extend([version, 0, 0, 0]);
    stream.extend(frame(1, &subvol));
    stream.extend(frame(3, &file));
    stream.extend(commands.concat());
    stream.extend(frame(21, &[]));
    stream
}

/// Codes and severities, in order.
type Findings = Vec<(&'static str, Severity)>;

/// Every fault of a frame or attribute, with the codes and severities it has.
fn faults() -> Vec<(Vec<u8>, Findings)> {
    use Severity::{Error, Warning};
    let path = tlv(15, b"f");
    let chmod = |more: &[u8]| frame(18, &[&path[..], &tlv(5, &[0; 8]), more].concat());
    let time = [&[0; 8][..], &1_000_000_000_u32.to_le_bytes()].concat();
    let utimes = [
        &path[..],
        &tlv(11, &time),
        &tlv(10, &[0; 12]),
        &tlv(9, &[0; 12]),
    ]
    .concat();
    let long = vec![b'n'; 256];
    let xattr = |name: &[u8]| [&path[..], &tlv(13, name), &tlv(14, b"v")].concat();
    vec![
        (
            stream(1, &[frame(27, &path)]),
            vec![("unknown-command", Warning)],
        ),
        (
            stream(1, &[frame(24, &[&path[..], &tlv(26, &[0; 8])].concat())]),
            vec![("command-version", Warning), ("attribute-version", Warning)],
        ),
        (
            stream(1, &[frame(18, &[&path[..], &[5, 0, 8, 0, 1]].concat())]),
            vec![("attribute-truncated", Error)],
        ),
        (
            stream(1, &[frame(18, &[&path[..], &tlv(5, &[0; 7])].concat())]),
            vec![("attribute-size", Error)],
        ),
        (
            stream(1, &[frame(18, &path)]),
            vec![("attribute-missing", Error)],
        ),
        (
            stream(1, &[chmod(&tlv(36, b""))]),
            vec![("unknown-attribute", Error)],
        ),
        (
            stream(1, &[chmod(&path)]),
            vec![("duplicate-attribute", Warning)],
        ),
        (
            stream(1, &[chmod(&tlv(6, &[0; 8]))]),
            vec![("unused-attribute", Warning)],
        ),
        (
            stream(1, &[frame(13, &xattr(b"user.a\0b"))]),
            vec![("zero-byte", Error)],
        ),
        (
            stream(1, &[frame(13, &xattr(&long))]),
            vec![("name-too-long", Error)],
        ),
        (
            stream(1, &[frame(20, &utimes)]),
            vec![("nanoseconds", Error)],
        ),
        (
            [
                &stream(1, &[])[..17],
                &[0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0, 0],
            ]
            .concat(),
            vec![("command-too-long", Error)],
        ),
    ]
}

#[test]
fn every_fault_of_an_attribute_has_its_code() {
    assert_eq!(codes(&stream(1, &[])), [] as [&str; 0]);
    let mut seen = BTreeSet::new();
    for (stream, expected) in faults() {
        let (findings, summary) = checked(&stream);
        let found: Vec<_> = findings.iter().map(|f| (f.code, f.severity)).collect();
        assert_eq!(found, expected);
        let errors = expected
            .iter()
            .any(|&(_, severity)| severity == Severity::Error);
        assert_eq!(summary.is_sound(), !errors);
        seen.extend(expected.into_iter().map(|(code, _)| code));
    }
    assert_eq!(seen.len(), 13);
}

/// After a command that could not be read, what it may have made is not missed.
#[test]
fn a_lost_command_does_not_raise_others() {
    let mkdir = [tlv(15, b"d"), tlv(3, &[0; 8])].concat();
    let inside = [tlv(15, b"d/f"), tlv(3, &[0; 8])].concat();
    let mut lost = frame(4, &mkdir);
    lost[12] ^= 1;
    let damaged = stream(1, &[lost, frame(3, &inside)]);
    assert_eq!(codes(&damaged), ["command-checksum"]);
    // Without the damage, it is missed.
    let without = stream(1, &[frame(3, &inside)]);
    assert_eq!(codes(&without), ["parent-unknown"]);
}

/// However many rules a command breaks, some findings are kept, all are counted, an error is among
/// those kept, and they share one copy of the path.
#[test]
fn findings_of_one_command_are_bounded() {
    let mut attributes = tlv(15, &vec![b'p'; 60_000]);
    for _ in 0..4000 {
        attributes.extend(tlv(3, &[0; 8]));
    }
    let (found, summary) = checked(&stream(2, &[frame(11, &attributes)]));
    assert!(found.len() < 60, "{}", found.len());
    // Each attribute is unused, all but the first are there again.
    assert_eq!(summary.warnings, 4000 + 3999);
    assert!(found.iter().any(|finding| finding.code == "name-too-long"));
    let reported = u64::try_from(found.len()).unwrap();
    let counted = summary.errors + summary.warnings + summary.notes;
    assert_eq!(summary.not_reported + reported, counted);
    let paths: Vec<_> = found.iter().filter_map(|f| f.path.as_ref()).collect();
    let first = paths.first().unwrap().as_ptr();
    let sharing = paths.iter().filter(|path| path.as_ptr() == first);
    assert!(sharing.count() > 40);
    assert!(found.iter().all(|finding| finding.to_string().len() < 1000));
}
