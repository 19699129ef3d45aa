#!/bin/sh
# datasets 5.2.0 with pyarrow 26.0.1; 2026-11-28
# Expected: an answer that is text in a jsonl file stays text, or loading says that the types
#   differ.
# Seen: beside one number, text that reads as JSON becomes what it reads as: 007 becomes 7, null
#   becomes None. A column of dates as text becomes datetimes.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/venv/bin/python" - <<'END'
import datetime
import json
import sys

import datasets

datasets.disable_progress_bars()


def load(*answers):
    with open("file.jsonl", "w") as file:
        file.writelines(json.dumps({"answer": answer}) + "\n" for answer in answers)
    return list(datasets.load_dataset("json", data_files="file.jsonl", split="train",
                                      cache_dir=f"cache{len(answers)}")["answer"])


text = load("18", "007")                                # no number beside them: text, as expected
mixed = load(5, "18", "007", "1e3", "null", "1,000")
dates = load("2024-03-05")
print(text, mixed, dates)
changed = (text != ["18", "007"] or mixed != [5, 18, 7, 1000.0, None, "1,000"]
           or dates != [datetime.datetime(2024, 3, 5)])
sys.exit("what is seen has changed" if changed else 0)
END
