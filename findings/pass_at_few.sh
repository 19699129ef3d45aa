#!/bin/sh
# evalplus 0.3.1; 2026-11-29
# Expected: pass@10 of a problem with fewer than ten samples is nan or an error, and no more than 0
#   if all are wrong.
# Seen: estimate_pass_at_k gives 1 as soon as fewer than k samples are wrong, also where there are
#   no others: five wrong samples have a pass@10 of 1, ten wrong ones of 0. So two problems of
#   which none was solved, one of them cut short, have 0.5.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 psutil==7.2.2
"$folder/venv/bin/pip" install -q --no-deps evalplus==0.3.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from evalplus.eval import estimate_pass_at_k

samples, right = [20, 10, 5, 1], [2, 0, 0, 0]
passed = [float(rate) for rate in estimate_pass_at_k(samples, right, 10)]
for count, correct, rate in zip(samples, right, passed):
    print(f"{correct} of {count} samples right: pass@10 is {rate:.2f}")
mean = estimate_pass_at_k([10, 5], [0, 0], 10).mean().item()
print(f"mean of 0 of 10 and 0 of 5: {mean}")
changed = [round(rate, 2) for rate in passed] != [0.76, 0, 1, 1] or mean != 0.5
sys.exit("what is seen has changed" if changed else 0)
END
