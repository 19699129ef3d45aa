#!/bin/sh
# dspy 3.4.1; 2026-11-29
# Expected: gsm8k_metric compares the last numbers of the two answers.
# Seen: it compares their digits up to a point, in the first line: -18, 18.75 and 18% are right for
#   18, and 1.8e1 is 1. An answer that comes to 18 in its last line is read in its first, or as 0.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tqdm==4.70.1
"$folder/venv/bin/pip" install -q --no-deps dspy==3.4.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import importlib.util
import pathlib
import sys
from types import SimpleNamespace

package = pathlib.Path(importlib.util.find_spec("dspy").origin).parent
spec = importlib.util.spec_from_file_location("gsm8k", package / "datasets" / "gsm8k.py")
gsm8k = importlib.util.module_from_spec(spec)          # this file alone: dspy needs much
spec.loader.exec_module(gsm8k)

SEEN = {"so it is 18": (18, 1), "$18": (18, 1), "-18": (18, 1), "18.75": (18, 1), "18%": (18, 1),
        "1.8e1": (1, 0), "16 - 3 - 4 = 9\n9 * 2 = 18": (9, 0),
        "First, her eggs.\nSo it is 18": (0, 0)}

changed = False
for answer, seen in SEEN.items():
    taken = gsm8k.parse_integer_answer(answer)
    right = gsm8k.gsm8k_metric(SimpleNamespace(answer="18"), SimpleNamespace(answer=answer))
    print(f"{answer!r} is read as {taken}: {'right' if right else 'wrong'} for 18")
    changed |= (taken, right) != seen
sys.exit("what is seen has changed" if changed else 0)
END
