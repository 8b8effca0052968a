#!/usr/bin/env python3
"""Makes testdata/cases and testdata/valid again: payloads with a fault each, and sound ones.

Needs zstd and liblzo2, and root and btrfs-progs for what only a kernel can say: the outcomes in
the members `observed`, and the payloads that a kernel makes. With --without-kernel these are left
out, which is good for trying; what is committed has them.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "make_cases"))

from cases import CASES
from observe import observe
from valid import make

with_kernel = sys.argv[1:] != ["--without-kernel"]
valid = make(with_kernel)
if with_kernel:
    observe(CASES)
    observe({name: case for name, case in valid.items() if case.claims["sector_size"] == 4096})
for directory, cases in [("cases", CASES), ("valid", valid)]:
    (HERE / directory).mkdir(exist_ok=True)
    for old in (HERE / directory).glob("*.json"):
        old.unlink()
    for name, case in cases.items():
        (HERE / directory / f"{name}.json").write_text(case.json())
    print(f"{directory}: {len(cases)} files")
