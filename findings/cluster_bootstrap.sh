#!/bin/sh
# confidence-intervals 0.0.3; 2026-11-29
# Expected: given conditions (here the problem that each answer is to), the bootstrap draws problems
#   and then answers within each, so 100 problems with one right and one wrong answer each give
#   about 0.43 to 0.57.
# Seen: one seed draws the same places in every problem. With the right answer first, a resample is
#   right on all, half or none of it, and the interval is 0 to 1. A problem drawn twice also
#   brings the same answers twice.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 confidence-intervals==0.0.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import numpy as np
from confidence_intervals import evaluate_with_conf_int
from confidence_intervals.confidence_intervals import get_bootstrap_indices

PROBLEMS = 100
first = np.tile([1.0, 0.0], PROBLEMS)                   # (200,), the right answer first
mixed = np.random.default_rng(0).permuted(first.reshape(PROBLEMS, 2), axis=1).ravel()
problem = np.repeat(np.arange(PROBLEMS), 2)             # (200,), whose answer each is

by_hand = np.random.default_rng(0)
drawn = first.reshape(PROBLEMS, 2)[by_hand.integers(PROBLEMS, size=(1000, PROBLEMS))]
drawn = np.take_along_axis(drawn, by_hand.integers(2, size=drawn.shape), axis=2)
expected = np.percentile(drawn.mean((1, 2)), [2.5, 97.5])

plain = evaluate_with_conf_int(first, np.mean)[1]
seen = [evaluate_with_conf_int(answers, np.mean, conditions=problem)[1]
        for answers in (first, mixed)]
places = [set(get_bootstrap_indices(2 * PROBLEMS, problem, random_state=seed) % 2)
          for seed in range(100)]                       # 0 for the first answer, 1 for the second
alone = sum(len(p) == 1 for p in places) / len(places)
for name, (low, high) in (("by hand", expected), ("answers as if of one problem", plain),
                          ("right answer first", seen[0]), ("in random order", seen[1])):
    print(f"{name}: {low:.2f} to {high:.2f}")
print(f"{alone:.0%} of the resamples hold only first or only second answers")
changed = tuple(seen[0]) != (0, 1) or alone < 0.3
sys.exit("what is seen has changed" if changed else 0)
END
