#!/bin/sh
# torchmetrics 1.9.0, torch 2.13.0; 2026-11-29
# Expected: BootStrapper's standard error of an accuracy depends on the answers, not on the batches
#   in which they come: 0.05 for 50 of 100 right.
# Seen: so with poisson, its default. multinomial draws within each batch: 0 for batches of one
#   answer, 0.035 for batches of two, 0.05 for all at once.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from torchmetrics.classification import BinaryAccuracy
from torchmetrics.wrappers import BootStrapper

SIZES = 1, 2, 100
torch.manual_seed(0)
given = torch.arange(100) % 2                           # every second answer is right
given = given[torch.randperm(100)]
right = torch.ones(100, dtype=torch.long)

errors = {}
for strategy in ("poisson", "multinomial"):
    for size in SIZES:
        metric = BootStrapper(BinaryAccuracy(), num_bootstraps=400, sampling_strategy=strategy)
        for batch, labels in zip(given.split(size), right.split(size)):
            metric.update(batch, labels)
        errors[strategy, size] = metric.compute()["std"].item()
    print(f"{strategy}: " + ", ".join(f"{errors[strategy, size]:.3f} in batches of {size}"
                                      for size in SIZES))
changed = (any(not 0.04 < errors["poisson", size] < 0.06 for size in SIZES)
           or errors["multinomial", 1] > 1e-6 or errors["multinomial", 2] > 0.043
           or errors["multinomial", 100] < 0.04)
sys.exit("what is seen has changed" if changed else 0)
END
