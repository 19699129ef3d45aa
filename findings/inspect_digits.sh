#!/bin/sh
# inspect_ai 0.3.285; 2026-11-29
# Expected: match(numeric=True) is right for the same number alone, and takes the last number of an
#   answer.
# Seen: numbers are compared by five significant digits: 123457 is right for 123456, and 9.99999
#   for 10. A word with more than a number in it is passed over: "It rose from 10 to 42%." is 10,
#   "Step 3: x=18" is 3. A comma between two numbers joins them: (3,4) is 34.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q inspect_ai==0.3.285
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import asyncio
import sys

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Target, match
from inspect_ai.solver import TaskState

SEEN = {("It is $1,800.", "1800"): ("C", "1800"), ("123457", "123456"): ("C", "1.2346e+05"),
        ("9.99999", "10"): ("C", "10"), ("It rose from 10 to 42%.", "42"): ("I", "10"),
        ("Step 3: x=18", "18"): ("I", "3"), ("(3,4)", "34"): ("C", "34")}

changed = False
for (text, target), seen in SEEN.items():
    state = TaskState(model="none/none", sample_id=1, epoch=1, input="", messages=[],
                      output=ModelOutput.from_content("none", text))
    score = asyncio.run(match(numeric=True)(state, Target(target)))
    print(f"{text} for {target}: {score.answer}, {'right' if score.value == 'C' else 'wrong'}")
    changed |= (score.value, score.answer) != seen
sys.exit("what is seen has changed" if changed else 0)
END
