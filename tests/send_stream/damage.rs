//! Damaged streams: never a panic, and never unnoticed.

use btrfs_payload::send_stream::{Command, ReadError, Reader, Version};
use quickcheck::{TestResult, quickcheck};

use crate::arbitrary::Stream;
use crate::by_hand::{end, frame, header, tlv};
use crate::round_trip;

/// What reading to the end tells.
#[derive(Debug, Default)]
struct Told {
    commands: u64,
    issues: usize,
    error: Option<ReadError>,
}

impl Told {
    fn is_sound(&self) -> bool {
        self.issues == 0 && self.error.is_none()
    }
}

/// Reads everything that can be read, in every way there is.
fn read(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    for raw in Reader::new(bytes) {
        match raw {
            Ok(raw) => {
                assert_eq!(raw.index(), told.commands);
                told.commands += 1;
                told.issues += raw.issues().count();
                let parsed = Command::parse(&raw);
                if let Err(error) = &parsed {
                    // What cannot be parsed has an issue that says so.
                    let issue = error.clone().into();
                    assert!(raw.issues().any(|found| found == issue), "{error}");
                }
                let values: usize = raw
                    .attributes()
                    .map_while(Result::ok)
                    .map(|attribute| attribute.value.len() + 2)
                    .sum();
                assert!(values <= raw.bytes().len());
            }
            Err(error) => told.error = Some(error),
        }
    }
    told
}

/// A stream with a bit of everything: 300 bytes or so.
fn small_stream(version: u32) -> Vec<u8> {
    let path = tlv(15, b"a");
    let time = tlv(11, &[1; 12]);
    let mut write = [path.clone(), tlv(18, &[0; 8])].concat();
    if version == 1 {
        write.extend(tlv(19, b"some data"));
    } else {
        write.extend(b"\x13\0some data");
    }
    [
        header(version),
        frame(
            1,
            &[
                path.clone(),
                tlv(1, &[9; 16]),
                tlv(2, &[7, 0, 0, 0, 0, 0, 0, 0]),
            ]
            .concat(),
        ),
        frame(
            3,
            &[path.clone(), tlv(3, &[1, 1, 0, 0, 0, 0, 0, 0])].concat(),
        ),
        frame(15, &write),
        frame(
            20,
            &[path, time, tlv(10, &[2; 12]), tlv(9, &[3; 12])].concat(),
        ),
        end(),
    ]
    .concat()
}

/// Flips each bit of a sound stream.
pub fn every_flipped_bit_is_noticed_in(sound: &[u8], name: &str) {
    assert!(read(sound).is_sound());
    let mut damaged = sound.to_vec();
    for bit in 0..sound.len() * 8 {
        damaged[bit / 8] ^= 1 << (bit % 8);
        // The stream header has no checksum: another version that exists reads without
        // trouble, as far as it frames data alike.
        let in_version = (13..17).contains(&(bit / 8));
        let other = u32::from_le_bytes(damaged[13..17].try_into().unwrap());
        if !in_version || Version::from_number(other).is_none() {
            assert!(!read(&damaged).is_sound(), "bit {bit} of {name}");
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for version in [1, 2, 3] {
        every_flipped_bit_is_noticed_in(&small_stream(version), &format!("version {version}"));
    }
}

#[test]
fn every_cut_says_how_much_is_whole() {
    let sound = small_stream(1);
    let mut starts = vec![17];
    let mut reader = Reader::new(&sound[..]);
    while reader.read_command().unwrap().is_some() {
        starts.push(usize::try_from(reader.offset()).unwrap());
    }
    assert_eq!(starts.pop(), Some(sound.len()));
    for len in 0..sound.len() {
        let whole = starts.iter().rposition(|&start| start <= len);
        let expected = whole.map_or((0, 0), |i| (starts[i], i));
        let told = read(&sound[..len]);
        let (offset, commands) = match told.error.unwrap() {
            ReadError::Truncated {
                offset,
                commands,
                available,
                ..
            } => {
                assert_eq!(available, len - expected.0);
                (offset, commands)
            }
            ReadError::MissingEnd { offset, commands } => {
                assert_eq!(expected.0, len);
                (offset, commands)
            }
            ReadError::Empty => {
                assert_eq!(len, 0);
                (0, 0)
            }
            error => panic!("cut at {len}: {error}"),
        };
        assert_eq!(
            (
                usize::try_from(offset).unwrap(),
                usize::try_from(commands).unwrap()
            ),
            expected
        );
        assert_eq!(told.commands, commands);
        assert_eq!(told.issues, 0);
    }
}

/// Changes bytes of a stream as the numbers say.
fn mutate(bytes: &mut Vec<u8>, changes: &[(u16, u8, u8)]) {
    for &(place, value, action) in changes {
        let place = usize::from(place) % (bytes.len() + 1);
        match action % 5 {
            0 => bytes.insert(place, value),
            1 => bytes.truncate(place),
            2 if place + 4 <= bytes.len() => bytes[place..place + 4].fill(0xff),
            3 => {
                let tail = bytes[place..].to_vec();
                bytes.extend(tail);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= value;
                }
            }
        }
    }
}

quickcheck! {
    fn damaged_streams_are_noticed(stream: Stream, changes: Vec<(u16, u8, u8)>) -> TestResult {
        let sound = round_trip::write(&stream);
        let mut damaged = sound.clone();
        mutate(&mut damaged, &changes);
        let told = read(&damaged);
        // Whole streams one after the other are sound, and so is another version.
        let (start, rest) = damaged.split_at(17.min(damaged.len()));
        if damaged == sound || start != &sound[..17] || rest.len() > sound.len() - 17 {
            return TestResult::discard();
        }
        TestResult::from_bool(!told.is_sound())
    }

    fn anything_behind_a_header_is_read_without_panic(version: u8, bytes: Vec<u8>) -> bool {
        let mut input = header(u32::from(version % 3) + 1);
        input.extend(bytes);
        !read(&input).is_sound()
    }

    fn anything_inside_a_frame_is_read_without_panic(number: u8, bytes: Vec<u8>) -> bool {
        for version in [1, 2, 3] {
            let input = [header(version), frame(u16::from(number % 28), &bytes), end()].concat();
            read(&input);
        }
        true
    }
}
