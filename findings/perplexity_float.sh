#!/bin/sh
# torchmetrics 1.9.0 with torch 2.13.0; 2026-11-29
# Expected: Perplexity is the exponential of the mean cross entropy.
# Seen: it takes the logarithm of a softmax: one token of a hundred whose logit is 120 below the
#   best makes it infinite, and not 3.3; for float16 logits 18 below is enough.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys

import torch
from torch.nn.functional import cross_entropy
from torchmetrics.text import Perplexity


def both(gap, dtype):
    """Perplexity of torchmetrics and of the cross entropy, both of the same logits."""
    logits = torch.zeros(1, 100, 2, dtype=dtype)        # (batch, length, vocabulary)
    logits[..., 0] = gap
    targets = torch.zeros(1, 100, dtype=torch.long)
    targets[0, 0] = 1                                   # one token that is very unlikely
    metric = Perplexity()
    metric.update(logits, targets)
    return metric.compute().item(), cross_entropy(logits[0].float(), targets[0]).exp().item()


seen = {(gap, dtype): both(gap, dtype)
        for gap, dtype in ((80, torch.float32), (120, torch.float32), (18, torch.float16))}
for (gap, dtype), (metric, entropy) in seen.items():
    print(f"{gap} below, {dtype}: Perplexity {metric:.3f}, cross entropy's {entropy:.3f}")
metrics = [metric for metric, _ in seen.values()]
changed = abs(metrics[0] - math.exp(0.8)) > 1e-3 or metrics[1:] != [math.inf, math.inf]
sys.exit("what is seen has changed" if changed else 0)
END
