#!/bin/sh
# rliable 1.2.0; 2026-11-28
# Expected: the interquartile mean of three runs of one task leaves out the best and the worst: it
#   is the middle one.
# Seen: a quarter of three runs is rounded down to none: it is the plain mean. From four runs on
#   the ends are left out.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 rliable==1.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import numpy as np
from rliable.metrics import aggregate_iqm

three = np.array([[0.0], [0.1], [1.0]])                 # (runs, tasks)
four = np.array([[0.0], [0.1], [0.2], [1.0]])
iqm = [float(aggregate_iqm(three)), float(aggregate_iqm(four))]
print(f"three runs {iqm[0]:.3f} (mean {three.mean():.3f}, middle 0.1), four runs {iqm[1]:.3f}")
changed = abs(iqm[0] - three.mean()) > 1e-9 or abs(iqm[1] - 0.15) > 1e-9
sys.exit("what is seen has changed" if changed else 0)
END
