#!/bin/sh
# x-transformers 2.31.10, torch 2.13.0; 2026-11-29
# Expected: the loss of a looped model is the cross entropy of its loops, weighted by the
#   probabilities of leaving at them, which sum to 1: ln 32 = 3.47 for one that deems 32 tokens
#   equally likely.
# Seen: the weighted losses are averaged over the loops once more: 0.87 with four loops, 0.43 with
#   eight, a perplexity of 2.4 and of 1.5. So the loss of the exit gate weighs that many times
#   what looped_exit_loss_weight says.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 x-transformers==2.31.10
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys

import torch
from torch import nn
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

torch.set_grad_enabled(False)


def loss_of(loops):
    """The loss of a model that deems 32 tokens equally likely; loops=None: not looped."""
    torch.manual_seed(0)
    layers = Decoder(dim=32, depth=1, heads=2, attn_dim_head=16, pre_and_post_norm=True)
    looped = {"looped": True, "max_looped_steps": loops} if loops else {}
    net = TransformerWrapper(num_tokens=32, max_seq_len=16, attn_layers=layers, **looped)
    nn.init.zeros_(net.to_logits.weight)
    model = AutoregressiveWrapper(net, looped_exit_loss_weight=0.0)
    return model(torch.randint(32, (4, 16))).item()


losses = {loops: loss_of(loops) for loops in (None, 2, 4, 8)}
for loops, loss in losses.items():
    print(f"loops {loops}: loss {loss:.2f}, perplexity {math.exp(loss):.1f}")
changed = any(abs(loss - math.log(32) / (loops or 1)) > 1e-3 for loops, loss in losses.items())
sys.exit("what is seen has changed" if changed else 0)
END
