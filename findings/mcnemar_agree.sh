#!/bin/sh
# statsmodels 0.15.0, mlxtend 0.23.4; 2026-11-29
# Expected: McNemar's test of two models that are right on the same problems finds no difference
#   (p = 1, or nan), and the p of two accuracies does not depend on which is named first.
# Seen: with its correction, which is mlxtend's default and that of statsmodels with exact=False,
#   McNemar's chi-squared is infinite and p is 0; where five problems speak for each model, p is
#   0.75. The exact test says 1. mlxtend's proportion_difference is one-sided without a word: 0.5
#   against 0.6 has p 0.08, 0.6 against 0.5 has 0.92, and a tie has 0.5.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 statsmodels==0.15.0 mlxtend==0.23.4
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
import warnings

import numpy as np
from mlxtend import evaluate
from statsmodels.stats.contingency_tables import mcnemar

warnings.simplefilter("ignore")                         # both divide by zero, and say so
TABLES = {"the same": np.array([[50, 0], [0, 50]]),     # [[both right, first], [second, neither]]
          "five each": np.array([[50, 5], [5, 50]])}

seen = {}
for name, table in TABLES.items():
    seen[name] = [float(p) for p in (evaluate.mcnemar(table)[1],
                                     mcnemar(table, exact=False).pvalue,
                                     evaluate.mcnemar(table, exact=True)[1],
                                     mcnemar(table).pvalue)]
    print(f"{name}: p = {seen[name][0]:.2f} (mlxtend), {seen[name][1]:.2f} (statsmodels), "
          f"exact {seen[name][2]:.2f} and {seen[name][3]:.2f}")
PAIRS = (0.5, 0.6), (0.6, 0.5), (0.5, 0.5)
sided = [round(float(evaluate.proportion_difference(*pair, 100)[1]), 2) for pair in PAIRS]
print(f"proportion_difference of {PAIRS}, 100 problems each: p = {sided}")
changed = (seen["the same"] != [0, 0, 1, 1] or sided != [0.08, 0.92, 0.5]
           or [round(p, 2) for p in seen["five each"]] != [0.75, 0.75, 1, 1])
sys.exit("what is seen has changed" if changed else 0)
END
