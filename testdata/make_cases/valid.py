"""Payloads that must be judged clean: made by programs that btrfs has nothing to do with, and by
a kernel."""

import ctypes
import ctypes.util
import fcntl
import hashlib
import os
import struct
import subprocess
import zlib

from assemble import *
from case import *
from observe import ENCODED_READ, btrfs, versions

VALID = {}


def lines(length):
    """Data that shrinks to about a third: numbered lines."""
    line = lambda i: b"line %d: %08x\n" % (i, i * 2654435761 % 2**32)
    return b"".join(map(line, range(length // 16 + 1)))[:length]


def noise(length):
    """Data that does not shrink."""
    blocks = (hashlib.sha256(b"%d" % i).digest() for i in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def valid(name, codec, payload, data, origin, **claims):
    VALID[name] = Case("sound", codec, payload, data, [], origin=origin, **claims)


def by_zlib():
    data, origin = lines(9000), f"stock zlib {zlib.ZLIB_RUNTIME_VERSION}"
    for level in (1, 6, 9):
        valid(f"zlib-level-{level}", ZLIB, zlib.compress(data, level), data, f"{origin}, level {level}")
    strategies = [("filtered", 1), ("huffman-only", 2), ("rle", 3), ("fixed", 4)]
    for name, strategy in strategies:
        stream = zlib.compressobj(9, zlib.DEFLATED, 15, 8, strategy)
        payload = stream.compress(data) + stream.flush()
        valid(f"zlib-strategy-{name}", ZLIB, payload, data, f"{origin}, strategy {strategy}")
    stream, payload = zlib.compressobj(3), b""
    for at in range(0, len(data), 4096):
        payload += stream.compress(data[at : at + 4096]) + stream.flush(zlib.Z_SYNC_FLUSH)
    payload += stream.flush()
    valid("zlib-flushed-each-page", ZLIB, payload, data, f"{origin}, Z_SYNC_FLUSH each 4096 bytes")
    valid("zlib-inline", ZLIB, zlib.compress(data[:3000]), data[:3000], origin)
    long = text(131072)
    valid("zlib-whole-extent", ZLIB, zlib.compress(long), long, origin)
    middle = {"unencoded_len": 131072, "unencoded_offset": 8192, "len": 4096, "offset": 1 << 20}
    valid("zlib-slice", ZLIB, zlib.compress(long), long[8192:12288], origin, **middle)


def by_zstd():
    version = subprocess.run(["zstd", "-V"], capture_output=True, text=True).stdout
    data, origin = lines(9000), "zstd " + version.split("v")[-1].split(",")[0]
    for name, options in [
        ("fast-5", ["--fast=5"]),
        ("level-1", ["-1"]),
        ("level-3", ["-3"]),
        ("level-19", ["-19"]),
        ("level-22", ["--ultra", "-22"]),
    ]:
        payload = zstd_cli(data, "--no-check", *options)
        valid(f"zstd-{name}", ZSTD, payload, data, f"{origin}, {' '.join(options)}")
    valid("zstd-checksum", ZSTD, zstd_cli(data, "--check"), data, f"{origin}, --check")
    valid("zstd-inline", ZSTD, zstd_cli(data[:3000], "--no-check"), data[:3000], origin)
    long = text(131072)
    valid("zstd-whole-extent", ZSTD, zstd_cli(long, "--no-check"), long, origin)


def by_liblzo2():
    lzo = ctypes.CDLL(ctypes.util.find_library("lzo2"))
    lzo.lzo_version_string.restype = ctypes.c_char_p
    origin = "liblzo2 " + lzo.lzo_version_string().decode()

    def segments(data, function, sector_size=4096):
        out, memory = ctypes.create_string_buffer(2 * sector_size), ctypes.create_string_buffer(1 << 20)
        for at in range(0, len(data), sector_size):
            piece, length = data[at : at + sector_size], ctypes.c_size_t()
            result = getattr(lzo, function)(
                piece, ctypes.c_size_t(len(piece)), out, ctypes.byref(length), memory
            )
            assert result == 0
            yield out.raw[: length.value]

    data = lines(9000)
    for function in ("lzo1x_1_compress", "lzo1x_999_compress"):
        payload = lzo_payload(list(segments(data, function)))
        name = f"lzo-{function.removesuffix('_compress').replace('_', '-')}"
        valid(name, LZO_4K, payload, data, f"{origin}, {function}")
    payload = lzo_payload(list(segments(data[:3000], "lzo1x_1_compress")))
    valid("lzo-inline", LZO_4K, payload, data[:3000], f"{origin}, lzo1x_1_compress")
    payload = lzo_payload(list(segments(data, "lzo1x_1_compress", 65536)))
    valid(
        "lzo-for-64k-sectors",
        LZO_64K,
        payload,
        data,
        f"{origin}, lzo1x_1_compress",
        sector_size=65536,
    )
    # Data of which the second header would cross the sector boundary without padding.
    for quiet in range(64, 400):
        data = text(quiet) + noise(4096 - quiet) + text(4096)
        parts = list(segments(data, "lzo1x_1_compress"))
        if -(8 + len(parts[0])) % 4096 in (1, 2, 3):
            payload = lzo_payload(parts)
            valid("lzo-padded-header", LZO_4K, payload, data, f"{origin}, lzo1x_1_compress")
            break
    assert "lzo-padded-header" in VALID


def encoded_read(path, offset):
    """The payload of the extent at `offset` and its claims, through the ioctl."""
    payload = ctypes.create_string_buffer(131072)
    iov = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(payload), 131072), 16)
    form = "<QQQQQQQII64x"
    argument = bytearray(struct.pack(form, ctypes.addressof(iov), 1, offset, *[0] * 6))
    with open(path, "rb") as file:
        length = fcntl.ioctl(file.fileno(), ENCODED_READ, argument)
    _, _, _, _, len_, unencoded_len, unencoded_offset, codec, encryption = struct.unpack(form, argument)
    assert codec != 0 and encryption == 0
    claims = {"len": len_, "unencoded_len": unencoded_len, "unencoded_offset": unencoded_offset}
    return payload.raw[:length], codec, claims


def by_kernel():
    """Files written under compress-force; one of them with its middle written again, so that
    slices of its extent are left."""
    origin = f"Linux {versions()[0]}, compress-force="
    for option in ("zlib:1", "zlib:9", "lzo", "zstd:1", "zstd:15"):
        codec = option.split(":")[0]
        name = f"kernel-{option.replace(':', '-level-')}"
        with btrfs(f"loop,compress-force={option}") as mount:
            for suffix, data in [("inline", lines(1000) + text(2000)), ("", lines(9000))]:
                path = f"{mount}/{name}{suffix}"
                with open(path, "wb") as file:
                    file.write(data)
                    os.fsync(file.fileno())
                payload, number, claims = encoded_read(path, 0)
                file_size = {"file_size": 0 if suffix else len(data)}
                full_name = f"{name}-{suffix}" if suffix else name
                valid(full_name, number, payload, data, origin + option, **claims, **file_size)
            path, data = f"{mount}/slices", text(65536)
            with open(path, "wb") as file:
                file.write(data)
                os.fsync(file.fileno())
                file.seek(16384)
                file.write(data[:4096])
                os.fsync(file.fileno())
            payload, number, claims = encoded_read(path, 20480)
            assert claims["unencoded_offset"] == 20480 and claims["unencoded_len"] == 65536
            shown = data[20480:][: claims["len"]]
            place = {"offset": 20480, "file_size": 65536}
            valid(f"{name}-slice", number, payload, shown, origin + option, **claims, **place)
            assert codec


def make(with_kernel):
    by_zlib()
    by_zstd()
    by_liblzo2()
    if with_kernel:
        by_kernel()
    return VALID
