#!/usr/bin/env python3
"""Draws size against speed of encoding, for every codec and level, from the table's CSV.

    benches/picture.py benches/results.csv > benches/picture.svg
"""

import csv
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 900, 560, 70, 60, 50, 190
COLOURS = {
    "ours": "#c0392b",
    "libdeflate": "#2471a3",
    "zlib-rs": "#17a589",
    "miniz_oxide": "#7d6608",
    "liblzo2": "#2471a3",
    "lzo1x": "#17a589",
    "lzokay-native": "#7d6608",
    "libzstd": "#2471a3",
}
CODECS = {"lzo": "circle", "zlib": "square", "zstd": "triangle"}


def mark(shape, x, y, colour):
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    if shape == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    points = f"{x:.1f},{y - 5:.1f} {x - 5:.1f},{y + 4:.1f} {x + 5:.1f},{y + 4:.1f}"
    return f'<polygon points="{points}" fill="{colour}"/>'


def main():
    with open(sys.argv[1], newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["kind"] == "binaries"
            and "encode" in row["contest"]
            and "64 KiB" not in row["contest"]
        ]
    points = [
        (row["contest"].split()[0], row["who"], row["level"], float(row["MB/s"]), float(row["size"]))
        for row in rows
    ]
    speeds = [speed for *_, speed, _ in points]
    sizes = [size for *_, size in points]
    first, last = math.floor(math.log10(min(speeds))), math.ceil(math.log10(max(speeds)))
    low, high = math.floor(min(sizes) * 20) / 20, math.ceil(max(sizes) * 20) / 20

    def across(speed):
        return LEFT + (math.log10(speed) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def down(size):
        return TOP + (high - size) / (high - low) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">Encoding programs and libraries, 128 KiB extents: '
        "lower and further right is better</text>",
    ]
    for power in range(first, last + 1):
        for step in range(1, 10 if power < last else 2):
            x = across(step * 10**power)
            colour = "#bbb" if step == 1 else "#eee"
            out.append(
                f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" '
                f'stroke="{colour}"/>'
            )
        x = across(10**power)
        out.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10**power}</text>'
        )
    for step in range(round((high - low) * 20) + 1):
        size = low + step / 20
        y = down(size)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{size:.2f}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 16}" text-anchor="middle">'
        "MB of content a second of processor time (logarithmic)</text>"
    )
    out.append(
        f'<text x="18" y="{HEIGHT / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 18 {HEIGHT / 2:.0f})">size of payloads / size of content</text>'
    )
    # Ours last, so that it is on top.
    for codec, who, level, speed, size in sorted(points, key=lambda point: point[1] == "ours"):
        x, y = across(speed), down(size)
        out.append(f"<g><title>{codec} {who} {level}: {speed:.0f} MB/s, {size:.3f}</title>")
        out.append(mark(CODECS[codec], x, y, COLOURS[who]))
        if who == "ours":
            out.append(f'<text x="{x + 7:.1f}" y="{y - 5:.1f}" font-size="10">{level}</text>')
        out.append("</g>")
    y = TOP + 10
    for codec, shape in CODECS.items():
        out.append(mark(shape, WIDTH - RIGHT + 24, y, "#333"))
        out.append(f'<text x="{WIDTH - RIGHT + 36}" y="{y + 4}">{codec}</text>')
        y += 20
    y += 10
    for codec in CODECS:
        for who in dict.fromkeys(point[1] for point in points if point[0] == codec):
            out.append(mark(CODECS[codec], WIDTH - RIGHT + 24, y, COLOURS[who]))
            name = "this crate" if who == "ours" else who
            out.append(f'<text x="{WIDTH - RIGHT + 36}" y="{y + 4}">{name}</text>')
            y += 20
    out.append("</svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
