#!/bin/sh
# rotary-embedding-torch 0.9.1; 2026-11-28
# Expected: queries in bfloat16 are rotated as in float32, up to rounding.
# Seen: positions are counted in the dtype of the queries, and bfloat16 has no 257: beyond 256
#   neighbours are turned by the same angle, the wrong one. Under autocast queries in float32 are
#   rotated rightly.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 rotary-embedding-torch==0.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from rotary_embedding_torch import RotaryEmbedding

torch.manual_seed(0)
queries = torch.randn(1, 1, 1000, 32)                   # (batch, heads, length, width)


def rotated(queries):
    return RotaryEmbedding(32).rotate_queries_or_keys(queries).float()


right, low = rotated(queries), rotated(queries.bfloat16())
with torch.autocast("cpu", torch.bfloat16):
    cast = rotated(queries)
off = (low - right).abs().amax((0, 1, 3))               # (length)
print(f"off by {off[:257].max():.2f} up to position 256, by {off[257:].max():.2f} beyond; "
      f"under autocast by {(cast - right).abs().max():.2f}")
changed = (off[:257].max().item() > 0.1 or off[257:].max().item() < 1
           or (cast - right).abs().max().item() > 0.1)
sys.exit("what is seen has changed" if changed else 0)
END
