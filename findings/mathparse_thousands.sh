#!/bin/sh
# mathparse 0.2.9, text2digits 0.1.2; 2026-11-29
# Expected: numbers in words have their values, and the same text has the same one each time.
# Seen: mathparse reads seven hundred sixty five thousand as 65700 and two hundred fifty thousand
#   as 50200. Two hundred thousand is 200000 in some processes and an error in others: the hashes
#   of strings, which differ from process to process, say which of hundred and thousand is first.
#   text2digits makes 1000000 of 0.5 million and of 0.25 million, and of two point five million
#   2.5000000.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mathparse==0.2.9 text2digits==0.1.2
cd "$folder"
cat > read.py <<'END'
import sys

from mathparse import mathparse

try:
    print(mathparse.parse(sys.argv[1], language="ENG"))
except mathparse.PostfixTokenEvaluationException:
    print("error")
END
"$folder/venv/bin/python" - <<'END'
import os
import subprocess
import sys

from mathparse import mathparse
from text2digits.text2digits import Text2Digits

right = mathparse.parse("two thousand three hundred", language="ENG")
wrong = [mathparse.parse(text, language="ENG")
         for text in ("seven hundred sixty five thousand", "two hundred fifty thousand")]
by_seed = [subprocess.run([sys.executable, "read.py", "two hundred thousand"], text=True,
                          capture_output=True, check=True,
                          env={**os.environ, "PYTHONHASHSEED": str(seed)}).stdout.strip()
           for seed in range(8)]
texts = ["1.5 million", "0.5 million", "0.25 million", "two point five million"]
digits = [Text2Digits().convert(text) for text in texts]
print("two thousand three hundred:", right)
print("765 and 250 thousand:", *wrong)
print("two hundred thousand, with the seeds 0 to 7 of the hashes:", *by_seed)
for text, number in zip(texts, digits):
    print(f"text2digits of {text} is {number}")
changed = (right != 2300 or wrong != [65700, 50200] or set(by_seed) != {"200000", "error"}
           or digits != ["1500000", "1000000", "1000000", "2.5000000"])
sys.exit("what is seen has changed" if changed else 0)
END
