"""Payloads put together by hand, bit by bit, from the format's own rules.

deflate: RFC 1951 and 1950. LZO1X: the instruction table of Linux (Documentation/staging/lzo.rst).
zstd: RFC 8878. Nothing here is taken from the crate that the payloads are to test.
"""

import struct
import subprocess
import tempfile
import zlib


class Deflate:
    """Deflate data behind a zlib header, written from the first bit on."""

    def __init__(self, header=b"\x78\x01"):
        self.header = header
        self.bits = []

    def at(self):
        """Byte of the payload that the next bit is in."""
        return len(self.header) + len(self.bits) // 8

    def put(self, value, count):
        """A number, least significant bit first."""
        self.bits += [value >> i & 1 for i in range(count)]
        return self

    def code(self, value, count):
        """A Huffman code, most significant bit first."""
        self.bits += [value >> i & 1 for i in reversed(range(count))]
        return self

    def fixed(self, last):
        return self.put(last, 1).put(1, 2)

    def symbol(self, symbol):
        """A literal/length symbol in the fixed code (RFC 1951, 3.2.6)."""
        if symbol < 144:
            return self.code(0x30 + symbol, 8)
        if symbol < 256:
            return self.code(0x190 + symbol - 144, 9)
        if symbol < 280:
            return self.code(symbol - 256, 7)
        return self.code(0xC0 + symbol - 280, 8)

    def literals(self, data):
        for byte in data:
            self.symbol(byte)
        return self

    def match258(self, distance):
        """258 bytes from `distance` back."""
        bases = [1, 2, 3, 4]
        for extra in range(1, 14):
            bases += [bases[-1] + (1 << extra - 1), bases[-1] + (1 << extra - 1) + (1 << extra)]
        index = max(i for i, base in enumerate(bases) if base <= distance)
        extra = max(0, index // 2 - 1)
        return self.symbol(285).code(index, 5).put(distance - bases[index], extra)

    def run(self, byte, length):
        """One byte, so many times, for the most part in matches."""
        self.symbol(byte)
        for _ in range((length - 1) // 258):
            self.match258(1)
        return self.literals(bytes([byte]) * ((length - 1) % 258))

    def end_of_block(self):
        return self.symbol(256)

    def align(self):
        return self.put(0, -len(self.bits) % 8)

    def lengths_at(self):
        """Byte of the payload at which a stored block that begins here has its LEN."""
        return len(self.header) + (len(self.bits) + 3 + 7) // 8

    def stored(self, data, last):
        self.put(last, 1).put(0, 2).align()
        return self.put(len(data), 16).put(len(data) ^ 0xFFFF, 16).raw(data)

    def raw(self, data):
        for byte in data:
            self.put(byte, 8)
        return self

    def payload(self, data=None):
        """The payload; with the adler32 of `data` where given."""
        self.align()
        body = bytes(
            sum(bit << i for i, bit in enumerate(self.bits[at : at + 8]))
            for at in range(0, len(self.bits), 8)
        )
        trailer = b"" if data is None else struct.pack(">I", zlib.adler32(data))
        return self.header + body + trailer


def zlib_header(cinfo, cm=8, fdict=0):
    """CMF and FLG with a right FCHECK."""
    cmf, flg = cinfo << 4 | cm, fdict << 5
    return bytes([cmf, flg + -(cmf * 256 + flg) % 31])


# --- LZO ---------------------------------------------------------------------------------------

LZO_END = b"\x11\0\0"


def lzo_count(value):
    """A length extension: zero bytes worth 255 each, and a last byte."""
    assert value > 0
    return bytes((value - 1) // 255) + bytes([(value - 1) % 255 + 1])


def lzo_literals(data):
    """A run of literals as the first instruction, or after a match without literals."""
    if len(data) <= 18:
        assert len(data) >= 4
        return bytes([len(data) - 3]) + data
    return b"\0" + lzo_count(len(data) - 18) + data


def lzo_match(length, distance):
    """`length` bytes from `distance` back, in the form with two bytes of distance."""
    assert 3 <= length and 1 <= distance <= 16384
    head = bytes([0x20 | length - 2]) if length <= 33 else b"\x20" + lzo_count(length - 33)
    return head + struct.pack("<H", distance - 1 << 2)


def lzo_segment(data, period):
    """LZO1X of data that repeats itself every `period` bytes."""
    assert data == (data[:period] * (len(data) // period + 1))[: len(data)]
    return lzo_literals(data[:period]) + lzo_match(len(data) - period, period) + LZO_END


def lzo_payload(segments, total=None):
    """Total, headers and segments; no header crosses a sector boundary of 4096 bytes."""
    payload = bytes(4)
    for segment in segments:
        left = -len(payload) % 4096
        payload += bytes(left if left < 4 else 0)
        payload += struct.pack("<I", len(segment)) + segment
    return struct.pack("<I", len(payload) if total is None else total) + payload[4:]


# --- zstd --------------------------------------------------------------------------------------

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
RAW, RLE, COMPRESSED, RESERVED = range(4)


def zstd_header(size=None, window=None, checksum=0, dictionary=b"", unused=0, reserved=0):
    """Magic number and frame header. `size` takes a 4-byte field; `window` is the window
    descriptor, without one the frame is a single segment."""
    descriptor = (
        (0 if size is None else 2) << 6
        | (window is None) << 5
        | unused << 4
        | reserved << 3
        | checksum << 2
        | {0: 0, 1: 1, 2: 2, 4: 3}[len(dictionary)]
    )
    header = ZSTD_MAGIC + bytes([descriptor])
    header += b"" if window is None else bytes([window])
    return header + dictionary + (b"" if size is None else struct.pack("<I", size))


def zstd_block(kind, size, body, last):
    return struct.pack("<I", size << 3 | kind << 1 | last)[:3] + body


def zstd_match(literals, offset_value, extra_bits):
    """A compressed block: raw literals (at most 31), then one sequence that takes all of them
    and copies 3 + 32 bytes; every table is an RLE table. `offset_value` is the offset plus 3."""
    assert len(literals) < 16
    ll_code, of_code, ml_code = len(literals), extra_bits, 32  # match length 35, 1 extra bit
    body = bytes([len(literals) << 3]) + literals
    body += bytes([1, 0x54, ll_code, of_code, ml_code])
    # Written for a reader that starts at the end: mark, offset bits, match length bit.
    low = offset_value - (1 << of_code)
    assert 0 <= low < 1 << of_code
    stream = 1 << of_code + 1 | low << 1 | 0
    return body + stream.to_bytes((stream.bit_length() + 7) // 8, "little")


def zstd_cli(data, *options):
    """What the zstd program makes of data; it knows the size, as it reads a file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        command = ["zstd", "-q", "-T1", "-c", *options, file.name]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def skippable(content):
    return struct.pack("<II", 0x184D2A50, len(content)) + content
