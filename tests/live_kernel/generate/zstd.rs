//! zstd payloads, and what only they have: frame header, blocks, skippable frames.

use std::io::Write;

use zstd::zstd_safe::CParameter;

use super::{Random, data};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A sound payload, or nearly, and what it decodes to.
pub fn payload(random: &mut Random, data: &[u8]) -> (Vec<u8>, usize) {
    if random.percent(15) {
        return by_hand(random, data);
    }
    let most = if data.len() > 20_000 { 5 } else { 19 };
    let level = i32::try_from(random.within(0..=most + 7)).unwrap() - 7;
    let window = u32::try_from(match random.below(10) {
        0..=3 => 17,
        4..=6 => random.within(10..=17),
        7..=9 if random.percent(90) => random.within(18..=21),
        _ => random.within(22..=27),
    })
    .unwrap();
    if random.percent(50) {
        let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
        for parameter in [
            CParameter::WindowLog(window),
            CParameter::ChecksumFlag(random.percent(30)),
            CParameter::ContentSizeFlag(random.percent(80)),
        ] {
            compressor.set_parameter(parameter).unwrap();
        }
        return (compressor.compress(data).unwrap(), data.len());
    }
    // Several blocks, with and without a size that is known before.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), level).unwrap();
    encoder.window_log(window).unwrap();
    encoder.include_checksum(random.percent(30)).unwrap();
    if random.percent(60) {
        let size = u64::try_from(data.len()).unwrap();
        encoder.set_pledged_src_size(Some(size)).unwrap();
    }
    let piece = random.within(1..=data.len()).max(data.len() / 20);
    for piece in data.chunks(piece) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    (encoder.finish().unwrap(), data.len())
}

/// A frame of raw and run-length blocks.
fn by_hand(random: &mut Random, data: &[u8]) -> (Vec<u8>, usize) {
    let mut blocks = Vec::new();
    let mut rest = data;
    let mut out = 0;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.within(1..=rest.len()));
        rest = later;
        let len = if random.percent(10) { 0 } else { now.len() };
        let block = if random.percent(60) {
            Block {
                kind: 1,
                size: len,
                content: vec![now[0]],
            }
        } else {
            Block {
                kind: 0,
                size: len,
                content: now[..len].to_vec(),
            }
        };
        blocks.push(block);
        out += len;
    }
    let mut frame = Frame {
        header: Header::default(),
        blocks,
        rest: Vec::new(),
    };
    frame.header.content_size = random.percent(70).then_some(out);
    frame.header.single_segment = random.percent(40) && frame.header.content_size.is_some();
    (frame.assemble(random, false), out)
}

#[derive(Debug, Clone)]
struct Block {
    kind: usize,
    size: usize,
    content: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Header {
    single_segment: bool,
    checksum: bool,
    /// Bits 3 and 4 of the descriptor.
    bits: u8,
    window: u8,
    dictionary: Vec<u8>,
    content_size: Option<usize>,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            single_segment: false,
            checksum: false,
            bits: 0,
            window: 7 << 3,
            dictionary: Vec::new(),
            content_size: None,
        }
    }
}

/// A frame taken apart to its blocks.
#[derive(Debug, Clone)]
struct Frame {
    header: Header,
    blocks: Vec<Block>,
    /// The checksum, and what else lies after the blocks.
    rest: Vec<u8>,
}

impl Frame {
    fn parse(payload: &[u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&MAGIC)?;
        let (&descriptor, mut rest) = rest.split_first()?;
        let mut header = Header {
            single_segment: descriptor & 0x20 != 0,
            checksum: descriptor & 4 != 0,
            bits: descriptor & 0x18,
            ..Header::default()
        };
        if !header.single_segment {
            let (&window, behind) = rest.split_first()?;
            header.window = window;
            rest = behind;
        }
        let (dictionary, behind) =
            rest.split_at_checked([0, 1, 2, 4][usize::from(descriptor & 3)])?;
        header.dictionary = dictionary.to_vec();
        let single = usize::from(header.single_segment);
        let size = [single, 2, 4, 8][usize::from(descriptor >> 6)];
        let (size, mut rest) = behind.split_at_checked(size)?;
        if !size.is_empty() {
            let mut bytes = [0; 8];
            bytes[..size.len()].copy_from_slice(size);
            let more = if size.len() == 2 { 256 } else { 0 };
            let size = u64::from_le_bytes(bytes).wrapping_add(more);
            header.content_size = usize::try_from(size).ok();
        }
        let mut blocks = Vec::new();
        loop {
            let (head, behind) = rest.split_at_checked(3)?;
            let head =
                usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
            let (kind, size) = (head >> 1 & 3, head >> 3);
            let (content, behind) = behind.split_at_checked(if kind == 1 { 1 } else { size })?;
            blocks.push(Block {
                kind,
                size,
                content: content.to_vec(),
            });
            rest = behind;
            if head & 1 == 1 {
                break;
            }
        }
        Some(Self {
            header,
            blocks,
            rest: rest.to_vec(),
        })
    }

    /// The frame's bytes; if `wrong`, the last block may not be marked, or an earlier one.
    fn assemble(&self, random: &mut Random, wrong: bool) -> Vec<u8> {
        let header = &self.header;
        let mut bytes = MAGIC.to_vec();
        let dictionary = [0_u8, 1, 2, 0, 3][header.dictionary.len()];
        // The width of the content size: any that holds it.
        let size = header.content_size.map(|size| size as u64);
        let width: usize = match size {
            None => 0,
            Some(size) => {
                let mut widths = vec![8];
                if size <= u64::from(u32::MAX) {
                    widths.push(4);
                }
                if (256..=65_791).contains(&size) {
                    widths.extend([2, 2]);
                }
                if size < 256 && header.single_segment {
                    widths.extend([1, 1]);
                }
                *random.pick(&widths)
            }
        };
        let single = header.single_segment && width > 0;
        let width_code = [0_u8, 0, 1, 0, 2, 0, 0, 0, 3][width];
        bytes.push(
            width_code << 6
                | u8::from(single) << 5
                | header.bits
                | u8::from(header.checksum) << 2
                | dictionary,
        );
        if !single {
            bytes.push(header.window);
        }
        bytes.extend(&header.dictionary);
        let size = size
            .unwrap_or(0)
            .wrapping_sub(if width == 2 { 256 } else { 0 });
        bytes.extend(&size.to_le_bytes()[..width]);
        let early = (wrong && random.percent(10)).then(|| random.below(self.blocks.len()));
        let unmarked = wrong && random.percent(10);
        for (number, block) in self.blocks.iter().enumerate() {
            let last = number + 1 == self.blocks.len() && !unmarked || early == Some(number);
            let head = block.size << 3 | block.kind << 1 | usize::from(last);
            bytes.extend(&head.to_le_bytes()[..3]);
            bytes.extend(&block.content);
        }
        bytes.extend(&self.rest);
        bytes
    }
}

fn skippable(random: &mut Random) -> Vec<u8> {
    let len = *random.pick(&[0, 0, 1, 10, 100, 4000]);
    let mut frame = vec![0x50 | random.byte() & 15, 0x2a, 0x4d, 0x18];
    let said = if random.percent(90) {
        len
    } else {
        random.next() as u32 as usize
    };
    frame.extend(u32::try_from(said).unwrap().to_le_bytes());
    frame.extend(random.bytes(len));
    frame
}

/// Changes what only zstd payloads have. Returns by how many bytes the decoded length grew.
pub fn change(random: &mut Random, payload: &mut Vec<u8>) -> usize {
    let Some(mut frame) = Frame::parse(payload) else {
        return 0;
    };
    let header = &mut frame.header;
    let at = random.below(frame.blocks.len());
    let mut grown = 0;
    match random.below(16) {
        0 => header.window = random.byte(),
        1 => {
            // Windows of all sizes that matter, with and without a content size.
            header.single_segment = false;
            header.window = u8::try_from(random.within(0..=17 << 3)).unwrap();
            if random.percent(50) {
                header.content_size = None;
            }
        }
        2 => header.single_segment = !header.single_segment,
        3 => header.content_size = None,
        4 => {
            let size = header.content_size.unwrap_or(4096);
            let by = random.distance();
            header.content_size = Some(match random.below(4) {
                0 => size.wrapping_add(by),
                1 => size.saturating_sub(by),
                2 => usize::MAX,
                _ => *random.pick(&[0, 1, 255, 256, 4096, 131_072, 131_073]),
            });
        }
        5 => header.checksum = !header.checksum,
        6 => header.bits = 8 << random.below(2),
        7 => {
            let id = u32::try_from(random.below(3)).unwrap() * 77;
            let len = *random.pick(&[1, 2, 4]);
            header.dictionary = id.to_le_bytes()[..len].to_vec();
        }
        8 => frame.blocks.swap(0, at),
        9 => {
            frame.blocks.remove(at);
        }
        // A block more: empty, raw, run-length, reserved.
        10 | 11 => {
            let size = *random.pick(&[0, 0, 1, 100, 4096, 131_072, 131_073]);
            let kind = random.below(20).min(3);
            let kind = if kind == 2 { 0 } else { kind };
            let kind = if kind == 3 && random.percent(90) {
                1
            } else {
                kind
            };
            let content = if kind == 1 {
                random.bytes(1)
            } else {
                data::bytes(random, size.min(4096))
            };
            let size = if kind == 1 { size } else { content.len() };
            let block = Block {
                kind,
                size,
                content,
            };
            frame.blocks.insert(at + random.below(2), block);
            header.content_size = header.content_size.map(|old| old.wrapping_add(size));
            grown = size;
        }
        12 => {
            let size = &mut frame.blocks[at].size;
            *size = match random.below(3) {
                0 => *size + random.distance(),
                1 => size.saturating_sub(random.distance()),
                _ => random.below(1 << 21),
            };
        }
        13 => frame.blocks[at].kind = random.below(4),
        // A raw block in front, so that the payload ends exactly with a sector, or near it.
        14 => {
            let space = (8192 - 3 - payload.len() % 4096) % 4096;
            let len = (space + *random.pick(&[0, 0, 0, 1, 2, 3, 4, 4092])) % 4096;
            let content = data::bytes(random, len);
            frame.blocks.insert(
                0,
                Block {
                    kind: 0,
                    size: len,
                    content,
                },
            );
            header.content_size = header.content_size.map(|old| old.wrapping_add(len));
            grown = len;
        }
        // A skippable frame, or one without data, before or after.
        _ => {
            let mut other = skippable(random);
            if random.percent(30) {
                other = [&MAGIC[..], &[0x20, 0, 1, 0, 0]].concat();
            }
            if random.percent(50) {
                payload.splice(0..0, other);
            } else {
                payload.extend(other);
            }
            return 0;
        }
    }
    if !frame.blocks.is_empty() {
        let wrong = random.percent(30);
        *payload = frame.assemble(random, wrong);
    }
    grown
}
