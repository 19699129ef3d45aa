#!/bin/sh
# vector-quantize-pytorch 1.32.0; 2026-11-28
# Expected: finite scalar quantization of what is quantized already gives the same codes.
# Seen: with odd numbers of levels it does; one even number (the 8 of the usual 8, 5, 5, 5) and
#   about half of the vectors get another code.
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
from vector_quantize_pytorch import FSQ

x = torch.randn(1, 5000, 4, generator=torch.Generator().manual_seed(0))     # (1, vectors, width)


def kept(levels):
    quantize = FSQ(levels)
    quantized, codes = quantize(x)
    return (quantize(quantized)[1] == codes).float().mean().item()


odd, even = kept([5, 5, 5, 5]), kept([8, 5, 5, 5])
print(f"codes kept: {odd:.0%} with levels 5, 5, 5, 5 and {even:.0%} with 8, 5, 5, 5")
changed = odd < 1 or not 0.2 < even < 0.8
sys.exit("what is seen has changed" if changed else 0)
END
