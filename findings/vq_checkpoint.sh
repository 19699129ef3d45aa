#!/bin/sh
# vector-quantize-pytorch 1.32.0 with torch 2.13.0; 2026-11-28
# Expected: torch.utils.checkpoint changes the memory of a step, not its gradient and not its
#   codebook.
# Seen: the moving average of the codebook moves in the forward pass, so recomputing it moves it
#   twice and finds other codes: other gradient, other codebook, no error.
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
from torch.utils.checkpoint import checkpoint
from vector_quantize_pytorch import VectorQuantize

data = torch.randn(2, 64, 8, generator=torch.Generator().manual_seed(0))    # (batch, length, width)


def step(saved):
    torch.manual_seed(0)
    quantize = VectorQuantize(dim=8, codebook_size=16)
    x = data.clone().requires_grad_()
    f = lambda x: quantize(x)[0].square().sum()
    (checkpoint(f, x, use_reentrant=False) if saved else f(x)).backward()
    return x.grad, quantize.codebook.clone()


(gradient, codebook), again, (gradient_c, codebook_c) = step(False), step(False), step(True)
repeats = torch.equal(gradient, again[0])
print(f"largest difference: gradient {(gradient - gradient_c).abs().max():.2f}, codebook "
      f"{(codebook - codebook_c).abs().max():.2f}; without checkpoint it repeats: {repeats}")
changed = (not repeats or torch.allclose(gradient, gradient_c)
           or torch.allclose(codebook, codebook_c))
sys.exit("what is seen has changed" if changed else 0)
END
