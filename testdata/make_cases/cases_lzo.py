"""LZO payloads with a fault."""

import struct

from assemble import *
from case import *

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
