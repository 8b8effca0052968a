"""Inline extents that decode to more than they show.

Linux 7 compresses the sector of a small file whole, with the zeroes after the end of the file, and
gives the file's length as the length of the data. Three payloads are its own: 7.2.13 in emulation,
mounted with compress-force, wrote `yes 'some compressible text' | head -c 300`, and the stored
bytes of the inline extents were read back.
"""

import zlib

from assemble import *
from case import *

SOME = (b"some compressible text\n" * 14)[:300]
LINUX_7 = "Linux 7.2.13, a file of 300 bytes"
MADE = {
    ZLIB: "785eecd0b10900200c00416ba7c86c4a0ac11031291cdf019c40f82fbfbc7053e96e6b6bc4685325f5640df66b5208010410400001041040000104104000814f052e000000ffff0300b81372c3",
    LZO_4K: "4b000000430000000005736f6d6520636f6d707265737369626c6520746578740a20f4590000200000000000000000000000000000b100000c000000000000000000000000000000110000",
    ZSTD: "28b52ffd60000f1d0100c0736f6d6520636f6d707265737369626c6520746578740a000200d0c6f9a284aab309",
}
for codec, name in [(ZLIB, "zlib"), (LZO_4K, "lzo"), (ZSTD, "zstd")]:
    case(
        f"{name}-inline-extent-of-a-whole-sector",
        "300 bytes are shown of 4096: text and zeroes",
        codec,
        bytes.fromhex(MADE[codec]),
        SOME,
        [warning("decodes-too-long")],
        origin=LINUX_7,
        # Of LZO it decodes whole sectors, whatever room there is.
        kernel_only=codec == LZO_4K,
    )
case(
    "zlib-inline-extent-with-text-in-the-rest-of-the-sector",
    "300 bytes are shown of 4096, all of them text",
    ZLIB,
    zlib.compress(text(4096), 9),
    text(300),
    [warning("decodes-too-long")],
    origin="stock zlib 1.2.13, level 9",
)
case(
    "lzo-inline-extent-with-text-in-the-rest-of-the-sector",
    "300 bytes are shown of 4096, all of them text",
    LZO_4K,
    lzo_payload([lzo_segment(text(4096), 64)]),
    text(300),
    [warning("decodes-too-long")],
    kernel_only=True,
)
case(
    "zlib-inline-extent-of-more-than-a-sector",
    "300 bytes are shown of 4097",
    ZLIB,
    zlib.compress(text(4097), 9),
    text(300),
    [error("decodes-too-long")],
    origin="stock zlib 1.2.13, level 9",
    # What is read is memory that nobody wrote, so there is nothing to compare with.
    keep_back=True,
)
