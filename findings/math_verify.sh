#!/bin/sh
# math-verify 0.9.0; 2026-11-28
# Expected: -$5 is read as -5, 1e3 as 1000, 3 1/2 as 3.5, and 50 is no right answer to 50%.
# Seen: nothing is read from -$5, 1 from both 1e3 and 3 1/2, and 50 is right for 50% (so is 0.5).
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q math-verify==0.9.0 latex2sympy2_extended==1.11.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import logging
import sys

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
read = {text: [str(value) for value in parse(text)[:1]]
        for text in ("-$5", "1e3", "3 1/2", "$1,234.50")}      # the last one is read rightly
percent = [verify(parse("50%"), parse(text)) for text in ("0.5", "50")]
print(read, percent)
changed = (read["-$5"] != [] or read["1e3"] != ["1"] or read["3 1/2"] != ["1"]
           or float(read["$1,234.50"][0]) != 1234.5 or percent != [True, True])
sys.exit("what is seen has changed" if changed else 0)
END
