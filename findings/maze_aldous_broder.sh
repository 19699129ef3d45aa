#!/bin/sh
# mazelib 0.9.16; 2026-11-29
# Expected: AldousBroder makes every maze equally often, as the algorithm of that name does, and as
#   Wilsons does here.
# Seen: beside an unvisited cell its walk goes to no visited one. Of the 192 mazes of 3 by 3 cells
#   3000 draws give 134, the commonest 95 times in place of about 16, where Wilsons gives all,
#   the commonest 32 times.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 cython==3.3.1 mazelib==0.9.16
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import random
import sys
from collections import Counter

from mazelib.generate.AldousBroder import AldousBroder
from mazelib.generate.Wilsons import Wilsons

DRAWS, MAZES = 3000, 192                                # spanning trees of a grid of 3 by 3
seen = {}
for kind in (AldousBroder, Wilsons):
    random.seed(0)
    counts = Counter(kind(3, 3).generate().tobytes() for _ in range(DRAWS))
    even = DRAWS / MAZES
    squared = (sum((count - even) ** 2 for count in counts.values()) / even
               + (MAZES - len(counts)) * even)
    seen[kind.__name__] = squared / (MAZES - 1)         # about 1, if all are equally likely
    print(f"{kind.__name__}: {len(counts)} of {MAZES} mazes, the commonest {max(counts.values())} "
          f"times, chi-squared {seen[kind.__name__]:.1f} per degree of freedom")
changed = seen["AldousBroder"] < 5 or seen["Wilsons"] > 1.5
sys.exit("what is seen has changed" if changed else 0)
END
