//! Cases: payloads of every valid shape, mutants of them, broken rules of the call.
//!
//! A case is determined by codec, seed, number and placing, and by nothing else.

mod claims;
mod data;
mod deflate;
mod lzo;
mod mutate;
mod zlib;
mod zstd;

use std::fmt;
use std::str::FromStr;

use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields};

pub use crate::support::Random;
use mutate::Structure;

/// Payloads that cases begin with; what a case does to one is its own.
const POOL: u64 = 600;

/// Where cases are to land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// In inline extents, as far as the payload is small enough.
    Inline,
    /// In regular extents.
    Regular,
    /// In both.
    Any,
}

impl FromStr for Placing {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "inline" => Ok(Self::Inline),
            "regular" => Ok(Self::Regular),
            "any" => Ok(Self::Any),
            _ => Err(format!("no placement {name:?}: inline, regular or any")),
        }
    }
}

impl fmt::Display for Placing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline => "inline",
            Self::Regular => "regular",
            Self::Any => "any",
        })
    }
}

/// One encoded write into a fresh file, and how it is read back.
#[derive(Debug, Clone)]
pub struct Case {
    pub payload: Vec<u8>,
    pub fields: ExtentFields,
    pub offset: u64,
    /// Size of the file before, bytes.
    pub file_size: u64,
    /// What the file holds before: zeroes are a hole.
    pub background: u8,
    pub flags: u64,
    pub reserved: [u8; 64],
    /// Through a descriptor that is not open for writing.
    pub read_only: bool,
    /// Read page by page, from the last to the first.
    pub by_pages: bool,
}

/// A payload that cases begin with.
struct Base {
    payload: Vec<u8>,
    decoded: usize,
    structure: Structure,
}

/// Makes the cases of one codec and seed.
pub struct Generator {
    codec: Codec,
    seed: u64,
    placing: Placing,
    bases: Vec<Base>,
    /// Those with a payload that may become inline.
    small: Vec<usize>,
}

impl Generator {
    pub fn new(codec: Codec, seed: u64, placing: Placing) -> Self {
        let bases: Vec<Base> = (0..POOL)
            .map(|number| {
                let mut random = Random::of_case(!seed, number);
                let len = match number % 6 {
                    0..=2 => data::length(&mut random, 4500),
                    // Damage inside leaves pages in front of it that can be read.
                    3 | 4 => random.within(8192..=40_000),
                    _ => data::length(&mut random, 131_072),
                };
                let (payload, decoded) = fresh(codec, &mut random, len);
                Base {
                    structure: Structure::of(codec, &payload),
                    payload,
                    decoded,
                }
            })
            .collect();
        let small = (0..bases.len())
            .filter(|&i| bases[i].payload.len() <= 2048)
            .collect();
        Self {
            codec,
            seed,
            placing,
            bases,
            small,
        }
    }

    /// The case with this number.
    pub fn case(&self, number: u64) -> Case {
        let mut random = Random::of_case(self.seed, number);
        let random = &mut random;
        let mut case = Case {
            payload: Vec::new(),
            fields: ExtentFields::whole(0, EncodedIoId::new(self.codec, 4096).unwrap()),
            offset: 0,
            file_size: 0,
            background: 0,
            flags: 0,
            reserved: [0; 64],
            read_only: false,
            by_pages: false,
        };
        let decoded = self.payload(random, &mut case.payload);
        claims::fit(random, &mut case, decoded, self.placing);
        if random.percent(4) {
            claims::break_rules(random, &mut case);
        }
        case.by_pages = case.fields.len <= 65536 && random.percent(12);
        case
    }

    /// A payload, and about what it decodes to.
    fn payload(&self, random: &mut Random, payload: &mut Vec<u8>) -> usize {
        let small = self.placing == Placing::Inline || random.percent(40);
        let base = |random: &mut Random| {
            if small && !self.small.is_empty() {
                &self.bases[*random.pick(&self.small)]
            } else {
                random.pick(&self.bases)
            }
        };
        // Encoders of zstd take their time to get ready.
        let often = if self.codec == Codec::Zstd { 2 } else { 10 };
        if random.percent(often) {
            let len = data::length(random, if small { 4500 } else { 131_072 });
            let (fresh, decoded) = fresh(self.codec, random, len);
            *payload = fresh;
            return decoded;
        }
        let first = base(random);
        payload.clone_from(&first.payload);
        let mut decoded = first.decoded;
        if random.percent(8) {
            return decoded;
        }
        for _ in 0..*random.pick(&[1, 1, 1, 1, 2, 3]) {
            if random.percent(40) {
                decoded += match self.codec {
                    Codec::Zlib => zlib::change(random, payload),
                    Codec::Lzo => lzo::change(random, payload),
                    Codec::Zstd => zstd::change(random, payload),
                };
            } else {
                let other = base(random);
                let other = (&other.payload[..], &other.structure);
                mutate::change(random, payload, &first.structure, other);
            }
        }
        decoded
    }
}

/// A payload as an encoder makes it, or written by hand.
fn fresh(codec: Codec, random: &mut Random, len: usize) -> (Vec<u8>, usize) {
    let data = data::bytes(random, len);
    match codec {
        Codec::Zlib => zlib::payload(random, &data),
        Codec::Lzo => lzo::payload(random, &data),
        Codec::Zstd => zstd::payload(random, &data),
    }
}
