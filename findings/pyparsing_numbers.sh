#!/bin/sh
# pyparsing 3.3.3; 2026-11-29
# Expected: mixed_integer of pyparsing_common reads -3 1/2 as -3.5, and fnumber (any number, as a
#   float) finds in a text the numbers that number finds.
# Seen: the fraction is added whatever the sign: -3 1/2 is -2.5 and -1 3/4 is -0.25. fnumber finds
#   5.0 in .5 and in -.5. In both, 10-3 is 10 and -3.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyparsing==3.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from pyparsing import pyparsing_common as common

mixed = {text: common.mixed_integer.parse_string(text, parse_all=True)[0]
         for text in ("3 1/2", "-3 1/2", "-1 3/4")}
found = {text: [[float(match[0]) for match in kind.search_string(text)]
                for kind in (common.number, common.fnumber)]
         for text in ("-0.5", ".5", "-.5", "10-3")}
for text, number in mixed.items():
    print(f"mixed_integer of {text} is {number}")
for text, (numbers, floats) in found.items():
    print(f"{text}: number finds {numbers}, fnumber {floats}")
changed = (list(mixed.values()) != [3.5, -2.5, -0.25]
           or list(found.values()) != [[[-0.5], [-0.5]], [[0.5], [5]], [[-0.5], [5]],
                                       [[10, -3], [10, -3]]])
sys.exit("what is seen has changed" if changed else 0)
END
