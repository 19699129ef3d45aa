#!/bin/sh
# mathruler 0.1.0; 2026-11-29
# Expected: -3 1/2 is -3.5, and 5 million is 5000000; 3 minutes are not 3 hours.
# Seen: a mixed number becomes a sum whatever its sign, -3 + 1/2, so -2.5 is right for -3 1/2 and
#   -3.5 is wrong. 5 million and 5000000 are wrong for each other. Units are struck out: 3 hours is
#   right for 3 minutes, and 60 minutes wrong for 1 hour.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mathruler==0.1.0 sympy==1.14.0 pylatexenc==2.11 \
    tqdm==4.70.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from mathruler.grader import grade_answer

SEEN = {("3.5", "3 1/2"): True, ("-3.5", "-3 1/2"): False, ("-2.5", "-3 1/2"): True,
        ("-3.5", r"-3\frac{1}{2}"): False, ("-2.5", r"-3\frac{1}{2}"): True,
        ("5,000,000", "5000000"): True, ("5 million", "5000000"): False,
        ("5000000", "5 million"): False, ("3 hours", "3 minutes"): True,
        ("60 minutes", "1 hour"): False}

changed = False
for (answer, solution), seen in SEEN.items():
    right = grade_answer(answer, solution)
    print(f"{answer} for {solution}: {'right' if right else 'wrong'}")
    changed |= right != seen
sys.exit("what is seen has changed" if changed else 0)
END
