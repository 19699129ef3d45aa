#!/bin/sh
# mathgenerator 1.5.0; 2026-11-29
# Expected: each problem says what is needed, and its solution is right.
# Seen: a harmonic mean has the last number where the count of numbers should be (of 98, 54 and 6
#   it is 31, not 15), the standard deviation and the variance change places, and 10x^2 is
#   integrated to 10/2 x^3. The number to be written in Roman numerals is always said to be 0, the
#   one in octal {x}.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mathgenerator==1.5.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import random
import re
import statistics
import sys

import mathgenerator

KINDS = {row[3]: row[0] for row in mathgenerator.genList}
NUMBER = r"-?\d+(?:\.\d+)?"
random.seed(0)


def numbers(text):
    return [float(number) for number in re.findall(NUMBER, text)]


def mean_right(problem, solution):
    return abs(statistics.harmonic_mean(numbers(problem)[1:]) - numbers(solution)[0]) < 0.01


def deviation_right(problem, solution):
    return abs(statistics.pstdev(numbers(problem)) - numbers(solution)[1]) < 0.01


def integral_right(problem, solution):
    """Whether each term is divided by its new power."""
    terms = re.findall(r"\\frac\{\d+\}\{(\d+)\}x\^\{(\d+)\}", solution)
    return bool(terms) and all(divisor == power for divisor, power in terms)


def number_told(problem, solution):
    return bool(re.search("[1-9]", problem))


CHECKS = {"harmonic_mean": mean_right, "data_summary": deviation_right,
          "power_rule_integration": integral_right, "decimal_to_roman_numerals": number_told,
          "decimal_to_octal": number_told}

changed = False
for kind, check in CHECKS.items():
    problems = [mathgenerator.genById(KINDS[kind]) for _ in range(20)]
    right = sum(check(*problem) for problem in problems)
    problem, solution = problems[0]
    print(f"{kind}: {right} of 20 as they should be. {problem} {solution}")
    changed |= right > 5
sys.exit("what is seen has changed" if changed else 0)
END
