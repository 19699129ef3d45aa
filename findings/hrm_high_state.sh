#!/bin/sh
# HRM-pytorch 0.1.6, torch 2.13.0; 2026-11-29
# Expected: the high network goes on from its own state and the low network's.
# Seen: each network is handed the first states, not its own and the higher ones: the high network
#   reads the tokens and the low state, never its own. With a low network of zeros, another high
#   state changes no prediction, another token all. So in HRM and in HRM_ACT.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 HRM-pytorch==0.1.6 \
    x-transformers==2.31.10
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from HRM import HRM, HRM_ACT
from torch import nn

torch.set_grad_enabled(False)


class Zeros(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


changed = False
for kind in (HRM, HRM_ACT):
    torch.manual_seed(0)
    high = dict(dim=16, depth=1, heads=2, attn_dim_head=8)
    model = kind([Zeros(), high], dim=16, num_tokens=8, reasoning_steps=1).eval()
    tokens = torch.randint(8, (4, 10))
    low_state, state, other = torch.randn(3, 4, 10, 16)     # each (batch, length, width)
    logits = model(tokens, hiddens=[low_state, state])[0]
    by_state = (model(tokens, hiddens=[low_state, other])[0] - logits).abs().max().item()
    by_token = (model((tokens + 1) % 8, hiddens=[low_state, state])[0] - logits).abs().max().item()
    print(f"{kind.__module__}: logits move by {by_state:.2f} with another high state, "
          f"by {by_token:.2f} with other tokens")
    changed |= by_state > 1e-6 or by_token < 0.1
sys.exit("what is seen has changed" if changed else 0)
END
