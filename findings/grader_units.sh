#!/bin/sh
# gem-llm 0.1.0; 2026-11-30
# Expected: the reward of a maths answer (MathEnv, boxed_reward_fn) is 1 for what equals the right
#   one, and 0 for another variable or another unit.
# Seen: a, c, h, l, o, s and t are units, and units are taken out: s + 1 is right for t + 1, (s, 2)
#   for (t, 2), h/2 for t/2. x and y are none: x + 1 is wrong for y + 1. 1 day is right for 1
#   hour, 5 s for 5 m, 18 east for 18 west, and -5/2 for -3 1/2.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q math-verify==0.9.0 latex2sympy2_extended==1.11.0 \
    sympy==1.14.0 pylatexenc==2.11 antlr4-python3-runtime==4.11.0
"$folder/venv/bin/pip" install -q --no-deps gem-llm==0.1.0      # its grader needs no more
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import importlib.metadata
import importlib.util
import sys

path = importlib.metadata.distribution("gem-llm").locate_file("gem/utils/math_grader.py")
spec = importlib.util.spec_from_file_location("math_grader", path)      # without gem's games
grader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(grader)

pairs = {("t + 1", "t + 1"): 1, ("x + 1", "y + 1"): 0, ("18", "-18"): 0,
         ("s + 1", "t + 1"): 1, ("(s, 2)", "(t, 2)"): 1, ("h/2", "t/2"): 1,
         ("\\frac{s}{2}", "\\frac{t}{2}"): 1, ("1 day", "1 hour"): 1, ("5 s", "5 m"): 1,
         ("18 east", "18 west"): 1, ("-5/2", "-3 1/2"): 1}
seen = {}
for answer, truth in pairs:
    text = "So it is \\boxed{" + answer + "}."
    seen[answer, truth] = grader.boxed_reward_fn(text, truth, fast=True)[1]
    print(f"{truth} is right: {answer} has {seen[answer, truth]:g}")
sys.exit("what is seen has changed" if seen != pairs else 0)
END
