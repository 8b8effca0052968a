"""What the running kernel and the installed btrfs-progs make of a case. Needs root.

Outcomes are those of kernel-verdicts: refused, nothing-written, data, read-error; of btrfs
receive, data or failed.
"""

import errno
import fcntl
import hashlib
import os
import platform
import struct
import subprocess
import tempfile
import ctypes
from contextlib import contextmanager

ENCODED_READ, ENCODED_WRITE = 0x80809440, 0x40809440
PAGE = 4096


@contextmanager
def btrfs(options="loop"):
    with tempfile.TemporaryDirectory() as directory:
        image, mount = f"{directory}/image", f"{directory}/mount"
        with open(image, "wb") as file:
            file.truncate(1 << 30)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=subprocess.DEVNULL)
        os.mkdir(mount)
        subprocess.run(["mount", "-o", options, image, mount], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", mount], check=True)


def arguments(payload, codec, claims):
    buffer = ctypes.create_string_buffer(payload, len(payload) or 1)
    iov = struct.pack("<QQ", ctypes.addressof(buffer), len(payload))
    iov_buffer = ctypes.create_string_buffer(iov, 16)
    packed = struct.pack(
        "<QQQQQQQII64x",
        ctypes.addressof(iov_buffer),
        1,
        claims["offset"],
        0,
        claims["len"],
        claims["unencoded_len"],
        claims["unencoded_offset"],
        codec,
        claims["encryption"],
    )
    # Of a bytearray, unlike of bytes, fcntl.ioctl returns what the call returned.
    return bytearray(packed), (buffer, iov_buffer)


def by_kernel(case, mount):
    claims = case.claims
    path = f"{mount}/file"
    with open(path, "wb"):
        pass
    if claims["nodatasum"]:
        subprocess.run(["chattr", "+C", path], check=True)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, claims["file_size"])
        packed, keep = arguments(case.payload, case.codec, claims)
        try:
            written = fcntl.ioctl(descriptor, ENCODED_WRITE, packed)
        except OSError as error:
            return {"outcome": "refused", "errno": errno.errorcode[error.errno]}
        finally:
            del keep
        if written == 0:
            return {"outcome": "nothing-written"}
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        data = b""
        while len(data) < claims["len"]:
            try:
                page = os.pread(descriptor, PAGE, claims["offset"] + len(data))
                assert page, "the file is too short"
                data += page
            except OSError as error:
                name = errno.errorcode[error.errno]
                return {"outcome": "read-error", "errno": name, "good_bytes": len(data)}
        data = data[: claims["len"]]
        return {"outcome": "data", "sha256": hashlib.sha256(data).hexdigest()}
    finally:
        os.close(descriptor)
        os.unlink(path)


def crc32c(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def command(number, *attributes, data=None):
    body = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in attributes)
    if data is not None:
        body += struct.pack("<H", 19) + data  # in version 2 the length of DATA is left out
    head = struct.pack("<IHI", len(body), number, 0)
    return struct.pack("<IHI", len(body), number, crc32c(head + body)) + body


def stream(case):
    """A send stream of version 2: a subvolume with one file."""
    u64, u32 = (lambda n: struct.pack("<Q", n)), (lambda n: struct.pack("<I", n))
    path, claims = (15, b"file"), case.claims
    commands = [
        command(1, (15, b"subvolume"), (1, os.urandom(16)), (2, u64(1))),
        command(3, path, (3, u64(257))),
        command(
            25,
            path,
            (18, u64(claims["offset"])),
            (27, u64(claims["len"])),
            (28, u64(claims["unencoded_len"])),
            (29, u64(claims["unencoded_offset"])),
            (30, u32(case.codec)),
            (31, u32(0)),
            data=case.payload,
        ),
        command(21),
    ]
    return b"btrfs-stream\0" + u32(2) + b"".join(commands)


def by_receive(case, mount):
    receive = ["btrfs", "receive", "--force-decompress", mount]
    result = subprocess.run(receive, input=stream(case), capture_output=True)
    try:
        if result.returncode != 0:
            decoders = (b"inflate", b"lzo", b"zstd", b"ZSTD", b"LZO")
            assert any(name in result.stderr for name in decoders), result
            return {"outcome": "failed"}
        with open(f"{mount}/subvolume/file", "rb") as file:
            file.seek(case.claims["offset"])
            data = file.read()
        return {"outcome": "data", "sha256": hashlib.sha256(data).hexdigest()}
    finally:
        subprocess.run(["btrfs", "-q", "subvolume", "delete", f"{mount}/subvolume"], check=True)


def versions():
    progs = subprocess.run(["btrfs", "--version"], capture_output=True, text=True).stdout.split()[-1]
    return platform.release().split("-")[0], progs.lstrip("v")


def observe(cases):
    """Fills in `observed` of every case that may be given to a kernel."""
    release, progs = versions()
    with btrfs() as mount:
        for case in cases.values():
            if case.keep_back:
                continue
            case.observed[f"Linux {release}"] = by_kernel(case, mount)
            if not case.kernel_only:
                case.observed[f"btrfs receive {progs}"] = by_receive(case, mount)
