//! The libraries that a producer could pick instead, each the way it is fastest: contexts and
//! buffers are kept where the library lets them be kept.
#![allow(unsafe_code)] // liblzo2 has no other face

use std::ffi::{c_int, c_uchar, c_void};

#[link(name = "lzo2")]
unsafe extern "C" {
    fn lzo1x_1_compress(
        source: *const c_uchar,
        source_len: usize,
        out: *mut c_uchar,
        out_len: *mut usize,
        memory: *mut c_void,
    ) -> c_int;
    fn lzo1x_999_compress(
        source: *const c_uchar,
        source_len: usize,
        out: *mut c_uchar,
        out_len: *mut usize,
        memory: *mut c_void,
    ) -> c_int;
    fn lzo1x_decompress_safe(
        source: *const c_uchar,
        source_len: usize,
        out: *mut c_uchar,
        out_len: *mut usize,
        memory: *mut c_void,
    ) -> c_int;
}

/// A compressor of liblzo2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lzo2 {
    /// lzo1x_1: what kernels use.
    Fast,
    /// lzo1x_999: its greatest effort.
    Best,
}

/// liblzo2's compressors, segment by segment. Returns the sum of the segments and their
/// headers, bytes; the layout itself (total, padding) costs it nothing.
pub fn lzo2_compressor(which: Lzo2, sector_size: usize) -> impl FnMut(&[u8]) -> usize {
    // LZO1X_1_MEM_COMPRESS and LZO1X_999_MEM_COMPRESS of lzo/lzo1x.h on 64-bit machines; as u64
    // for their alignment.
    let mut memory = vec![0_u64; 458_752 / 8];
    let mut out = vec![0_u8; sector_size + sector_size / 16 + 67];
    move |data| {
        let compress = match which {
            Lzo2::Fast => lzo1x_1_compress,
            Lzo2::Best => lzo1x_999_compress,
        };
        let mut sum = 4;
        for sector in data.chunks(sector_size) {
            let mut len = out.len();
            // SAFETY: source and its length belong together; `out` has the room that lzo/lzoconf.h
            // asks for a source of a sector, `memory` the size for both compressors.
            let result = unsafe {
                compress(
                    sector.as_ptr(),
                    sector.len(),
                    out.as_mut_ptr(),
                    &raw mut len,
                    memory.as_mut_ptr().cast(),
                )
            };
            assert_eq!(result, 0);
            sum += 4 + len;
        }
        sum
    }
}

/// liblzo2's checking decoder on the segments of a payload (ranges) that it decodes into `out`.
pub fn lzo2_decode(payload: &[u8], segments: &[std::ops::Range<usize>], out: &mut [u8]) -> usize {
    let mut at = 0;
    for segment in segments {
        let segment = &payload[segment.clone()];
        let room = &mut out[at..];
        let mut len = room.len();
        // SAFETY: both buffers go with their lengths; this decoder checks them.
        let result = unsafe {
            lzo1x_decompress_safe(
                segment.as_ptr(),
                segment.len(),
                room.as_mut_ptr(),
                &raw mut len,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(result, 0);
        at += len;
    }
    at
}

/// zlib-rs with a context that is kept.
pub fn zlib_rs_encoder(level: i32) -> impl FnMut(&[u8]) -> usize {
    let mut deflate = zlib_rs::Deflate::new(level, true, 15);
    let mut out = vec![0; 160 * 1024];
    move |data| {
        deflate.reset();
        let status = deflate.compress(data, &mut out, zlib_rs::DeflateFlush::Finish);
        assert_eq!(status, Ok(zlib_rs::Status::StreamEnd));
        usize::try_from(deflate.total_out()).unwrap()
    }
}

/// zlib-rs with a context that is kept.
pub fn zlib_rs_decoder() -> impl FnMut(&[u8], &mut [u8]) -> usize {
    let mut inflate = zlib_rs::Inflate::new(true, 15);
    move |payload, out| {
        inflate.reset(true);
        let status = inflate.decompress(payload, out, zlib_rs::InflateFlush::Finish);
        assert_eq!(status, Ok(zlib_rs::Status::StreamEnd));
        usize::try_from(inflate.total_out()).unwrap()
    }
}

/// miniz_oxide with a context that is kept.
pub fn miniz_encoder(level: u8) -> impl FnMut(&[u8]) -> usize {
    use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
    let mut compressor = Box::<CompressorOxide>::default();
    compressor.set_format_and_level(miniz_oxide::DataFormat::Zlib, level);
    let mut out = vec![0; 160 * 1024];
    move |data| {
        compressor.reset();
        let (status, _, written) = compress(&mut compressor, data, &mut out, TDEFLFlush::Finish);
        assert_eq!(status, TDEFLStatus::Done);
        written
    }
}

/// miniz_oxide with a context that is kept.
pub fn miniz_decoder() -> impl FnMut(&[u8], &mut [u8]) -> usize {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    let mut decompressor = Box::new(DecompressorOxide::new());
    let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | inflate_flags::TINFL_FLAG_COMPUTE_ADLER32;
    move |payload, out| {
        decompressor.init();
        let (status, _, written) = decompress(&mut decompressor, payload, out, 0, flags);
        assert_eq!(status, TINFLStatus::Done);
        written
    }
}

/// libdeflate with a context that is kept.
pub fn libdeflate_encoder(level: i32) -> impl FnMut(&[u8]) -> usize {
    let level = libdeflater::CompressionLvl::new(level).unwrap();
    let mut compressor = libdeflater::Compressor::new(level);
    let mut out = vec![0; 160 * 1024];
    move |data| compressor.zlib_compress(data, &mut out).unwrap()
}

/// ZSTD_compress2 with a context that is kept, its level and nothing else set.
pub fn zstd_encoder(level: i32) -> impl FnMut(&[u8]) -> usize {
    let mut context = zstd_safe::CCtx::create();
    let parameter = zstd_safe::CParameter::CompressionLevel(level);
    context.set_parameter(parameter).unwrap();
    let mut out = vec![0; 160 * 1024];
    move |data| context.compress2(&mut out[..], data).unwrap()
}

/// lzokay-native, segment by segment.
pub fn lzokay_encoder(sector_size: usize) -> impl FnMut(&[u8]) -> usize {
    let mut dict = lzokay_native::Dict::new();
    move |data| {
        let segment = |sector| {
            4 + lzokay_native::compress_with_dict(sector, &mut dict)
                .unwrap()
                .len()
        };
        4 + data.chunks(sector_size).map(segment).sum::<usize>()
    }
}

/// The crate lzo1x, segment by segment.
pub fn lzo1x_encoder(level: u8, sector_size: usize) -> impl FnMut(&[u8]) -> usize {
    move |data| {
        let segment = |sector| 4 + lzo1x::compress(sector, lzo1x::CompressLevel::new(level)).len();
        4 + data.chunks(sector_size).map(segment).sum::<usize>()
    }
}

/// The crate lzo1x; `sector_size` is what each segment but the last decodes to.
pub fn lzo1x_decode(
    payload: &[u8],
    segments: &[std::ops::Range<usize>],
    out: &mut [u8],
    sector_size: usize,
) -> usize {
    for (segment, out) in segments.iter().zip(out.chunks_mut(sector_size)) {
        lzo1x::decompress(&payload[segment.clone()], out).unwrap();
    }
    out.len()
}
