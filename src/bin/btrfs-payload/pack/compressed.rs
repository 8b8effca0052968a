//! Archives that are compressed, known by their first bytes.

use std::io::{BufRead, BufReader, Chain, Cursor, Read};

use anyhow::{Result, bail};

/// What a decoder of xz may take, KiB: the window of `xz -9` and tables.
const XZ_MEMORY: u32 = 80 << 10;

/// Reads ahead, so that headers cost no call each.
const BUFFER: usize = 128 * 1024;

/// The bytes looked at.
const MAGIC: usize = 6;

type Input<R> = Chain<Cursor<Vec<u8>>, R>;

/// The bytes of an archive, decompressed where they are compressed.
pub(super) fn decompressed<'a>(mut input: impl Read + 'a) -> Result<Box<dyn BufRead + 'a>> {
    let mut magic = Vec::new();
    (&mut input).take(MAGIC as u64).read_to_end(&mut magic)?;
    let input = |magic| -> Input<_> { Cursor::new(magic).chain(input) };
    Ok(match &magic[..] {
        // A frame, or one that decoders skip (RFC 8878, section 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            buffered(zstd::Decoder::new(input(magic))?)
        }
        // RFC 1952; members may follow one another.
        [0x1f, 0x8b, ..] => buffered(flate2::read::MultiGzDecoder::new(input(magic))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => buffered(lzma_rust2::XzReader::new_mem_limit(
            input(magic),
            true,
            XZ_MEMORY,
        )),
        [b'B', b'Z', b'h', ..] => bail!("bzip2 is not read here; decompress it into a pipe"),
        _ => buffered(input(magic)),
    })
}

fn buffered<'a>(reader: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(BUFFER, reader))
}
