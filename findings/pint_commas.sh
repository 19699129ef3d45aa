#!/bin/sh
# pint 0.25.3; 2026-11-29
# Expected: "1,5 km" is 1.5 km or an error, "1 000 m" 1000 m or an error, and "3 1/2 hours" 3.5
#   hours or an error.
# Seen: commas are taken out and spaces between numbers multiply: 15 km, 0 m and 1.5 hours. Two
#   units in a row multiply, too: "3 hours 20 minutes" is 60 hour * minute, so 3600 minutes squared.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pint==0.25.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import pint

units = pint.UnitRegistry()
texts = ["1,000 m", "1,5 km", "1 000 m", "3 1/2 hours", "3 hours 20 minutes"]
read = [str(units(text)) for text in texts]
for text, quantity in zip(texts, read):
    print(text, "->", quantity)
changed = read != ["1000 meter", "15 kilometer", "0 meter", "1.5 hour", "60 hour * minute"]
sys.exit("what is seen has changed" if changed else 0)
END
