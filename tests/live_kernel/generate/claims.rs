//! What is claimed of a payload, and where it is to land.

use btrfs_payload::rules::{EncodedIoId, ExtentFields};

use super::{Case, Placing, Random};

const SECTOR: u64 = 4096;

/// Claims that the ioctl takes, nearly always, for a payload that decodes to about `decoded`
/// bytes.
pub fn fit(random: &mut Random, case: &mut Case, decoded: usize, placing: Placing) {
    let payload = case.payload.len() as u64;
    let inline = match placing {
        Placing::Inline => true,
        Placing::Regular => false,
        Placing::Any => random.percent(40),
    };
    let inline = inline && payload <= 2048;
    let decoded = decoded as u64;
    let near = random.distance() as u64;
    let mut unencoded_len = match random.below(10) {
        0..=4 => decoded,
        5 => decoded.next_multiple_of(SECTOR),
        6 => decoded.saturating_sub(near),
        7 => decoded + near,
        8 => random.within(1..=131_072) as u64,
        _ => *random.pick(&[4096, 4097, 131_072]),
    };
    let most = if inline { SECTOR } else { 131_072 };
    if !random.percent(1) {
        unencoded_len = unencoded_len.clamp((payload + 1).min(most), most);
    }
    case.fields = ExtentFields::whole(unencoded_len, case.fields.compression);
    if inline {
        let sizes = [0, 0, 0, 1, unencoded_len.saturating_sub(1), unencoded_len];
        case.file_size = *random.pick(&sizes);
        return;
    }
    if random.percent(25) {
        let sectors = unencoded_len.saturating_sub(1) / SECTOR;
        let skipped = random.below(sectors as usize + 1) as u64 * SECTOR;
        let rest = unencoded_len - skipped;
        case.fields.unencoded_offset = skipped;
        case.fields.len = match random.below(4) {
            0 => rest,
            1 => (random.within(1..=32) as u64 * SECTOR).min(rest),
            _ => random.within(1..=rest as usize) as u64,
        };
    }
    case.offset = match random.below(10) {
        0..=2 => 0,
        3..=7 => random.within(1..=40) as u64 * SECTOR,
        8 => 131_072,
        _ => 1 << random.within(32..=50),
    };
    let end = case.offset + case.fields.len;
    case.file_size = match random.below(6) {
        0..=2 => 0,
        3 => case.offset.min(random.within(1..=200_000) as u64),
        4 => end,
        // Longer than what is written: that must end with a sector.
        _ => {
            let aligned = case.fields.len / SECTOR * SECTOR;
            if aligned > 0 && case.offset < 1 << 30 {
                case.fields.len = aligned;
                case.offset + aligned + random.within(1..=100_000) as u64
            } else {
                0
            }
        }
    };
    if case.file_size > 0 && case.file_size < 300_000 && random.percent(3) {
        case.background = 0xaa;
    }
}

/// Breaks one rule of the call, or a few.
pub fn break_rules(random: &mut Random, case: &mut Case) {
    for _ in 0..*random.pick(&[1, 1, 1, 2, 3]) {
        break_rule(random, case);
    }
}

fn break_rule(random: &mut Random, case: &mut Case) {
    let huge = *random.pick(&[
        1 << 32,
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ]);
    let near = random.distance() as u64;
    let payload = case.payload.len() as u64;
    let Case {
        fields,
        offset,
        file_size,
        ..
    } = case;
    match random.below(20) {
        0 => fields.compression = EncodedIoId(random.below(10) as u32),
        1 => fields.compression = EncodedIoId(random.next() as u32),
        2 => fields.encryption = *random.pick(&[1, 2, u32::MAX]),
        3 => case.flags = 1 << random.below(64),
        4 => case.reserved[random.below(64)] = 1 << random.below(8),
        5 => case.payload.clear(),
        6 => fields.len = 0,
        7 => fields.unencoded_len = *random.pick(&[payload, payload.saturating_sub(near), 0]),
        8 => {
            fields.unencoded_len = 131_072 + near;
            if random.percent(50) {
                fields.len = fields.unencoded_len;
            }
        }
        9 => fields.unencoded_len = huge,
        10 => fields.unencoded_offset = fields.unencoded_len.wrapping_add(near),
        11 => fields.unencoded_offset = huge,
        12 => fields.unencoded_offset = fields.unencoded_offset.wrapping_add(near),
        13 => fields.len = fields.len.wrapping_add(near),
        14 => fields.len = huge,
        15 => *offset = offset.wrapping_add(near),
        16 => *offset = huge,
        // Just below the end of all offsets.
        17 => {
            let end = (1 << 63) - u64::from(random.percent(50)) * SECTOR;
            *offset = (end - fields.len.min(1 << 20)) / SECTOR * SECTOR;
        }
        // The write ends inside the file, at a place that may not be a sector's end.
        18 => {
            let end = offset.saturating_add(fields.len);
            if end < 1 << 30 {
                *file_size = end + near;
            }
        }
        _ => case.read_only = true,
    }
}
