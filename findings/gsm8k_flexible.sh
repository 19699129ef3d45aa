#!/bin/sh
# lm-eval 0.4.13; 2026-11-29
# Expected: gsm8k's filter flexible-extract takes the last number of an answer, strict-match the one
#   after ####, with a dollar sign or without.
# Seen: flexible-extract also takes dots for a number ("18, and so on..." is ...) and a minus for a
#   sign (6 = 24-18 is -18). strict-match finds nothing in #### $18, which flexible-extract reads.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lm-eval==0.4.13
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import pathlib
import sys

import lm_eval
import yaml
from lm_eval.api.metrics import exact_match_fn
from lm_eval.filters.extraction import RegexFilter

folder = pathlib.Path(lm_eval.__file__).parent
task = yaml.safe_load((folder / "tasks/gsm8k/gsm8k.yaml").read_text())
(metric,), filters = task["metric_list"], {}
for row in task["filter_list"]:
    options = {k: v for k, v in row["filter"][0].items() if k != "function"}
    filters[row["name"]] = RegexFilter(**options)


def judged(text, name, right):
    """What a filter takes from a model's text, and whether that counts as right."""
    (taken,), = filters[name].apply([[text]], [{}])
    score = exact_match_fn(predictions=[taken], references=[f"#### {right}"],
                           ignore_case=metric["ignore_case"],
                           regexes_to_ignore=metric["regexes_to_ignore"])["exact_match"]
    return taken, bool(score)


seen = [judged(*case) for case in (("It is 18.", "flexible-extract", 18),
                                   ("It is 18, and so on...", "flexible-extract", 18),
                                   ("6 = 24-18", "flexible-extract", 18),
                                   ("#### $18", "flexible-extract", 18),
                                   ("#### $18", "strict-match", 18))]
print(*seen)
changed = seen != [("18.", True), ("...", False), ("-18", False), ("$18", True),
                   ("[invalid]", False)]
sys.exit("what is seen has changed" if changed else 0)
END
