"""One case: a payload, what is claimed of it, and what a judge must say."""

import hashlib
import json
import zlib

PERIOD = b"btrfs keeps compressed extents of at most one hundred 28 KiB...\n"
assert len(PERIOD) == 64

NONE, ZLIB, ZSTD, LZO_4K, LZO_8K, LZO_64K = 0, 1, 2, 3, 4, 7
"""The ioctl's numbers of compression types (include/uapi/linux/btrfs.h)."""


def text(length):
    """Data that repeats itself every 64 bytes."""
    return (PERIOD * (length // 64 + 1))[:length]


def error(code, offset=None):
    return {"code": code, "severity": "error", "offset": offset}


def warning(code, offset=None):
    return {"code": code, "severity": "warning", "offset": offset}


def note(code, offset=None):
    return {"code": code, "severity": "note", "offset": offset}


class Case:
    """`intended` is the data that whoever made the payload meant the file to show."""

    def __init__(self, about, codec, payload, intended, findings, **claims):
        self.about, self.codec, self.payload = about, codec, payload
        self.intended, self.findings = intended, findings
        self.origin = claims.pop("origin", "hand-made")
        # Never given to a kernel or to btrfs receive.
        self.keep_back = claims.pop("keep_back", False)
        # Not given to btrfs receive: it does not check these claims itself.
        self.kernel_only = claims.pop("kernel_only", False)
        self.observed = {}
        self.claims = claims
        claims.setdefault("unencoded_len", len(intended))
        claims.setdefault("unencoded_offset", 0)
        claims.setdefault("len", claims["unencoded_len"] - claims["unencoded_offset"])
        claims.setdefault("encryption", 0)
        claims.setdefault("offset", 0)
        claims.setdefault("file_size", 0)
        claims.setdefault("sector_size", 4096)
        claims.setdefault("nodatasum", False)

    def json(self):
        result = {"about": self.about, "origin": self.origin}
        result |= {"compression": self.codec}
        names = ["encryption", "len", "unencoded_len", "unencoded_offset", "offset"]
        names += ["file_size", "sector_size", "nodatasum"]
        result |= {name: self.claims[name] for name in names}
        digest = hashlib.sha256(self.intended).hexdigest()
        result |= {"intended_sha256": digest}
        result |= {"findings": self.findings}
        if self.observed:
            result["observed"] = self.observed
        # One line for each member, one for each finding and for each piece of the payload.
        lines = [f" {json.dumps(name)}: {one_line(name, value)}" for name, value in result.items()]
        pieces = ",\n".join(f"  {json.dumps(piece)}" for piece in pieces_of(self.payload))
        lines.append(f' "payload": [\n{pieces}\n ]' if pieces else ' "payload": []')
        return "{\n" + ",\n".join(lines) + "\n}\n"


def one_line(name, value):
    if name in ("findings", "observed") and value:
        items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
        lines = [(f"{json.dumps(key)}: " if key else "") + json.dumps(item) for key, item in items]
        brackets = "{}" if isinstance(value, dict) else "[]"
        return brackets[0] + "\n  " + ",\n  ".join(lines) + "\n " + brackets[1]
    return json.dumps(value)


def pieces_of(payload):
    """Hexadecimal, 32 bytes a piece; runs of one or five bytes that repeat are said so."""
    at, pieces, plain = 0, [], b""

    def flush():
        nonlocal plain
        pieces.extend(plain[i : i + 32].hex() for i in range(0, len(plain), 32))
        plain = b""

    while at < len(payload):
        for width in (1, 5):
            unit, times = payload[at : at + width], 1
            while payload[at + times * width :][:width] == unit:
                times += 1
            if len(unit) == width and times * width >= 64:
                flush()
                pieces.append({"repeat": unit.hex(), "times": times})
                at += times * width
                break
        else:
            plain += payload[at : at + 1]
            at += 1
    flush()
    return pieces


CASES = {}


def case(name, *args, **claims):
    assert name not in CASES
    CASES[name] = Case(*args, **claims)


TEXT, SMALL = text(8192), text(3000)
AB = b"a" * 4096 + b"b" * 4096
STOCK = zlib.compress(TEXT, 9)
FAR = 1 << 20
"""A file offset where nothing can become inline."""
