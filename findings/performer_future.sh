#!/bin/sh
# performer-pytorch 1.1.4, torch 2.13.0; 2026-11-29
# Expected: with causal=True, no output depends on a later key.
# Seen: features of keys are scaled by their largest over the whole sequence, against a constant of
#   1e-4. With the last key twice as long, all outputs before it are 40% others; with
#   generalized_attention=True none is.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 performer-pytorch==1.1.4
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from performer_pytorch import FastAttention

torch.manual_seed(0)
query, key, value = torch.randn(3, 1, 2, 64, 32)        # each (batch, heads, length, width)
longer = key.clone()
longer[:, :, -1] *= 2

far = {}
for generalized in (False, True):
    attend = FastAttention(32, nb_features=64, causal=True, generalized_attention=generalized)
    before = attend(query, key, value)[:, :, :-1]
    after = attend(query, longer, value)[:, :, :-1]
    far[generalized] = ((after - before).norm() / before.norm()).item()
    print(f"generalized_attention={generalized}: outputs before the last are "
          f"{far[generalized]:.0%} away once the last key is twice as long")
changed = far[False] < 0.1 or far[True] > 1e-3
sys.exit("what is seen has changed" if changed else 0)
END
