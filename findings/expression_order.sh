#!/bin/sh
# py-expression-eval 0.3.14; 2026-11-29
# Expected: operators bind as in Python and in mathematics: 2*7%4 is 2, 100*5%3 is 2, 2^3^2 is 512.
# Seen: % binds more tightly than *, and powers are taken from the left: 6, 200 and 64, without a
#   word. As a model's calculator, or as what checks its sums, it is wrong.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q py-expression-eval==0.3.14
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from py_expression_eval import Parser

sums = {"2*7%4": 2 * 7 % 4, "100*5%3": 100 * 5 % 3, "2^3^2": 2**3**2}
seen = [Parser().parse(text).evaluate({}) for text in sums]
for (text, right), value in zip(sums.items(), seen):
    print(f"{text}: {value} instead of {right}")
changed = seen != [6, 200, 64]
sys.exit("what is seen has changed" if changed else 0)
END
