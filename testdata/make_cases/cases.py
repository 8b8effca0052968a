"""The cases: for every code of a finding at least one payload that shows it.

Offsets of findings are worked out here from how the payload is put together.
"""

import struct
import zlib

from assemble import *
from case import *

TEXT = text(8192)
STOCK = zlib.compress(TEXT, 9)
FAR = 1 << 20
"""A file offset where nothing can become inline."""

CASES = {}


def case(name, *args, **claims):
    assert name not in CASES
    CASES[name] = Case(*args, **claims)


# --- What the ioctl refuses: whatever the payload, it is a good one. -----------------------------


def call(name, about, findings, payload=STOCK, codec=ZLIB, intended=TEXT, **claims):
    origin = "stock zlib 1.2.13, level 9; only the claims are wrong"
    claims = {"origin": origin, "kernel_only": True, **claims}
    case(f"call-{name}", about, codec, payload, intended, findings, **claims)


call("compression-none", "no compression type is named", [error("not-encoded")], codec=NONE)
call("compression-8", "the first number without a type", [error("unknown-compression")], codec=8)
call("encryption-1", "an encryption type is named", [error("encrypted")], encryption=1)
call(
    "slice-starts-behind-the-end",
    "unencoded_offset is a sector beyond unencoded_len",
    # 8192 bytes are decoded and the slice would end at 16384.
    [error("slice-offset-beyond-end"), warning("decodes-too-short")],
    unencoded_offset=12288,
    unencoded_len=8192,
    len=4096,
)
call(
    "slice-ends-behind-the-end",
    "the slice ends a sector beyond unencoded_len",
    [error("slice-beyond-end"), warning("decodes-too-short")],
    unencoded_offset=4096,
    unencoded_len=8192,
    len=8192,
)
call(
    "no-payload",
    "not a byte of payload, which is no zlib stream either",
    [error("empty-payload"), error("zlib-header", 0)],
    payload=b"",
    origin="hand-made",
)
call("len-0", "the slice is empty", [error("empty-slice")], len=0)
call(
    "ends-beyond-2-to-the-63",
    "the last byte would be at 2^63 + 4095",
    [error("beyond-largest-file")],
    offset=2**63 - 4096,
)
call(
    "lzo-for-8k-sectors",
    "LZO for 8192-byte sectors on a filesystem with 4096-byte sectors",
    [error("lzo-other-sector-size")],
    payload=lzo_payload([lzo_segment(TEXT, 64)]),
    codec=LZO_8K,
    origin="hand-made",
)
call(
    "file-is-nodatasum",
    "the file keeps no checksums (chattr +C)",
    [error("file-without-checksums")],
    nodatasum=True,
)
LONG = text(131072 + 4096)
call(
    "unencoded-len-135168",
    "a sector more than an extent holds",
    [error("unencoded-too-long")],
    payload=zlib.compress(LONG, 9),
    intended=LONG,
)
call(
    "payload-135168",
    "a payload of a sector more than the ioctl takes, for the most part zeroes behind the stream",
    # Longer than what it decodes to, and more zeroes behind the stream than fill a sector.
    [error("payload-too-long"), error("not-smaller"), warning("zlib-behind-stream", len(STOCK))],
    payload=STOCK + bytes(135168 - len(STOCK)),
    unencoded_len=131072,
    len=8192,
)
NOISE = bytes(i * i * 37 % 251 for i in range(64))
call(
    "payload-as-long-as-the-data",
    "a stored block: 64 bytes decoded, 75 bytes of payload",
    [error("not-smaller")],
    payload=zlib.compress(NOISE, 0),
    intended=NOISE,
    offset=FAR,
)
call(
    "offset-100",
    "the file offset is inside a sector",
    [error("unaligned-offset")],
    offset=100,
)
call(
    "ends-inside-a-sector-of-the-file",
    "5000 bytes at the start of a file of 20000",
    [error("unaligned-end")],
    payload=zlib.compress(text(5000), 9),
    intended=text(5000),
    file_size=20000,
)
call(
    "unencoded-offset-100",
    "the slice begins inside a sector",
    [error("unaligned-unencoded-offset")],
    unencoded_offset=100,
    len=4096,
)
call(
    "five-rules-at-once",
    "every broken rule is named, in the kernel's order",
    [
        error("lzo-other-sector-size"),
        error("file-without-checksums"),
        error("unaligned-offset"),
        error("unaligned-end"),
        error("unaligned-unencoded-offset"),
    ],
    payload=lzo_payload([lzo_segment(TEXT, 64)]),
    codec=LZO_8K,
    nodatasum=True,
    offset=100,
    file_size=FAR,
    unencoded_offset=100,
    len=4096,
    origin="hand-made",
)


# --- zlib ---------------------------------------------------------------------------------------


def zlib_case(name, about, payload, findings, intended=TEXT, **claims):
    case(f"zlib-{name}", about, ZLIB, payload, intended, findings, **claims)


PATCHED = "stock zlib 1.2.13, level 9, with bytes changed by hand"

zlib_case("empty-header", "one byte", b"\x78", [error("zlib-truncated", 1)])
zlib_case(
    "fcheck-wrong",
    "78 db: one more than a multiple of 31",
    b"\x78\xdb" + STOCK[2:],
    [error("zlib-header", 0)],
    origin=PATCHED,
)
zlib_case(
    "method-9",
    "CM 9 with a right FCHECK",
    zlib_header(7, cm=9) + STOCK[2:],
    [error("zlib-header", 0)],
    origin=PATCHED,
)
zlib_case(
    "raw-deflate", "neither header nor adler32", STOCK[2:-4], [error("zlib-header", 0)], origin=PATCHED
)
GZIP = zlib.compressobj(9, zlib.DEFLATED, 31)
zlib_case(
    "gzip-member",
    "a gzip file in place of a zlib stream",
    GZIP.compress(TEXT) + GZIP.flush(),
    [error("zlib-header", 0)],
    origin="stock zlib 1.2.13, wbits 31",
)
zlib_case(
    "zstd-frame",
    "a zstd frame under the name of zlib",
    zstd_cli(TEXT, "--no-check"),
    [error("zlib-header", 0)],
    origin="zstd 1.5.4",
)
PRESET = zlib.compressobj(9, zdict=bytes(range(128, 256)))
zlib_case(
    "preset-dictionary",
    "FDICT is set; no match reaches into the dictionary",
    PRESET.compress(TEXT) + PRESET.flush(),
    [error("zlib-dictionary", 1)],
    origin="stock zlib 1.2.13, with a preset dictionary",
)

AB = b"a" * 4096 + b"b" * 4096
HALF = Deflate().stored(AB[:4096], 0).stored(AB[4096:], 1).payload(AB)[:-3000]
zlib_case(
    "cut-inside-a-stored-block",
    "the last 3000 bytes are missing",
    HALF,
    [error("zlib-truncated", len(HALF))],
    intended=AB,
)
zlib_case(
    "cut-inside-the-adler32",
    "the last 2 bytes are missing",
    STOCK[:-2],
    [error("zlib-truncated", len(STOCK) - 2)],
    origin=PATCHED,
)
SMALL = text(3000)
zlib_case(
    "cut-inside-the-adler32-of-an-inline-extent",
    "the last 2 bytes of what can become inline are missing",
    zlib.compress(SMALL, 9)[:-2],
    [error("zlib-truncated", len(zlib.compress(SMALL, 9)) - 2)],
    intended=SMALL,
    origin=PATCHED,
)
FLUSHED = zlib.compressobj(9)
FLUSHED = FLUSHED.compress(TEXT) + FLUSHED.flush(zlib.Z_SYNC_FLUSH)
zlib_case(
    "no-final-block",
    "flushed and never finished; the kernel's encoder ends each page like this, but the last",
    FLUSHED,
    [error("zlib-no-final-block", len(FLUSHED))],
    origin="stock zlib 1.2.13, Z_SYNC_FLUSH in place of Z_FINISH",
)
FLUSHED_SMALL = zlib.compressobj(9)
FLUSHED_SMALL = FLUSHED_SMALL.compress(text(3000)) + FLUSHED_SMALL.flush(zlib.Z_SYNC_FLUSH)
zlib_case(
    "no-final-block-inline",
    "the same where it can become inline",
    FLUSHED_SMALL,
    [error("zlib-no-final-block", len(FLUSHED_SMALL))],
    intended=text(3000),
    origin="stock zlib 1.2.13, Z_SYNC_FLUSH in place of Z_FINISH",
    keep_back=True,
)
zlib_case(
    "block-type-3",
    "the first block is of the reserved type",
    Deflate().put(1, 1).put(3, 2).raw(bytes(20)).payload(TEXT),
    [error("zlib-block-damaged", 2)],
)
ABC = AB + b"c" * 4096
TWO = Deflate().fixed(0).run(97, 4096).run(98, 4096).end_of_block()
TWO_AT = TWO.lengths_at()
BAD_LEN = TWO.stored(ABC[8192:], 1).payload(ABC)
BAD_LEN = BAD_LEN[: TWO_AT + 2] + b"\0\0" + BAD_LEN[TWO_AT + 4 :]
zlib_case(
    "stored-lengths-differ",
    "NLEN of the last block is not the complement of LEN",
    BAD_LEN,
    # Behind the three bits of the block header and the bits that fill their byte.
    [error("zlib-block-damaged", TWO_AT)],
    intended=ABC,
)


def without_end_of_block():
    """A dynamic block that knows `a` and `b`, one bit each, and no end of block."""
    deflate = Deflate().put(0, 1).put(2, 2)
    deflate.put(0, 5).put(0, 5).put(14, 4)  # 257 literal codes, 1 distance, 18 length codes
    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]
    for symbol in order:
        deflate.put(1 if symbol in (1, 18) else 0, 3)
    zeroes = lambda n: deflate.code(1, 1).put(n - 11, 7)
    one = lambda: deflate.code(0, 1)
    zeroes(97), one(), one(), zeroes(138), zeroes(20), one()
    for byte in b"ab" * 4096:
        deflate.code(byte - 97, 1)
    return deflate.payload()


NO_END = without_end_of_block()
zlib_case(
    "no-end-of-block-code",
    "a dynamic block with codes for a and b only, which cannot end",
    NO_END,
    # Behind the header (2 bytes) and three bits.
    [error("zlib-no-end-of-block", 2), error("zlib-truncated", len(NO_END))],
    intended=b"ab" * 4096,
)
BEFORE = Deflate().fixed(1).literals(TEXT[:100])
BEFORE_AT = BEFORE.at()
for _ in range(40):
    BEFORE.match258(101)
zlib_case(
    "match-before-the-start",
    "101 bytes back with 100 decoded",
    BEFORE.end_of_block().payload(TEXT),
    [error("zlib-distance", BEFORE_AT)],
)

# 300 bytes without a repetition nearer than 300 bytes, then once more.
APART = bytes((i * 7 + i // 256 * 3) % 256 for i in range(300))
NEAR = Deflate(zlib_header(0)).fixed(1).literals(APART)
NEAR_AT = NEAR.at()
NEAR_DATA = (APART * 4)[: 300 + 516]
NEAR = NEAR.match258(300).match258(300).end_of_block().payload(NEAR_DATA)
zlib_case(
    "beyond-a-window-of-256-in-one-page",
    "300 bytes back in a window of 256, inside the first page of output",
    NEAR,
    [warning("zlib-beyond-window", NEAR_AT)],
    intended=NEAR_DATA,
    offset=FAR,
    keep_back=True,
)
zlib_case(
    "adler32-wrong",
    "header 78 da, the last bit of the adler32 flipped",
    STOCK[:-1] + bytes([STOCK[-1] ^ 1]),
    [error("zlib-adler32", len(STOCK) - 4)],
    origin=PATCHED,
)
zlib_case(
    "bytes-behind-the-stream",
    "sixteen bytes of text behind the adler32",
    STOCK + PERIOD[:16],
    [warning("zlib-behind-stream", len(STOCK))],
    origin=PATCHED,
)
zlib_case(
    "second-stream-behind-a-full-one",
    "the first stream has all the data",
    STOCK + STOCK,
    [warning("zlib-behind-stream", len(STOCK))],
    origin="stock zlib 1.2.13, twice",
)
FIRST_HALF = zlib.compress(TEXT[:4096], 9)
zlib_case(
    "second-stream-with-the-other-half",
    "two streams of 4096 bytes each: every reader stops behind the first",
    FIRST_HALF + zlib.compress(TEXT[4096:], 9),
    [error("zlib-behind-stream", len(FIRST_HALF))],
    origin="stock zlib 1.2.13, twice",
)
zlib_case(
    "zeroes-behind-an-inline-stream",
    "padded to a sector where it can become inline",
    zlib.compress(SMALL, 9) + bytes(20),
    [warning("zlib-behind-stream", len(zlib.compress(SMALL, 9)))],
    intended=SMALL,
    origin=PATCHED,
)


def empty_blocks(deflate, count):
    for _ in range(count):
        deflate.stored(b"", 0)
    return deflate


BIG = b"a" * 16384
SILENT = empty_blocks(Deflate(), 900).fixed(1).run(97, 16384).end_of_block()
zlib_case(
    "page-of-empty-blocks-first",
    "900 empty stored blocks, 4500 bytes, before any output",
    SILENT.payload(BIG),
    [error("zlib-silent-page", 0)],
    intended=BIG,
)
QUIET = empty_blocks(Deflate().fixed(0).run(97, 16384).end_of_block(), 1700)
zlib_case(
    "page-of-empty-blocks-behind-the-data",
    "1700 empty stored blocks, 8500 bytes, behind all output",
    QUIET.stored(b"", 1).payload(BIG),
    # The first page has the data; the second, from 4096 on, is the first without output.
    [warning("zlib-silent-page", 4096)],
    intended=BIG,
)
zlib_case(
    "decodes-to-64-bytes-too-many",
    "8256 bytes where 8192 are claimed",
    zlib.compress(text(8256), 9),
    [error("decodes-too-long")],
    origin="stock zlib 1.2.13, level 9",
)
zlib_case(
    "decodes-to-too-little-regular",
    "5000 bytes where 8192 are shown: the rest is zero for every reader",
    zlib.compress(text(5000), 9),
    [warning("decodes-too-short")],
    intended=text(5000) + bytes(3192),
    origin="stock zlib 1.2.13, level 9",
)
zlib_case(
    "decodes-to-too-little-inline",
    "2900 bytes where 3000 are shown and it can become inline",
    zlib.compress(SMALL[:2900], 9),
    [error("decodes-too-short")],
    intended=SMALL[:2900] + bytes(100),
    origin="stock zlib 1.2.13, level 9",
)
FAR_BACK = Deflate(zlib_header(0)).fixed(1).literals(APART)
for _ in range(60):
    FAR_BACK.match258(300)
FAR_DATA = (APART * 60)[: 300 + 60 * 258]
case(
    "unsafe-payload-zlib",
    "some kernel may come to harm",
    ZLIB,
    FAR_BACK.end_of_block().payload(FAR_DATA),
    FAR_DATA,
    [error("unsafe-payload", NEAR_AT)],
    keep_back=True,
)
case(
    "unsafe-payload-zlib-2",
    "some kernel may come to harm",
    ZLIB,
    zlib_header(8) + STOCK[2:],
    TEXT,
    [error("unsafe-payload", 0)],
    origin=PATCHED,
    keep_back=True,
)


# --- LZO ----------------------------------------------------------------------------------------


def lzo_case(name, about, payload, findings, intended=TEXT, **claims):
    case(f"lzo-{name}", about, LZO_4K, payload, intended, findings, **claims)


PAGE = lzo_segment(text(4096), 64)
GOOD = lzo_payload([PAGE, PAGE])

lzo_case(
    "only-a-total",
    "four bytes: a total of 4 and no segment",
    struct.pack("<I", 4),
    [error("lzo-too-short", 0)],
)
lzo_case(
    "total-greater-than-the-payload",
    "the total is 8 too much, within the sector",
    lzo_payload([PAGE, PAGE], len(GOOD) + 8),
    [error("lzo-total", 0)],
)
lzo_case(
    "total-greater-than-an-extent",
    "the total is 131073",
    lzo_payload([PAGE, PAGE], 131073),
    # Too much for an extent, more than the payload, and not in its last sector.
    [error("lzo-total", 0), error("lzo-total", 0), error("lzo-total-not-in-last-sector", 0)],
)
lzo_case(
    "a-sector-of-zeroes-behind-the-total",
    "padded to two sectors where one holds the total",
    GOOD + bytes(8192 - 4 - len(GOOD)),
    [error("lzo-total-not-in-last-sector", 0), warning("lzo-behind-total", len(GOOD))],
    intended=text(8192),
)
lzo_case(
    "bytes-behind-the-total",
    "sixteen bytes of text behind the total, in the same sector",
    GOOD + PERIOD[:16],
    [warning("lzo-behind-total", len(GOOD))],
)
INLINE = lzo_segment(SMALL, 64)
lzo_case(
    "zeroes-behind-an-inline-total",
    "padded with 20 zeroes where it can become inline",
    lzo_payload([INLINE]) + bytes(20),
    [error("lzo-behind-total", len(lzo_payload([INLINE])))],
    intended=SMALL,
)
ONE = lzo_payload([PAGE])
lzo_case(
    "total-ends-inside-a-header",
    "the total has two bytes of a second header",
    struct.pack("<I", len(ONE) + 2) + ONE[4:] + struct.pack("<I", len(PAGE))[:2],
    # Total and payload both end there.
    [error("lzo-header-truncated", len(ONE)), error("lzo-header-truncated", len(ONE))],
)


def page_of(length):
    """A segment of this length, bytes, that decodes to 4096; and what it decodes to."""
    for run in range(3600, 4096):
        literals = b"L" * (run - 1) + b"M"
        segment = lzo_literals(literals) + lzo_match(4096 - run, 1) + LZO_END
        if len(segment) == length:
            return segment, literals + b"M" * (4096 - run)
    raise AssertionError(length)


# With the total and its own header it ends 2 bytes before the sector does.
FULL, FULL_DATA = page_of(4094 - 8)
STRADDLE = bytes(4) + struct.pack("<I", len(FULL)) + FULL
assert len(STRADDLE) == 4094
PADDED = STRADDLE + b"\0\0" + struct.pack("<I", len(PAGE)) + PAGE
STRADDLE += struct.pack("<I", len(PAGE)) + PAGE
STRADDLED = FULL_DATA + text(4096)
lzo_case(
    "header-straddles-a-sector",
    "the second header lies at 4094, across the sector boundary, where two bytes of padding belong",
    struct.pack("<I", len(STRADDLE)) + STRADDLE[4:],
    [error("lzo-header-straddles", 4094)],
    intended=STRADDLED,
)
DIRTY = PADDED[:4094] + b"\xaa\xbb" + PADDED[4096:]
lzo_case(
    "padding-is-not-zero",
    "the two bytes before the second header are aa bb",
    struct.pack("<I", len(DIRTY)) + DIRTY[4:],
    [warning("lzo-padding-not-zero", 4094)],
    intended=STRADDLED,
)
lzo_case(
    "segment-of-2-bytes",
    "the second segment is shorter than an end marker",
    lzo_payload([PAGE, b"\x11\0"]),
    # Too short, and so not LZO1X either: its first instruction is cut off.
    [error("lzo-segment-length", len(ONE)), error("lzo-segment-damaged", len(ONE) + 4)],
)
lzo_case(
    "segment-of-4422-bytes",
    "one byte more than an incompressible sector grows to",
    lzo_payload([PAGE, bytes(4422)]),
    [error("lzo-segment-length", len(ONE))],
    unencoded_len=12288,
    len=8192,
)
CUT = GOOD[:-1]
lzo_case(
    "last-byte-missing",
    "the last zero of the last end marker is left to the padding; total and header count it",
    CUT,
    [
        error("lzo-total", 0),
        error("lzo-segment-truncated", len(ONE)),
        # Readers refuse an instruction that is not followed by room for an end marker; here the
        # match, behind the literals.
        error("lzo-segment-damaged", len(ONE) + 4 + len(lzo_literals(PERIOD))),
    ],
)
lzo_case(
    "segment-passes-the-total",
    "the total is 4 too small",
    lzo_payload([PAGE, PAGE], len(GOOD) - 4),
    [error("lzo-segment-truncated", len(ONE))],
)
MARKED = lzo_payload([b"\x11\0" + PAGE, PAGE])
lzo_case(
    "run-length-marker",
    "the first segment starts with the marker of LZO-RLE, version 0",
    MARKED,
    [error("lzo-run-length", 8)],
)
lzo_case(
    "match-before-the-start-of-the-segment",
    "the second segment reaches back one byte further than it has decoded",
    lzo_payload([PAGE, lzo_literals(PERIOD) + lzo_match(4032, 65) + LZO_END]),
    # Total, first segment, header; literals and their two bytes of instruction.
    [error("lzo-segment-damaged", len(ONE) + 4 + len(lzo_literals(PERIOD)))],
)
lzo_case(
    "no-end-marker",
    "the second segment ends with its match",
    lzo_payload([PAGE, PAGE[:-3]]),
    # The match, which is not followed by room for an end marker.
    [error("lzo-segment-damaged", len(ONE) + 4 + len(lzo_literals(PERIOD)))],
)
lzo_case(
    "byte-behind-the-end-marker",
    "the second segment goes on behind its end marker",
    lzo_payload([PAGE, PAGE + b"x"]),
    [error("lzo-segment-damaged", len(ONE) + 4 + len(PAGE))],
)
lzo_case(
    "segment-decodes-to-4160-bytes",
    "64 bytes more than a sector, and the second segment as much less",
    lzo_payload([lzo_segment(text(4160), 64), lzo_segment(text(4032), 64)]),
    [error("lzo-segment-output", 8)],
)
lzo_case(
    "segments-decode-to-2048-bytes",
    "four segments of half a sector",
    lzo_payload([lzo_segment(text(2048), 64)] * 4),
    # Every one but the last; each is header and segment.
    [
        warning("lzo-segment-not-a-sector", 8 + i * (4 + len(lzo_segment(text(2048), 64))))
        for i in range(3)
    ],
)
lzo_case(
    "33-segments",
    "one more than an extent has sectors; the last is empty",
    lzo_payload([PAGE] * 32 + [LZO_END]),
    [
        warning("lzo-too-many-segments", 4 + 32 * (4 + len(PAGE))),
        warning("lzo-segment-not-a-sector", 4 + 32 * (4 + len(PAGE)) + 4),
    ],
    intended=text(131072),
)
lzo_case(
    "two-segments-where-inline-is-possible",
    "4096 bytes for the start of a file in two segments",
    lzo_payload([lzo_segment(text(2048), 64)] * 2),
    [warning("lzo-segment-not-a-sector", 8), error("lzo-inline-shape", 0)],
    intended=text(4096),
)
lzo_case(
    "decodes-to-192-bytes-too-many",
    "8192 bytes where 8000 are claimed",
    GOOD,
    [error("decodes-too-long")],
    intended=text(8000),
    kernel_only=True,
)
lzo_case(
    "decodes-to-too-little-regular",
    "one segment where two sectors are shown: the rest is zero for every reader",
    ONE,
    [warning("decodes-too-short")],
    intended=text(4096) + bytes(4096),
)
lzo_case(
    "decodes-to-too-little-inline",
    "2900 bytes where 3000 are shown and it can become inline",
    lzo_payload([lzo_segment(SMALL[:2900], 64)]),
    [error("decodes-too-short")],
    intended=SMALL[:2900] + bytes(100),
)
PAST = lzo_payload([PAGE, PAGE])
case(
    "unsafe-payload-lzo",
    "some kernel may come to harm",
    LZO_4K,
    PAST[: len(ONE)] + struct.pack("<I", 4400) + PAST[len(ONE) + 4 :],
    TEXT,
    [
        error("unsafe-payload", len(ONE)),
        error("lzo-segment-truncated", len(ONE)),
    ],
    keep_back=True,
)


# --- zstd ---------------------------------------------------------------------------------------


def zstd_case(name, about, payload, findings, intended=TEXT, **claims):
    case(f"zstd-{name}", about, ZSTD, payload, intended, findings, **claims)


BLOCKS = zstd_block(RLE, 4096, b"a", 0) + zstd_block(RLE, 4096, b"b", 1)
FRAME = zstd_header(8192) + BLOCKS
CLI = zstd_cli(TEXT, "--no-check")
CHECKED = zstd_cli(AB, "--check")
MADE = "zstd 1.5.4, with bytes changed by hand"

zstd_case("three-bytes", "less than a magic number", FRAME[:3], [error("zstd-magic", 0)], AB)
zstd_case(
    "magic-wrong", "the first byte is 29", b"\x29" + FRAME[1:], [error("zstd-magic", 0)], AB
)
zstd_case(
    "legacy-magic", "magic number of zstd 0.7", b"\x27" + FRAME[1:], [error("zstd-magic", 0)], AB
)
zstd_case("magicless", "no magic number", FRAME[4:], [error("zstd-magic", 0)], AB)
zstd_case(
    "zlib-stream",
    "a zlib stream under the name of zstd",
    STOCK,
    [error("zstd-magic", 0)],
    origin="stock zlib 1.2.13, level 9",
)
zstd_case(
    "skippable-frame-first",
    "8 bytes of metadata in a skippable frame, then the frame",
    skippable(b"metadata") + FRAME,
    [error("zstd-skippable-first", 0), error("zstd-second-frame", 16)],
    AB,
)
zstd_case(
    "skippable-frame-only",
    "the frame is missing",
    skippable(b"metadata"),
    [error("zstd-skippable-first", 0)],
    AB,
)
EMPTY = zstd_header(0) + zstd_block(RAW, 0, b"", 1)
zstd_case(
    "empty-frame-first",
    "a frame without content, then the frame",
    EMPTY + FRAME,
    [error("zstd-empty-frame", 0), error("zstd-second-frame", len(EMPTY))],
    AB,
)
zstd_case("empty-frame-only", "a frame without content", EMPTY, [error("zstd-empty-frame", 0)], AB)
zstd_case(
    "reserved-bit",
    "bit 3 of the descriptor",
    zstd_header(8192, reserved=1) + BLOCKS,
    [error("zstd-reserved-bit", 4)],
    AB,
)
zstd_case(
    "unused-bit",
    "bit 4 of the descriptor",
    zstd_header(8192, unused=1) + BLOCKS,
    [warning("zstd-unused-bit", 4)],
    AB,
)
# The window descriptor has the exponent less 10 in its upper five bits.
zstd_case(
    "window-of-4-mib",
    "no content size, so that a decoder needs room for the window",
    zstd_header(window=12 << 3) + BLOCKS,
    [error("zstd-window", 5), note("zstd-content-size-absent", 6)],
    AB,
)
zstd_case(
    "window-of-4-tib",
    "the largest exponent there is",
    zstd_header(8192, window=31 << 3) + BLOCKS,
    [error("zstd-window", 5)],
    AB,
)
zstd_case(
    "dictionary-7",
    "a dictionary ID of one byte",
    zstd_header(8192, dictionary=b"\7") + BLOCKS,
    [error("zstd-dictionary", 5)],
    AB,
)
zstd_case(
    "dictionary-0",
    "a dictionary ID that says none",
    zstd_header(8192, dictionary=b"\0") + BLOCKS,
    [warning("zstd-dictionary-id-zero", 5)],
    AB,
)
zstd_case(
    "no-content-size",
    "a window of 128 KiB and no content size",
    zstd_header(window=7 << 3) + BLOCKS,
    [note("zstd-content-size-absent", 6)],
    AB,
)
zstd_case(
    "content-size-too-great",
    "one byte more is declared than decoded",
    zstd_header(8193) + BLOCKS,
    [error("zstd-content-size", 5)],
    AB,
)
zstd_case(
    "content-size-too-small",
    "one byte less is declared than decoded",
    zstd_header(8191, window=7 << 3) + BLOCKS,
    [error("zstd-content-size", 6)],
    AB,
)
zstd_case(
    "cut-inside-the-header",
    "two bytes of the content size are missing",
    FRAME[:7],
    [error("zstd-truncated", 4)],
    AB,
)
FIRST = zstd_header(8192) + zstd_block(RLE, 4096, b"a", 0)
zstd_case(
    "cut-behind-the-first-block",
    "the second block is missing",
    FIRST,
    [error("zstd-truncated", len(FIRST))],
    AB,
)
RAWS = zstd_header(8192) + zstd_block(RLE, 4096, b"a", 0) + zstd_block(RAW, 4096, AB[4096:], 1)
zstd_case(
    "cut-inside-a-block",
    "the last 1000 bytes are missing",
    RAWS[:-1000],
    [error("zstd-truncated", len(FIRST) + 3)],
    AB,
)
zstd_case(
    "checksum-missing",
    "announced, and not there",
    CHECKED[:-4],
    [error("zstd-checksum-truncated", len(CHECKED) - 4)],
    AB,
    origin=MADE,
)
zstd_case(
    "checksum-wrong",
    "the last bit of the checksum flipped",
    CHECKED[:-1] + bytes([CHECKED[-1] ^ 1]),
    [error("zstd-checksum", len(CHECKED) - 4)],
    AB,
    origin=MADE,
)
zstd_case(
    "reserved-block",
    "the second block is of type 3",
    FIRST + zstd_block(RESERVED, 4096, b"b", 1),
    [error("zstd-reserved-block", len(FIRST))],
    AB,
)
NARROW = zstd_header(4096 + 2048, window=0)
ONES = b"".join(zstd_block(RLE, 1024, b"a", 0) for _ in range(4))
zstd_case(
    "block-larger-than-the-window",
    "a raw block of 2048 bytes in a window of 1024",
    NARROW + ONES + zstd_block(RAW, 2048, AB[4096:6144], 1),
    [error("zstd-block-too-large", len(NARROW + ONES))],
    AB[:6144],
)
# Six blocks of a letter each, then 12 literals and 35 bytes from 5760 back, all of them `a`.
RUN = b"".join(zstd_block(RLE, 1024, b"%c" % letter, 0) for letter in b"abcdef")
MATCH = zstd_match(b"12 literals!", 5760 + 3, 12)
BACK = b"".join(b"%c" % letter * 1024 for letter in b"abcdef") + b"12 literals!" + b"a" * 35
BEYOND = zstd_header(len(BACK), window=0) + RUN
zstd_case(
    "offset-beyond-the-window",
    "5760 bytes back in a window of 1024",
    BEYOND + zstd_block(COMPRESSED, len(MATCH), MATCH, 1),
    # Found in the bitstream of the sequences.
    [error("zstd-offset-beyond-window", len(BEYOND) + 3 + 1 + 12 + 5)],
    BACK,
)
# One byte further back than there is.
START = zstd_header(len(BACK)) + RUN
MATCH = zstd_match(b"12 literals!", 6157 + 3, 12)
zstd_case(
    "offset-beyond-the-start",
    "6157 bytes back with 6156 decoded",
    START + zstd_block(COMPRESSED, len(MATCH), MATCH, 1),
    [error("zstd-offset-beyond-start", len(START) + 3 + 1 + 12 + 5)],
    BACK,
)
zstd_case(
    "bytes-behind-the-frame",
    "sixteen bytes of text behind the frame",
    CLI + PERIOD[:16],
    [warning("zstd-behind-frame", len(CLI))],
    origin=MADE,
)
zstd_case(
    "skippable-frame-behind-the-frame",
    "metadata behind the data",
    CLI + skippable(b"metadata"),
    [warning("zstd-behind-frame", len(CLI))],
    origin=MADE,
)
zstd_case(
    "second-frame-behind-a-full-one",
    "the first frame has all the data",
    CLI + CLI,
    [warning("zstd-second-frame", len(CLI))],
    origin="zstd 1.5.4, twice",
)
FIRST_HALF = zstd_cli(TEXT[:4096], "--no-check")
zstd_case(
    "second-frame-with-the-other-half",
    "two frames of 4096 bytes each: every reader stops behind the first",
    FIRST_HALF + zstd_cli(TEXT[4096:], "--no-check"),
    [error("zstd-second-frame", len(FIRST_HALF))],
    origin="zstd 1.5.4, twice",
)
zstd_case(
    "treeless-literals-in-the-first-block",
    "literals reuse a Huffman tree and no block before has one",
    zstd_header(8192) + zstd_block(COMPRESSED, 5, b"\x43\x01\0\x80\x00", 1),
    # Frame header, block header, literals header of 3 bytes: there the tree would be.
    [error("zstd-block-damaged", 9 + 3 + 3)],
    AB,
)
zstd_case(
    "decodes-to-64-bytes-too-many",
    "8256 bytes where 8192 are claimed: every reader cuts",
    zstd_cli(text(8256), "--no-check"),
    [warning("decodes-too-long")],
    origin="zstd 1.5.4",
)
zstd_case(
    "decodes-to-too-little-regular",
    "5000 bytes where 8192 are shown: the rest is zero for every reader",
    zstd_cli(text(5000), "--no-check"),
    [warning("decodes-too-short")],
    intended=text(5000) + bytes(3192),
    origin="zstd 1.5.4",
)
zstd_case(
    "decodes-to-too-little-inline",
    "2900 bytes where 3000 are shown and it can become inline",
    zstd_cli(SMALL[:2900], "--no-check"),
    [error("decodes-too-short")],
    intended=SMALL[:2900] + bytes(100),
    origin="zstd 1.5.4",
)
