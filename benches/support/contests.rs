//! Which contests there are: encoding, decoding, judging and predicting, for each codec.
//!
//! Without the feature `peers` this crate's own contestants run alone.

use std::rc::Rc;

use btrfs_payload::Kernel;
use btrfs_payload::prepare::{Level, Options, Prepared, Preparer};
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields, Sectors, Target};
use btrfs_payload::validate::{Validator, predict};
use btrfs_payload_lzo::Effort;

use super::contest::Contest;
use super::corpus::{EXTENT, Kind};
#[cfg(feature = "peers")]
use super::peers;

/// Extents, shared by contestants.
type Extents = Rc<Vec<Vec<u8>>>;

/// Every contest on a kind of content. Encoders all get the same extents, so that sizes compare;
/// `share` scales how many there are (3 MB, and 8 MB for decoders).
pub fn contests(kind: &Kind, share: f64) -> Vec<Contest> {
    let sample = |megabytes: f64| {
        // More than zero and below 2^40, so the conversion is exact enough.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        kind.sample((megabytes * share * 1e6) as usize)
    };
    let (encoded, decoded) = (sample(3.0), sample(8.0));
    let mut contests = Vec::new();
    for sector_size in [4096, 65536] {
        contests.push(lzo_fast(&encoded, sector_size));
        contests.push(lzo_smallest(&encoded, sector_size));
    }
    for level in [1, 3, 6, 9] {
        contests.push(zlib_encode(&encoded, level));
    }
    contests.push(zlib_smallest(&encoded));
    for level in [1, 3, 9, 15, 19] {
        contests.push(zstd_encode(&encoded, level));
    }
    contests.push(lzo_decode(&decoded, 4096));
    contests.push(lzo_decode(&decoded, 65536));
    contests.push(zlib_decode(&decoded));
    contests.push(zstd_decode(&decoded));
    for codec in Codec::ALL {
        contests.push(predicted(&decoded, codec));
        contests.push(by_sectors(&encoded, &[codec]));
    }
    contests.push(by_sectors(&encoded, &Codec::ALL));
    contests
}

fn contest(title: impl Into<String>, reference: &'static str, kind: &Kind) -> (Contest, Extents) {
    let items = kind.extents.iter().map(Vec::len).collect();
    let contest = Contest::new(title, reference, items);
    (contest, Rc::new(kind.extents.clone()))
}

/// Encodes extents by number.
fn over<E>(extents: &Extents, mut encode: E) -> impl FnMut(usize) -> usize + use<E>
where
    E: FnMut(&[u8]) -> usize,
{
    let extents = Rc::clone(extents);
    move |number| encode(&extents[number])
}

fn own_lzo(effort: Effort, sector_size: usize) -> impl FnMut(&[u8]) -> usize {
    let mut encoder =
        btrfs_payload_lzo::Encoder::new(btrfs_payload_lzo::Options::new(effort, sector_size))
            .unwrap();
    let mut payload = Vec::new();
    move |data| {
        encoder.encode(data, &mut payload).unwrap();
        payload.len()
    }
}

fn own_zlib(level: btrfs_payload_zlib::Level) -> impl FnMut(&[u8]) -> usize {
    let mut encoder =
        btrfs_payload_zlib::Encoder::new(btrfs_payload_zlib::Options::new(level)).unwrap();
    let mut payload = Vec::new();
    move |data| {
        encoder.encode(data, &mut payload).unwrap();
        payload.len()
    }
}

fn own_zstd(level: i32) -> impl FnMut(&[u8]) -> usize {
    let mut encoder =
        btrfs_payload_zstd::Encoder::new(btrfs_payload_zstd::Options::new(level)).unwrap();
    let mut payload = Vec::new();
    move |data| {
        encoder.encode(data, &mut payload).unwrap();
        payload.len()
    }
}

fn lzo_fast(kind: &Kind, sector_size: usize) -> Contest {
    let title = format!("lzo encode, {} KiB segments, fast", sector_size / 1024);
    let (contest, extents) = contest(title, "liblzo2", kind);
    let contest = contest.with(
        "ours",
        1,
        over(&extents, own_lzo(Effort::Fast, sector_size)),
    );
    #[cfg(feature = "peers")]
    let contest = contest
        .with(
            "liblzo2",
            "lzo1x_1",
            over(
                &extents,
                peers::lzo2_compressor(peers::Lzo2::Fast, sector_size),
            ),
        )
        .with(
            "lzo1x",
            1,
            over(&extents, peers::lzo1x_encoder(1, sector_size)),
        )
        .with(
            "lzo1x",
            3,
            over(&extents, peers::lzo1x_encoder(3, sector_size)),
        );
    contest
}

fn lzo_smallest(kind: &Kind, sector_size: usize) -> Contest {
    let title = format!("lzo encode, {} KiB segments, small", sector_size / 1024);
    let (contest, extents) = contest(title, "liblzo2", kind);
    let contest = contest
        .with(
            "ours",
            9,
            over(&extents, own_lzo(Effort::High, sector_size)),
        )
        .with(
            "ours",
            "smallest",
            over(&extents, own_lzo(Effort::Smallest, sector_size)),
        );
    #[cfg(feature = "peers")]
    let contest = contest
        .with(
            "liblzo2",
            "lzo1x_999",
            over(
                &extents,
                peers::lzo2_compressor(peers::Lzo2::Best, sector_size),
            ),
        )
        .with(
            "lzo1x",
            13,
            over(&extents, peers::lzo1x_encoder(13, sector_size)),
        )
        .with(
            "lzokay-native",
            "",
            over(&extents, peers::lzokay_encoder(sector_size)),
        );
    contest
}

fn zlib_encode(kind: &Kind, level: u8) -> Contest {
    let (contest, extents) = contest(format!("zlib encode {level}"), "libdeflate", kind);
    let own = btrfs_payload_zlib::Level::numbered(level.into()).unwrap();
    let contest = contest.with("ours", level, over(&extents, own_zlib(own)));
    #[cfg(feature = "peers")]
    let contest = contest
        .with(
            "libdeflate",
            level,
            over(&extents, peers::libdeflate_encoder(level.into())),
        )
        .with(
            "zlib-rs",
            level,
            over(&extents, peers::zlib_rs_encoder(level.into())),
        )
        .with(
            "miniz_oxide",
            level,
            over(&extents, peers::miniz_encoder(level)),
        );
    contest
}

fn zlib_smallest(kind: &Kind) -> Contest {
    let (contest, extents) = contest("zlib encode smallest", "libdeflate", kind);
    let own = own_zlib(btrfs_payload_zlib::Level::Smallest);
    let contest = contest.with("ours", "smallest", over(&extents, own));
    #[cfg(feature = "peers")]
    let contest = contest
        .with(
            "libdeflate",
            12,
            over(&extents, peers::libdeflate_encoder(12)),
        )
        .with("miniz_oxide", 10, over(&extents, peers::miniz_encoder(10)));
    contest
}

fn zstd_encode(kind: &Kind, level: i32) -> Contest {
    let (contest, extents) = contest(format!("zstd encode {level}"), "libzstd", kind);
    let contest = contest.with("ours", level, over(&extents, own_zstd(level)));
    #[cfg(feature = "peers")]
    let contest = contest.with("libzstd", level, over(&extents, peers::zstd_encoder(level)));
    contest
}

/// A payload and what is claimed of it.
struct Payload {
    bytes: Vec<u8>,
    fields: ExtentFields,
    /// Where the segments of an LZO payload are.
    segments: Vec<std::ops::Range<usize>>,
}

/// Payloads of all extents, also of those that do not shrink.
fn payloads(kind: &Kind, codec: Codec, sector_size: usize) -> Rc<Vec<Payload>> {
    let id = EncodedIoId::new(codec, u32::try_from(sector_size).unwrap()).unwrap();
    let mut lzo =
        btrfs_payload_lzo::Encoder::new(btrfs_payload_lzo::Options::new(Effort::Fast, sector_size))
            .unwrap();
    let level = btrfs_payload_zlib::Level::numbered(6).unwrap();
    let mut zlib =
        btrfs_payload_zlib::Encoder::new(btrfs_payload_zlib::Options::new(level)).unwrap();
    let mut zstd = btrfs_payload_zstd::Encoder::new(btrfs_payload_zstd::Options::new(3)).unwrap();
    let payload = |data: &Vec<u8>| {
        let mut bytes = Vec::new();
        match codec {
            Codec::Zlib => zlib.encode(data, &mut bytes).unwrap(),
            Codec::Lzo => lzo.encode(data, &mut bytes).unwrap(),
            Codec::Zstd => zstd.encode(data, &mut bytes).unwrap(),
        }
        let segments = match codec {
            Codec::Lzo => segments(&bytes, sector_size),
            _ => Vec::new(),
        };
        let fields = ExtentFields::whole(u64::try_from(data.len()).unwrap(), id);
        Payload {
            bytes,
            fields,
            segments,
        }
    };
    Rc::new(kind.extents.iter().map(payload).collect())
}

fn segments(payload: &[u8], sector_size: usize) -> Vec<std::ops::Range<usize>> {
    let mut segments = Vec::new();
    let mut at = 4;
    while at < payload.len() {
        if sector_size - at % sector_size < 4 {
            at = at.next_multiple_of(sector_size);
        }
        let len = u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
        let start = at + 4;
        at = start + usize::try_from(len).unwrap();
        segments.push(start..at);
    }
    segments
}

/// Decodes payloads by number into a buffer that is kept.
fn each<D>(payloads: &Rc<Vec<Payload>>, mut decode: D) -> impl FnMut(usize) -> usize + use<D>
where
    D: FnMut(&Payload, &mut [u8]) -> usize,
{
    let payloads = Rc::clone(payloads);
    let mut out = vec![0; EXTENT];
    move |number| {
        let payload = &payloads[number];
        let len = usize::try_from(payload.fields.len).unwrap();
        assert_eq!(decode(payload, &mut out[..len]), len);
        payload.bytes.len()
    }
}

/// The judge, with a context that is kept; payloads that do not shrink are not sound.
fn judge(sector_size: usize) -> impl FnMut(&Payload, &mut [u8]) -> usize {
    let mut validator = Validator::new();
    let target = Target::new(u32::try_from(sector_size).unwrap());
    move |payload, _| {
        let report = validator.validate(&payload.bytes, &payload.fields, &target);
        let shrinks = payload.bytes.len() < usize::try_from(payload.fields.len).unwrap();
        assert_eq!(report.is_sound(), shrinks);
        usize::try_from(payload.fields.len).unwrap()
    }
}

fn lzo_decode(kind: &Kind, sector_size: usize) -> Contest {
    let title = format!("lzo decode, {} KiB segments", sector_size / 1024);
    let (contest, _) = contest(title, "liblzo2", kind);
    let payloads = payloads(kind, Codec::Lzo, sector_size);
    let mut decoder = btrfs_payload_lzo::Decoder::new(sector_size);
    let contest = contest
        .with(
            "ours",
            "decode",
            each(&payloads, move |payload, out| {
                decoder.decode(&payload.bytes, out).unwrap()
            }),
        )
        .with("ours", "judge", each(&payloads, judge(sector_size)));
    #[cfg(feature = "peers")]
    let contest = contest
        .with(
            "liblzo2",
            "safe",
            each(&payloads, |payload, out| {
                peers::lzo2_decode(&payload.bytes, &payload.segments, out)
            }),
        )
        .with(
            "lzo1x",
            "",
            each(&payloads, move |payload, out| {
                peers::lzo1x_decode(&payload.bytes, &payload.segments, out, sector_size)
            }),
        );
    contest
}

fn zlib_decode(kind: &Kind) -> Contest {
    let (contest, _) = contest("zlib decode", "libdeflate", kind);
    let payloads = payloads(kind, Codec::Zlib, 4096);
    let mut decoder = btrfs_payload_zlib::Decoder::new();
    let contest = contest
        .with(
            "ours",
            "decode",
            each(&payloads, move |payload, out| {
                decoder.decode(&payload.bytes, out).unwrap()
            }),
        )
        .with("ours", "judge", each(&payloads, judge(4096)));
    #[cfg(feature = "peers")]
    let contest = {
        let mut libdeflate = libdeflater::Decompressor::new();
        let mut zlib_rs = peers::zlib_rs_decoder();
        let mut miniz = peers::miniz_decoder();
        contest
            .with(
                "libdeflate",
                "",
                each(&payloads, move |payload, out| {
                    libdeflate.zlib_decompress(&payload.bytes, out).unwrap()
                }),
            )
            .with(
                "zlib-rs",
                "",
                each(&payloads, move |payload, out| zlib_rs(&payload.bytes, out)),
            )
            .with(
                "miniz_oxide",
                "",
                each(&payloads, move |payload, out| miniz(&payload.bytes, out)),
            )
    };
    contest
}

fn zstd_decode(kind: &Kind) -> Contest {
    let (contest, _) = contest("zstd decode", "libzstd", kind);
    let payloads = payloads(kind, Codec::Zstd, 4096);
    let mut decoder = btrfs_payload_zstd::Decoder::new().unwrap();
    let contest = contest
        .with(
            "ours",
            "decode",
            each(&payloads, move |payload, out| {
                decoder.decode(&payload.bytes, out).unwrap()
            }),
        )
        .with("ours", "judge", each(&payloads, judge(4096)));
    #[cfg(feature = "peers")]
    let contest = {
        let mut context = zstd_safe::DCtx::create();
        contest.with(
            "libzstd",
            "",
            each(&payloads, move |payload, out| {
                context.decompress(out, &payload.bytes).unwrap()
            }),
        )
    };
    contest
}

/// predict() for each kernel beside one plain decode.
fn predicted(kind: &Kind, codec: Codec) -> Contest {
    let (mut contest, _) = contest(format!("{codec} predict"), "decode", kind);
    let payloads = payloads(kind, codec, 4096);
    let mut lzo = btrfs_payload_lzo::Decoder::new(4096);
    let mut zlib = btrfs_payload_zlib::Decoder::new();
    let mut zstd = btrfs_payload_zstd::Decoder::new().unwrap();
    contest = contest.with(
        "decode",
        "",
        each(&payloads, move |payload, out| match codec {
            Codec::Zlib => zlib.decode(&payload.bytes, out).unwrap(),
            Codec::Lzo => lzo.decode(&payload.bytes, out).unwrap(),
            Codec::Zstd => zstd.decode(&payload.bytes, out).unwrap(),
        }),
    );
    for kernel in Kernel::ALL {
        let target = Target::default().at(1 << 20);
        contest = contest.with(
            "predict",
            kernel,
            each(&payloads, move |payload, _| {
                let outcome = predict(&payload.bytes, &payload.fields, &target, kernel);
                std::hint::black_box(outcome);
                usize::try_from(payload.fields.len).unwrap()
            }),
        );
    }
    contest
}

/// Level::Auto beside fixed levels; sizes are those of whole sectors on disk.
fn by_sectors(kind: &Kind, codecs: &[Codec]) -> Contest {
    let names: Vec<_> = codecs.iter().map(ToString::to_string).collect();
    let (mut contest, extents) =
        contest(format!("{} by sectors", names.join("+")), "smallest", kind);
    for level in [
        Level::Smallest,
        Level::Auto,
        Level::Number(9),
        Level::Default,
    ] {
        let mut options = Options::new(codecs[0], level);
        options.methods = codecs.iter().map(|&codec| (codec, level)).collect();
        let mut preparer = Preparer::new(&options).unwrap();
        let name = if level == Level::Smallest {
            "smallest"
        } else {
            "ours"
        };
        contest = contest.with(
            name,
            level,
            over(&extents, move |data| {
                let plain = data.len().next_multiple_of(4096);
                match preparer.prepare(data).unwrap() {
                    Prepared::Encoded(extent) => {
                        let len = u64::try_from(extent.payload().len()).unwrap();
                        let sectors = Sectors::of(len, extent.fields(), &options.target);
                        usize::try_from(sectors.encoded * 4096).unwrap()
                    }
                    Prepared::Plain { .. } => plain,
                    Prepared::Hole => 0,
                }
            }),
        );
    }
    contest
}
