#!/bin/sh
# coconut-pytorch 0.0.32; 2026-11-28
# Expected: greedy generate() writes the answer that forward() finds likeliest, and a prompt's
#   answer does not depend on the longer prompt beside it.
# Seen: only the first token agrees: generate() never adds its own tokens to the cache. And the
#   logits of a shorter prompt change when it is padded, as attention does not get the mask.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 coconut-pytorch==0.0.32 \
    x-transformers==2.31.10 hyper-connections==0.4.11 rotary-embedding-torch==0.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from coconut_pytorch import Coconut

torch.manual_seed(0)
model = Coconut(num_reasoning_steps=3, transformer=dict(num_tokens=50, dim=64, depth=2)).eval()
for p in model.parameters():
    if p.ndim == 2:
        torch.nn.init.normal_(p, std=0.3)               # an untrained one would repeat itself
greedy = lambda logits: logits.masked_fill(logits < logits.amax(-1, keepdim=True), float("-inf"))

prompt = torch.randint(1, 50, (64, 10))                 # (problems, length)
written = model.generate(prompt, max_length=6, filter_fn=greedy)
likeliest = model(prompt, written, return_loss=False)[2].argmax(-1)
agree = (written == likeliest).float().mean(0).tolist()

answer = torch.randint(1, 50, (2, 4))
padded = model([prompt[0, :6], prompt[1]], answer, return_loss=False)[2][:1]
alone = model(prompt[:1, :6], answer[:1], return_loss=False)[2]
off = (padded - alone).abs().max().item()
print("tokens that agree, by position:", [f"{a:.0%}" for a in agree],
      f"padding moves a logit by {off:.1f}")
changed = agree[0] < 1 or max(agree[1:]) > 0.8 or off < 0.5
sys.exit("what is seen has changed" if changed else 0)
END
