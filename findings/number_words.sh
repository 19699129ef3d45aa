#!/bin/sh
# word2number 1.1, text2num 3.1.0, number-parser 0.3.2, numerizer 0.2.4; 2026-11-28
# Expected: 2 million is two million to all four, and what word2number cannot read (two or three,
#   two dozen, one half) is an error.
# Seen: only numerizer reads 2 million; word2number says 1000000 for it, 5 for two or three, 2 for
#   two dozen and 1 for one half. number-parser makes a third of 12 into a 3 of 12.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q word2number==1.1 text2num==3.1.0 number-parser==0.3.2 \
    numerizer==0.2.4
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from number_parser import parse
from numerizer import numerize
from text_to_num import alpha2digit
from word2number import w2n

million = [w2n.word_to_num("2 million"), alpha2digit("2 million", "en"), parse("2 million"),
           numerize("2 million")]
words = {text: w2n.word_to_num(text) for text in ("two or three", "two dozen", "one half")}
third = parse("a third of 12")
print(million, words, third)
changed = (million != [1000000, "2 1000000", "2 1000000", "2000000"]
           or list(words.values()) != [5, 2, 1] or third != "a 3 of 12")
sys.exit("what is seen has changed" if changed else 0)
END
