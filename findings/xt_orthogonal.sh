#!/bin/sh
# x-transformers 2.31.10, torch 2.13.0; 2026-11-29
# Expected: no logits of a Decoder depend on a later token, whatever the flags.
# Seen: with orthog_residual, with attn_orthog_projected_values and with the same per head they do.
#   What is made orthogonal is the whole sequence as one vector, not each position: the logits of
#   ten tokens read alone are not those that they have at the head of twenty.
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
from x_transformers import Decoder, TransformerWrapper

FLAGS = ("orthog_residual", "attn_orthog_projected_values",
         "attn_orthog_projected_values_per_head")
torch.set_grad_enabled(False)

changed = False
for flag in (None, *FLAGS):
    torch.manual_seed(0)
    layers = Decoder(dim=32, depth=2, heads=2, attn_dim_head=16, **({flag: True} if flag else {}))
    model = TransformerWrapper(num_tokens=32, max_seq_len=32, attn_layers=layers).eval()
    tokens = torch.randint(32, (4, 20))
    logits = model(tokens)[:, :10]
    off = (model(tokens[:, :10]) - logits).norm() / logits.norm()
    print(f"{flag}: logits of ten tokens alone are {off:.1%} away from those within twenty")
    changed |= bool((off > 0.005) != (flag in FLAGS))
sys.exit("what is seen has changed" if changed else 0)
END
