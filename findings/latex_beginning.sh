#!/bin/sh
# sympy 1.14.0, lm-eval 0.4.13; 2026-11-29
# Expected: parse_latex reads a text as a whole, or it is an error; minerva_math's exact_match asks
#   for the same answer.
# Seen: parse_latex reads the beginning that it understands: "18." and "1{,}000" are 1, "0,5" is 0,
#   "18, 20" is 18. It is an error with strict=True only. So in minerva_math 18 is right for 18, 20
#   and the reverse, and 2,4 for 2,3. Words are products of letters: seat is right for east. (Its
#   math_verify says no to each of these.)
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q sympy==1.14.0 antlr4-python3-runtime==4.11.1 math-verify==0.9.0
"$folder/venv/bin/pip" install -q --no-deps lm-eval==0.4.13
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import distribution
from runpy import run_path

from sympy.parsing.latex import LaTeXParsingError, parse_latex


def refused(text):
    """Whether the strict parser refuses a text."""
    try:
        parse_latex(text, strict=True)
    except LaTeXParsingError:
        return True
    return False


texts = ["18.", "1{,}000", "0,5", "18, 20"]
read = [str(parse_latex(text)) for text in texts]
strict = [refused(text) for text in texts]
for text, number, no in zip(texts, read, strict):
    print(text, "is read as", number, "and refused if strict" if no else "")

# the task's own file: lm-eval asks for some thirty packages, torch among them
task = run_path(str(distribution("lm-eval").locate_file("lm_eval/tasks/minerva_math/utils.py")))
scores = []
for right, answer in (("18, 20", "18"), ("18", "18, 20"), ("2,3", "2,4"),
                      (r"\text{east}", r"\text{seat}")):
    doc = {"solution": rf"\boxed{{{right}}}", "answer": task["normalize_final_answer"](right)}
    text = f"Final Answer: The final answer is ${answer}$. I hope it is correct."
    score = task["process_results"](doc, [text])
    scores.append((score["exact_match"], score["math_verify"]))
    print(f"minerva_math: {answer} for {right}: {score}")
changed = (read != ["1", "1", "0", "18"] or not all(strict) or scores != [(1, 0)] * 4)
sys.exit("what is seen has changed" if changed else 0)
END
