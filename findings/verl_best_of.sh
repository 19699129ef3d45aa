#!/bin/sh
# verl 0.9.1; 2026-11-29
# Expected: of 8 answers to a problem, one of them right, best@8 is 1 and best@4 is 0.50, as pass@k
#   is; where 3 agree on what is right and the other 5 differ, maj@8 is 1.
# Seen: best@k and maj@k draw k of the 8 answers with replacement, also where k is 8. best@8 is
#   0.65, best@4 0.41, and maj@8 0.61.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 ray==2.49.0 omegaconf==2.3.1 \
    codetiming==1.4.0 tensordict==0.10.0 hydra-core==1.3.8 transformers==5.10.4
"$folder/venv/bin/pip" install -q --no-deps verl==0.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from verl.trainer.ppo.metric_utils import process_validation_metrics


def validated(answers, right="18"):
    """The validation metrics of one problem from its sampled answers."""
    scores = {"acc": [float(a == right) for a in answers], "pred": answers}
    sources, problems = ["gsm8k"] * len(answers), ["problem"] * len(answers)
    return process_validation_metrics(sources, problems, scores)["gsm8k"]["acc"]


once = validated(["18", "10", "11", "12", "13", "14", "15", "16"])
thrice = validated(["18", "18", "18", "10", "11", "12", "13", "14"])
seen = [round(float(value), 2) for value in
        (once["best@4/mean"], once["best@8/mean"], thrice["maj@8/mean"])]
print(f"one of 8 right: best@4 {seen[0]}, best@8 {seen[1]} ((7/8)^8 = {(7 / 8) ** 8:.2f} is left); "
      f"3 of 8 agree on the right one: maj@8 {seen[2]}")
changed = not (0.35 < seen[0] < 0.45 and 0.6 < seen[1] < 0.7 and 0.55 < seen[2] < 0.7)
sys.exit("what is seen has changed" if changed else 0)
END
