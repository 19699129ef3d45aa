#!/bin/sh
# accelerate 1.15.0, torch 2.13.0; 2026-11-29
# Expected: where the batches of an epoch are no multiple of gradient_accumulation_steps, the last
#   update has the mean gradient of the batches that are left, as the others have of theirs.
# Seen: each loss is divided by gradient_accumulation_steps all the same: with four, the last of
#   five batches is an update by a quarter of its gradient.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

accelerator = Accelerator(gradient_accumulation_steps=4, cpu=True)
layer = nn.Linear(1, 1, bias=False)
layer, optimizer, batches = accelerator.prepare(
    layer, torch.optim.SGD(layer.parameters(), lr=0.1), DataLoader(torch.ones(5, 1), batch_size=1))
gradients = []                                          # of each update; of each batch it is 1
for batch in batches:
    with accelerator.accumulate(layer):
        accelerator.backward(layer(batch).mean())
        if accelerator.sync_gradients:
            gradients.append(layer.weight.grad.item())
        optimizer.step()
        optimizer.zero_grad()
print("gradients of the updates:", *gradients)
sys.exit("what is seen has changed" if gradients != [1, 0.25] else 0)
END
