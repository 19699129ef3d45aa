#!/bin/sh
# pylatexenc 2.11, mathruler 0.1.0; 2026-11-29
# Expected: a formula that latex2text has made into text is read as the same number.
# Seen: it writes no brackets where LaTeX has braces: \frac{1+2}{3} is 1+2/3, 3\frac{1}{2} is 31/2,
#   10^{12}3 is 10^123; \dfrac{3}{4} is 34. mathruler reads answers by it: for \frac{1+2}{3}, 5/3 is
#   right and 1 is wrong, and for the golden ratio \frac{1+\sqrt{5}}{2}, 1+\frac{\sqrt{5}}{2} is
#   right.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pylatexenc==2.11 mathruler==0.1.0 sympy==1.14.0 \
    tqdm==4.70.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from mathruler.grader import grade_answer
from pylatexenc.latex2text import LatexNodes2Text

formulas = [r"\frac{1+2}{3}", r"3\frac{1}{2}", "10^{12}3", r"\dfrac{3}{4}"]
texts = [LatexNodes2Text().latex_to_text(formula) for formula in formulas]
for formula, text in zip(formulas, texts):
    print(formula, "->", text)

golden = r"\frac{1+\sqrt{5}}{2}"                        # 1.62
pairs = [("5/3", r"\frac{1+2}{3}"), ("1", r"\frac{1+2}{3}"),
         (r"1+\frac{\sqrt{5}}{2}", golden)]             # the last is 2.12
judged = [grade_answer(answer, right) for answer, right in pairs]
for (answer, right), verdict in zip(pairs, judged):
    print(f"mathruler: {answer} for {right} is {'right' if verdict else 'wrong'}")
changed = texts != ["1+2/3", "31/2", "10^123", "34"] or judged != [True, False, True]
sys.exit("what is seen has changed" if changed else 0)
END
