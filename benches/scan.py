#!/usr/bin/env python3
"""`btrfs-payload scan` beside compsize, and `scan --verify` beside `stream check`.

    cargo build --release
    sudo benches/scan.py target/release/btrfs-payload [--rounds 7] [--files 100000]

A btrfs on a loop device in /dev/shm, mounted with compress-force=zstd:3; the content is headers and
documentation of this machine, again and again until there are so many files, each with extents of
its own, and then its programs and libraries. The two take turns, with two jobs where they have
jobs; medians of wall and processor time of the whole process, ratios within a round. `stream check`
gets what `btrfs send --compressed-data` makes of the same programs and libraries, so both judge
the same payloads; the one has them in one file, the other has the kernel hand out each. Prints a
table in Markdown.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

SMALL = ["/usr/include", "/usr/share/doc", "/usr/share/perl"]
LARGE = ["/usr/lib", "/usr/bin"]


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


def copy(source, to):
    # What cannot be copied is left out.
    command = ["cp", "-a", "--reflink=never", source, to]
    subprocess.run([str(part) for part in command], check=False, capture_output=True)


def used(*command):
    """Wall and processor time, seconds."""
    begun = time.monotonic()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command}: exit status {child.returncode}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime


def contest(name, ours, other, rounds, before=lambda: None):
    """Prints a line, and gives the median times of ours. `before` comes before each, and is not timed."""

    def turn(command):
        before()
        return used(*command)

    both = [(turn(ours), turn(other)) for _ in range(rounds + 1)][1:]
    median = [
        [statistics.median(pair[who][what] for pair in both) for what in (0, 1)] for who in (0, 1)
    ]
    ratio = [statistics.median(pair[0][what] / pair[1][what] for pair in both) for what in (0, 1)]
    times = " | ".join(f"{wall:.2f} | {cpu:.2f}" for wall, cpu in median)
    print(f"| {name} | {times} | {ratio[0]:.2f} | {ratio[1]:.2f} |", flush=True)
    return median[0]


def fill(where, files):
    """Small files, as many as were asked for, and large ones in a snapshot."""
    small = where / "small"
    run("btrfs", "subvolume", "create", small)
    have = 0
    for number in range(10_000):
        if have >= files:
            break
        into = small / str(number)
        into.mkdir()
        for source in SMALL:
            if pathlib.Path(source).exists():
                copy(source, into)
        have += sum(len(names) for _, _, names in os.walk(into))
    run("btrfs", "subvolume", "create", where / "large")
    for source in LARGE:
        copy(source, where / "large")
    run("btrfs", "subvolume", "snapshot", "-r", where / "large", where / "snapshot")
    run("sync", "-f", where)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=100_000)
    args = parser.parse_args()
    program = args.program.resolve()
    # An exit like any other, which unmounts.
    signal.signal(signal.SIGTERM, lambda *_: exit(1))
    if shutil.which("compsize") is None:
        raise SystemExit("compsize is not installed (Debian: btrfs-compsize)")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        image, where, stream = (pathlib.Path(directory) / name for name in ("image", "mnt", "s"))
        with open(image, "wb") as file:
            file.truncate(16 << 30)
        where.mkdir()
        run("mkfs.btrfs", "-q", image)
        run("mount", "-t", "btrfs", "-o", "loop,compress-force=zstd:3", image, where)
        try:
            fill(where, args.files)
            small, snapshot = where / "small", where / "snapshot"
            send = ["btrfs", "send", "-q", "--proto", "2", "--compressed-data", "-f", stream]
            run(*send, snapshot)
            print("| what | ours: wall, s | cpu, s | other: wall, s | cpu, s | ratio, wall | cpu |")
            print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
            scan = [program, "scan", "--jobs", "2"]
            _, cpu = contest("a subvolume", [*scan, small], ["compsize", small], args.rounds)
            below = sorted(small.iterdir())
            contest("directories", [*scan, *below], ["compsize", *below], args.rounds)
            check = [program, "stream", "check", "--jobs", "2", stream]
            verify = [*scan, "--verify", snapshot]
            contest("--verify", verify, check, args.rounds)
            lines = run(program, "scan", "--format", "json", small).splitlines()
            sums = json.loads(lines[-1])
            print(f"\n{sums['extents']} extents of {sums['files']} files: "
                  f"{sums['extents'] / cpu:.0f} per second of processor time")
        finally:
            subprocess.run(["umount", "-q", where], check=False)


if __name__ == "__main__":
    main()
