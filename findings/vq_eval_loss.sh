#!/bin/sh
# vector-quantize-pytorch 1.32.0; 2026-11-28
# Expected: eval() leaves the codebook and its commitment loss alone, so that the loss can be
#   validated.
# Seen: in eval() the loss is exactly 0 whatever the input. With kmeans_init the first batch that
#   it sees, in eval() too, becomes the codebook.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 vector-quantize-pytorch==1.32.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from vector_quantize_pytorch import VectorQuantize

torch.manual_seed(0)
x = torch.randn(2, 64, 8)                               # (batch, length, width)
quantize = VectorQuantize(dim=8, codebook_size=16)
quantize(x)
train, validation = quantize(x)[2].item(), quantize.eval()(10 * x)[2].item()

fresh = VectorQuantize(dim=8, codebook_size=16, kmeans_init=True).eval()
before = fresh.codebook.clone()
fresh(x)
moved = not torch.equal(before, fresh.codebook)
print(f"loss in train() {train:.3f}, in eval() {validation}; eval() moved the codebook: {moved}")
changed = train < 0.1 or validation != 0 or not moved
sys.exit("what is seen has changed" if changed else 0)
END
