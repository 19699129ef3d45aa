#!/bin/sh
# latex2sympy2_extended 1.11.0 with sympy 1.14.0; 2026-11-29
# Expected: 1\,000 is 1000 as 1{,}000 is, 1.5e3 is 1500 or an error, and (1,2) and (2,1) are pairs.
# Seen: 1\,000 is 1 times 000, so 0; 1.5e3 is 1.5 times Euler's e times 3; (1,2) is an open
#   interval, (2,1) a pair. None is an error.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q latex2sympy2_extended==1.11.0 sympy==1.14.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys

from latex2sympy2_extended import latex2sympy

numbers = {text: float(latex2sympy(text)) for text in (r"1{,}000", r"1\,000", "1.5e3")}
pairs = {text: latex2sympy(text) for text in ("(1,2)", "(2,1)")}
print(numbers, {text: f"{type(value).__name__} {value}" for text, value in pairs.items()})
changed = (numbers[r"1{,}000"] != 1000 or numbers[r"1\,000"] != 0
           or not math.isclose(numbers["1.5e3"], 4.5 * math.e)
           or [type(value).__name__ for value in pairs.values()] != ["Interval", "Tuple"])
sys.exit("what is seen has changed" if changed else 0)
END
