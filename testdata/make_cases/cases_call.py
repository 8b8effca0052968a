"""What the ioctl refuses: whatever the payload, it is a good one; only the claims are wrong."""

import zlib

from assemble import *
from case import *

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
