"""zstd payloads with a fault."""

from assemble import *
from case import *

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
