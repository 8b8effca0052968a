#!/usr/bin/env python3
"""`pack` beside tar and zstd, `unpack` beside them and `btrfs receive`, and trees of many names.

    cargo build --release
    sudo benches/pack.py target/release/btrfs-payload [--tree DIR] [--rounds 3] [--names 1000000]

The tree is a Rust toolchain (`rustc --print sysroot`) where no other is named. Everything is in
/dev/shm: archives, streams, what is unpacked, and a btrfs on a loop device, which needs root and is
left out without. Contestants take turns, with two jobs where they have jobs; medians of wall and
processor time of whole processes, ratios within a round. On btrfs the time includes `btrfs filesystem
sync`. Prints tables in Markdown.
"""

import argparse
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile

from scan import contest, run

HEAD = """| what | ours: wall, s | cpu, s | other: wall, s | cpu, s | ratio, wall | cpu |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def shell(line, **paths):
    return ["sh", "-e", "-c", line.format(**{key: shlex.quote(str(path)) for key, path in paths.items()})]


def anew(directory):
    """A directory with nothing in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


def on_tmpfs(program, tree, room, rounds):
    """Packs and unpacks; gives the stream."""
    stream, archive, out = room / "s.stream", room / "a.tar.zst", room / "out"
    pack = [program, "pack", tree, "-q", "-f", "-j2", "-c", "zstd:3", "-o", stream]
    tar = shell("tar -C {tree} -cf - . | zstd -3 -T2 -q -f -o {archive}", tree=tree, archive=archive)
    contest("`pack`, `tar \\| zstd -3 -T2`", pack, tar, rounds)
    untar = shell("zstd -dc {archive} | tar -C {out} -xf -", archive=archive, out=out)
    unpack = [program, "unpack", stream, "-q", "-j2", "-C", out]
    contest("`unpack`, `zstd -dc \\| tar -x`", unpack, untar, rounds, lambda: anew(out))
    shutil.rmtree(out)
    archive.unlink()
    ls, cat = [program, "stream", "ls", "-R", stream], ["cat", stream]
    contest("`stream ls -R`, `cat`", ls, cat, rounds)
    return stream


def on_btrfs(program, stream, room, rounds):
    image, where = room / "image", room / "mnt"
    where.mkdir()

    def anew():
        """A new filesystem: nobody is to wait while what others have made is freed."""
        subprocess.run(["umount", "-q", where], check=False)
        image.unlink(missing_ok=True)
        with open(image, "wb") as file:
            file.truncate(8 << 30)
        run("mkfs.btrfs", "-q", image)
        run("mount", "-t", "btrfs", "-o", "loop", image, where)

    try:
        sync = " && btrfs filesystem sync {where}"
        unpack = "{program} unpack {stream} -q -j2 -C {where}/out" + sync
        paths = {"program": program, "stream": stream, "where": where}
        for options in ["--force-decompress", ""]:
            receive = f"btrfs receive -q {options} -f {{stream}} {{where}}" + sync
            name = f"`unpack`, `btrfs receive {options}".strip() + "`, btrfs"
            contest(name, shell(unpack, **paths), shell(receive, **paths), rounds, anew)
    finally:
        subprocess.run(["umount", "-q", where], check=False)


def peak(*command):
    """Processor time and the most memory, seconds and bytes."""
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command}: exit status {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10


def names(program, room, most):
    """Empty files in one directory: a quarter of `most`, and all."""
    print("| names of 255 bytes | " + " | ".join(["pack DIR", "pack TAR", "ls", "digest", "unpack"]) + " |")
    print("| ---: " * 6 + "|")
    for count in [most // 4, most]:
        tree, archive, stream, out = (room / name for name in ("tree", "n.tar", "n.stream", "nout"))
        tree.mkdir()
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
            for number in range(count):
                name = f"{number:0255}"
                (tree / name).touch()
                tar.addfile(tarfile.TarInfo(name))
                # Or this program would be the one that needs the memory.
                tar.members.clear()
        measured = [
            peak(program, "pack", tree, "-q", "-f", "-j2", "-o", stream),
            peak(program, "pack", archive, "-q", "-f", "-j2", "-o", stream),
            peak(program, "stream", "ls", "-R", stream),
            peak(program, "stream", "digest", stream),
            peak(program, "unpack", stream, "-q", "-C", out),
        ]
        cells = [f"{cpu:.2f} s, {memory / count:.0f} B" for cpu, memory in measured]
        print(f"| {count} | " + " | ".join(cells) + " |", flush=True)
        for directory in (tree, out):
            shutil.rmtree(directory)
        archive.unlink()
        stream.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--tree", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--names", type=int, default=1_000_000)
    args = parser.parse_args()
    program = args.program.resolve()
    tree = args.tree or pathlib.Path(run("rustc", "--print", "sysroot").decode().strip())
    # An exit like any other, which unmounts.
    signal.signal(signal.SIGTERM, lambda *_: exit(1))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        room = pathlib.Path(directory)
        if args.rounds:
            print(HEAD)
            stream = on_tmpfs(program, tree.resolve(), room, args.rounds)
            if os.geteuid() == 0:
                on_btrfs(program, stream, room, args.rounds)
        if args.names:
            print()
            names(program, room, args.names)


if __name__ == "__main__":
    main()
