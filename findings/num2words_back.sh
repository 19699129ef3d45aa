#!/bin/sh
# num2words 0.5.14, text2num 3.1.0; 2026-11-29
# Expected: num2words keeps the sign of a number, and what it writes of a whole number text2num
#   reads back as that number.
# Seen: between -1 and 0 the minus is gone, in other languages too: -0.5 is zero point five.
#   text2num ends a number at the comma of num2words (1234 comes back as 1000, 234), so none from
#   1100 to 1999 comes back. As an amount of money 1 is one cent and 1.0 a dollar.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q num2words==0.5.14 text2num==3.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from num2words import num2words
from text_to_num import alpha2digit

signs = [num2words(-0.5), num2words(-1.5), num2words(-0.5, lang="de"), num2words(-0.5, lang="fr")]
print(*signs, sep="; ")
words = {n: num2words(n) for n in range(3, 3000)}
back = {n: alpha2digit(text, "en") for n, text in words.items()}
lost = [n for n in words if back[n] != str(n)]
bare = [n for n in words if alpha2digit(words[n].replace(",", ""), "en") != str(n)]
print(f"{words[1234]} -> {back[1234]}; of 3 to 2999, {len(lost)} do not come back, "
      f"{len(bare)} without the comma")
money = [num2words(x, to="currency", currency="USD") for x in (1, 1.0)]
print(*money, sep="; ")
changed = (signs != ["zero point five", "minus one point five", "null Komma fünf",
                     "zéro virgule cinq"]
           or back[1234] != "1000, 234" or not set(range(1100, 2000)) <= set(lost) or bare
           or money != ["zero dollars, one cent", "one dollar, zero cents"])
sys.exit("what is seen has changed" if changed else 0)
END
