#!/bin/sh
# baycomp 1.0.3; 2026-11-29
# Expected: the Bayesian signed-rank test (two_on_multiple) of two models with the same scores says
#   one half for each, and one better score in twelve, the others equal, changes that a little.
# Seen: with no region of equivalence (rope=0, the default), one better score in twelve, by however
#   little, gives the second 1.0. Of equal scores, rounding decides (0.72 and 0.28 here), and the
#   sign test is nan. With a rope both are ties.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 baycomp==1.0.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys
import warnings

import baycomp
import numpy as np

warnings.simplefilter("ignore")                         # the sign test divides by zero
first = np.array([0.5, 0.6, 0.7, 0.8] * 3)              # a score on each of twelve tasks
better = first.copy()
better[0] += 0.001

equal = baycomp.two_on_multiple(first, first)
one = baycomp.two_on_multiple(first, better)
roped = baycomp.two_on_multiple(first, better, rope=0.01)
sign = baycomp.SignTest.probs(first, first)
print("equal scores: first better, equal, second better:", *(f"{p:.2f}" for p in equal))
print("one score better by 0.001:", *(f"{p:.2f}" for p in one))
print("the same with a rope of 0.01:", *(f"{p:.2f}" for p in roped))
print("sign test of equal scores:", *sign)
changed = one[2] != 1 or roped[1] != 1 or not math.isnan(sign[0])
sys.exit("what is seen has changed" if changed else 0)
END
