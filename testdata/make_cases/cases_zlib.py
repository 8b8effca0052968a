"""zlib payloads with a fault."""

import zlib

from assemble import *
from case import *

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
