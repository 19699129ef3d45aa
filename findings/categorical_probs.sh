#!/bin/sh
# torch 2.13.0; 2026-11-28
# Expected: the log-probability of an action that has probability 0 is -inf.
# Seen: it is for Categorical(logits=...); for Categorical(probs=...) it is -15.9 in float32 and
#   -36.0 in float64: probabilities are cut off at the dtype's epsilon.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from torch.distributions import Categorical

zero = torch.tensor(1)                                  # the action that cannot be
logits = Categorical(logits=torch.tensor([0.0, float("-inf")])).log_prob(zero).item()
probs = [Categorical(probs=torch.tensor([1.0, 0.0], dtype=dtype)).log_prob(zero).item()
         for dtype in (torch.float32, torch.float64)]
print(f"logits {logits}, probs {probs[0]:.2f} and {probs[1]:.2f}")
changed = logits != float("-inf") or [round(p, 1) for p in probs] != [-15.9, -36.0]
sys.exit("what is seen has changed" if changed else 0)
END
