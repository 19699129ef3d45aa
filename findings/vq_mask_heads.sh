#!/bin/sh
# vector-quantize-pytorch 1.32.0; 2026-11-28
# Expected: a mask that hides nothing changes nothing.
# Seen: with one codebook per head the codes stay, but the commitment loss is about three times as
#   large (torch warns of a broadcast); with a codebook shared by two heads it is an error.
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
import warnings

import torch
from vector_quantize_pytorch import VectorQuantize

warnings.filterwarnings("ignore", message="Using a target size")
x = torch.randn(2, 64, 8, generator=torch.Generator().manual_seed(0))       # (batch, length, width)


def run(mask, **options):
    torch.manual_seed(0)
    _, codes, loss = VectorQuantize(dim=8, codebook_size=16, **options)(x, mask=mask)
    return codes, loss.item()


everything = torch.ones(2, 64, dtype=torch.bool)
one, one_masked = run(None), run(everything)            # one head: as expected
heads = dict(heads=2, separate_codebook_per_head=True)
two, two_masked = run(None, **heads), run(everything, **heads)
try:
    shared = run(everything, heads=2)[1]
except RuntimeError as error:
    shared = type(error).__name__
print(f"one head {one[1]:.3f} {one_masked[1]:.3f}, two {two[1]:.3f} {two_masked[1]:.3f}, "
      f"two that share {run(None, heads=2)[1]:.3f} {shared}")
changed = (abs(one[1] - one_masked[1]) > 1e-5 or not torch.equal(two[0], two_masked[0])
           or two_masked[1] < 1.5 * two[1] or shared != "RuntimeError")
sys.exit("what is seen has changed" if changed else 0)
END
