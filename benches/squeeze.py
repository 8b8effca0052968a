#!/usr/bin/env python3
"""`btrfs-payload squeeze` beside defragment and duperemove, on the same filesystem.

    cargo build --release
    sudo benches/squeeze.py target/release/btrfs-payload [--level 3 --level 15]

A btrfs on a loop device in /dev/shm with programs, libraries, headers and documentation of this
machine, plain; then with two read-only snapshots, between which each directory had a file changed.
Each contestant gets a copy of it, with nothing cached. Defragmenting is the ioctl with a level
(Linux 6.15), for every file of the live subvolume: it refuses read-only snapshots. Processor time
is that of the whole machine, kernel threads included; what else runs is in it. `compressing alone`
is `prepare` of the same files: the same payloads, and nothing done with them. Prints a table in
Markdown.
"""

import argparse
import fcntl
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

SOURCES = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/python3", "/usr/include", "/usr/share/doc",
           "/usr/share/perl", "/usr/bin"]
MIB = 1 << 20


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


def attempt(*command):
    subprocess.run([str(part) for part in command], check=False, capture_output=True)


class Filesystem:
    def __init__(self, image, where):
        self.image, self.where = image, where

    def __enter__(self):
        run("mount", "-t", "btrfs", "-o", "loop", self.image, self.where)
        return self

    def __exit__(self, *_):
        run("umount", self.where)

    def used(self):
        """Data and metadata, bytes."""
        for _ in range(3):
            run("btrfs", "filesystem", "sync", self.where)
        lines = run("btrfs", "filesystem", "df", "-b", self.where).decode()
        return [int(re.search(rf"{kind}, .*used=(\d+)", lines)[1]) for kind in ("Data", "Metadata")]

    def increment(self):
        """Bytes of the send from one snapshot to the other; `None` without them."""
        if not (self.where / "s1").exists():
            return None
        return len(run("btrfs", "send", "-q", "-p", self.where / "s1", self.where / "s2"))

    def times(self):
        """Times of every file."""
        found = {}
        for directory, _, names in os.walk(self.where):
            for name in names:
                path = os.path.join(directory, name)
                found[path] = os.lstat(path).st_mtime_ns
        return found


def machine_time():
    """Processor time of all that runs, seconds."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system = [int(ticks) for ticks in stat.readline().split()[1:4]]
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def defragment(where, level):
    compress, start, with_level, zstd = 1, 2, 4, 3
    argument = struct.pack("QQQIBbxx16x", 0, 2**64 - 1, compress | start | with_level, 0, zstd, level)
    for directory, _, names in os.walk(where / "live"):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                with open(path, "r+b") as file:
                    fcntl.ioctl(file, 0x40309410, argument)  # BTRFS_IOC_DEFRAG_RANGE


def fill(fs, snapshots):
    live = fs.where / "live"
    run("btrfs", "subvolume", "create", live)
    for source in SOURCES:
        # What cannot be copied is left out.
        attempt("cp", "-a", "--reflink=never", source, live)
    if snapshots:
        run("sync", "-f", live)
        run("btrfs", "subvolume", "snapshot", "-r", live, fs.where / "s1")
        for directory, _, names in os.walk(live):
            paths = [os.path.join(directory, name) for name in names]
            for path in [path for path in paths if not os.path.islink(path)][:1]:
                with open(path, "r+b") as file:
                    file.write(b"changed ")
        run("sync", "-f", live)
        run("btrfs", "subvolume", "snapshot", "-r", live, fs.where / "s2")
    run("sync", "-f", live)


def contest(name, work, original, image, where):
    run("cp", "--sparse=always", original, image)
    with Filesystem(image, where) as fs:
        before, increment, times = fs.used(), fs.increment(), fs.times()
    with Filesystem(image, where) as fs:
        attempt("sync")
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
        wall, cpu = time.monotonic(), machine_time()
        work()
        run("btrfs", "filesystem", "sync", where)
        wall, cpu = time.monotonic() - wall, machine_time() - cpu
        after, now, changed = fs.used(), fs.increment(), fs.times()
        touched = sum(times[path] != changed[path] for path in times)
    data, metadata = [f"{old / MIB:.0f} to {new / MIB:.0f}" for old, new in zip(before, after)]
    sent = "-" if increment is None else f"{increment} to {now}"
    print(f"| {name} | {data} | {metadata} | {sent} | {touched} | {wall:.1f} | {cpu:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--level", type=int, action="append")
    args = parser.parse_args()
    program = args.program.resolve()
    levels = args.level or [3, 15]
    # An exit like any other, which unmounts.
    signal.signal(signal.SIGTERM, lambda *_: exit(1))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        original, image, where = (pathlib.Path(directory) / name for name in ("a", "b", "mnt"))
        where.mkdir()
        for snapshots in (False, True):
            with open(original, "wb") as file:
                file.truncate(6 << 30)
            run("mkfs.btrfs", "-q", "-f", original)
            with Filesystem(original, where) as fs:
                fill(fs, snapshots)
            print(f"\n{'With two snapshots' if snapshots else 'No snapshot'}:\n")
            print("| what | data, MiB | metadata, MiB | increment, bytes | mtimes changed | wall, s "
                  "| cpu, s |")
            print("| --- | --- | --- | --- | ---: | ---: | ---: |")
            for level in levels:
                def squeeze(level=level):
                    run(program, "squeeze", where, "--level", level, "--jobs", 2)

                def alone(level=level):
                    run(program, "prepare", "-r", "--summary", "--jobs", 2, "--level", level,
                        where / "live")

                def defrag(level=level):
                    defragment(where, level)

                contest(f"squeeze zstd:{level}", squeeze, original, image, where)
                contest(f"defragment zstd:{level}", defrag, original, image, where)
                if not snapshots:
                    contest(f"compressing alone, zstd:{level}", alone, original, image, where)
            if snapshots and shutil.which("duperemove"):
                def deduplicate():
                    attempt("duperemove", "-dr", "-q", where)

                contest("duperemove", deduplicate, original, image, where)
            os.unlink(original)


if __name__ == "__main__":
    main()
