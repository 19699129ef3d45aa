#!/bin/sh
# diveq 0.1.3; 2026-11-28
# Expected: in eval() the output is a row of the codebook, the same each time, and the codebook
#   stays.
# Seen: eval() is not looked at: the output is a code plus new noise each time, and after 100
#   passes under no_grad unused codes are replaced. Only the method inference() is exact.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 diveq==0.1.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from diveq import DIVEQ

torch.manual_seed(0)
quantize = DIVEQ(num_embeddings=64, embedding_dim=4, verbose=False).eval()
x = torch.randn(32, 4)                                  # (vectors, width)
before = quantize.codebook.detach().clone()
with torch.no_grad():
    (first, codes, _), (second, _, _) = quantize(x), quantize(x)
    off = (first - quantize.codebook[codes]).abs().max().item()
    exact = torch.equal(quantize.inference(x)[0], quantize.codebook[codes])
    for _ in range(100):
        quantize(x)
replaced = (quantize.codebook != before).any(1).sum().item()
print(f"{off:.4f} off its code; the same twice: {torch.equal(first, second)}; rows "
      f"replaced: {replaced} of 64; inference() exact: {exact}")
changed = off == 0 or torch.equal(first, second) or replaced == 0 or not exact
sys.exit("what is seen has changed" if changed else 0)
END
