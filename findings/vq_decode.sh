#!/bin/sh
# vector-quantize-pytorch 1.32.0, torch 2.13.0; 2026-11-29
# Expected: in eval() get_output_from_indices makes of the indices what forward gave with them, and
#   a vector's output does not depend on the others in its batch.
# Seen: so in VectorQuantize and ResidualLFQ. With affine_param=True the indices are looked up in
#   the codebook before its affine map, 90% away, and the map is of each batch's own mean and
#   variance, in eval() too. With spherical=True, ResidualLFQ adds up codes of another length.
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
from vector_quantize_pytorch import ResidualLFQ, VectorQuantize


@torch.no_grad()
def errors(quantizer):
    """Relative error of decoding, and whether a vector has another output alone."""
    torch.manual_seed(0)
    quantizer.train()(torch.randn(1, 1000, 8))
    quantizer.eval()
    vectors = torch.randn(1, 50, 8)                     # (batch, length, width)
    output, indices, _ = quantizer(vectors)
    decoded = quantizer.get_output_from_indices(indices)
    alone = quantizer(vectors[:, :1])[0]
    return (((decoded - output).norm() / output.norm()).item(),
            (alone - output[:, :1]).abs().max().item() > 1e-3)


seen = [errors(VectorQuantize(dim=8, codebook_size=32)),
        errors(VectorQuantize(dim=8, codebook_size=32, affine_param=True)),
        errors(ResidualLFQ(dim=8, codebook_size=256, num_quantizers=3)),
        errors(ResidualLFQ(dim=8, codebook_size=256, num_quantizers=3, spherical=True))]
for name, (off, other) in zip(("VectorQuantize", "affine_param", "ResidualLFQ", "spherical"), seen):
    print(f"{name}: decoding is {off:.0%} away; alone another output: {other}")
changed = ([off > 0.5 for off, _ in seen] != [False, True, False, True]
           or [other for _, other in seen] != [False, True, False, False])
sys.exit("what is seen has changed" if changed else 0)
END
