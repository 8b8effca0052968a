#!/usr/bin/env python3
"""`btrfs-payload write` beside the kernel's own compressing write, and what more jobs bring.

    cargo build --release
    sudo benches/write.py target/release/btrfs-payload [--rounds 7] [--megabytes 155]

A btrfs on a loop device in /dev/shm; the content is programs and libraries of this machine. Both
write a new file and wait for fsync; dd stands for any program that writes plain data under
compress-force. They take turns; wall time, medians. Prints tables in Markdown.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

CODECS = [("lzo", "lzo", "1"), ("zlib", "zlib:3", "3"), ("zstd", "zstd:3", "3")]


def content(path, size):
    """Libraries and programs, at most 16 MiB of each, in the order of their sizes."""
    files = [
        file
        for directory in ("/usr/lib", "/usr/bin")
        for file in pathlib.Path(directory).rglob("*")
        if file.is_file() and not file.is_symlink() and (".so" in file.name or not file.suffix)
    ]
    with open(path, "wb") as out:
        for file in sorted(files, key=lambda file: -file.stat().st_size):
            data = file.open("rb").read(16 << 20)
            if data.startswith(b"\x7fELF"):
                out.write(data[: size - out.tell()])
            if out.tell() >= size:
                return


def timed(*command):
    start = time.monotonic()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return time.monotonic() - start


def mount(image, where, compression):
    options = "loop" if compression is None else f"loop,compress-force={compression}"
    subprocess.run(["mount", "-t", "btrfs", "-o", options, image, where], check=True)


def writes(program, source, where, image, rounds):
    print("| codec | kernel, s | ours, s | ratio |\n| --- | ---: | ---: | ---: |")
    for codec, compression, level in CODECS:
        kernel, ours = [], []
        for _ in range(rounds + 1):
            mount(image, where, compression)
            kernel.append(timed("dd", f"if={source}", f"of={where}/k", "bs=1M", "conv=fsync"))
            os.unlink(where / "k")
            subprocess.run(["umount", where], check=True)
            mount(image, where, None)
            ours.append(
                timed(program, "write", source, where / "o", "--codec", codec, "--level", level)
            )
            os.unlink(where / "o")
            subprocess.run(["umount", where], check=True)
        # The first round does not count.
        kernel, ours = kernel[1:], ours[1:]
        ratio = statistics.median(o / k for k, o in zip(kernel, ours))
        print(
            f"| {compression} | {statistics.median(kernel):.3f} | {statistics.median(ours):.3f} "
            f"| {ratio:.2f} |",
            flush=True,
        )


def scaling(program, source, rounds):
    print("\n| prepare | 1 job, s | 2 jobs, s | times |\n| --- | ---: | ---: | ---: |")
    for codec, level in [("zstd", "9"), ("zstd", "3"), ("zlib", "6"), ("lzo", "1")]:
        both = {1: [], 2: []}
        for _ in range(rounds):
            for jobs in both:
                arguments = ["--codec", codec, "--level", level, "--jobs", jobs]
                both[jobs].append(timed(program, "prepare", source, *arguments))
        one, two = statistics.median(both[1]), statistics.median(both[2])
        times = statistics.median(o / t for o, t in zip(both[1], both[2]))
        print(f"| {codec}:{level} | {one:.2f} | {two:.2f} | {times:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=155)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        directory = pathlib.Path(directory)
        source, image, where = (directory / name for name in ("source", "image", "mounted"))
        content(source, args.megabytes * 1_000_000)
        with open(image, "wb") as file:
            file.truncate(4 << 30)
        where.mkdir()
        subprocess.run(["mkfs.btrfs", "-q", image], check=True)
        try:
            writes(args.program.resolve(), source, where, image, args.rounds)
        finally:
            subprocess.run(["umount", "-q", where], check=False)
        scaling(args.program.resolve(), source, max(3, args.rounds // 2))


if __name__ == "__main__":
    main()
