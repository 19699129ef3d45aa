#!/bin/sh
# x-transformers 2.31.10, torch 2.13.0; 2026-11-29
# Expected: generate() at its temperature of 1 samples from the model's distribution.
# Seen: by default it keeps the likeliest tenth of the tokens (top_k without a k). Of a vocabulary
#   of ten, as for digits, that is one: every sample is the same, and greedy. With
#   filter_logits_fn of the identity the samples are the model's.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 x-transformers==2.31.10
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

torch.manual_seed(0)
net = TransformerWrapper(num_tokens=10, max_seq_len=8,
                         attn_layers=Decoder(dim=16, depth=1, heads=2, use_rmsnorm=True))
model = AutoregressiveWrapper(net).eval()
prompts = torch.zeros(1000, 1, dtype=torch.long)
with torch.no_grad():
    right = net(prompts[:1])[0, -1].softmax(-1)         # (tokens)


def frequencies(**options):
    """How often each token is sampled after the prompt."""
    return model.generate(prompts, 1, **options).flatten().bincount(minlength=10) / len(prompts)


usual, whole = frequencies(), frequencies(filter_logits_fn=lambda logits: logits)
for name, rates in (("model", right), ("generate", usual), ("without filter", whole)):
    print(f"{name:14}", *(f"{rate:.2f}" for rate in rates))
changed = (usual.max().item() < 1 or right.max().item() > 0.5
           or (whole - right).abs().max().item() > 0.1)
sys.exit("what is seen has changed" if changed else 0)
END
