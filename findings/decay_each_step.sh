#!/bin/sh
# grokfast-pytorch 0.0.11, adam-atan2-pytorch 0.4.1, lion-pytorch 0.2.5, torch 2.13.0; 2026-11-29
# Expected: weight decay takes the learning rate times the decay of a weight each step, as in
#   torch's AdamW.
# Seen: GrokFastAdamW and AdoptAtan2 take the decay itself, whatever the learning rate: with the
#   1e-2 of GrokFastAdamW's own example, a weight without gradients is down to 37% after a
#   hundred steps. AdamAtan2, of the same package as AdoptAtan2, and Lion do as AdamW.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 grokfast-pytorch==0.0.11 \
    adam-atan2-pytorch==0.4.1 lion-pytorch==0.2.5
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from adam_atan2_pytorch import AdamAtan2, AdoptAtan2
from grokfast_pytorch import GrokFastAdamW
from lion_pytorch import Lion

AS_ADAMW = torch.optim.AdamW, AdamAtan2, Lion
OTHERS = GrokFastAdamW, AdoptAtan2

changed = False
for kind in AS_ADAMW + OTHERS:
    left = []
    for lr in (1e-3, 1e-4):
        weight = torch.nn.Parameter(torch.ones(4, 4))
        optimizer = kind([weight], lr=lr, weight_decay=0.01)
        for _ in range(100):
            weight.grad = torch.zeros(4, 4)
            optimizer.step()
        left.append(weight.mean().item())
    print(f"{kind.__name__}: {left[0]:.4f} is left at a learning rate of 1e-3, "
          f"{left[1]:.4f} at 1e-4")
    changed |= min(left) < 0.99 if kind in AS_ADAMW else max(left) > 0.4
sys.exit("what is seen has changed" if changed else 0)
END
