#!/bin/sh
# heavyball 3.2.1 with torch 2.13.0; 2026-11-28
# Expected: storage_dtype='float32' keeps AdamW's moments of bfloat16 weights in float32, before
#   and after load_state_dict.
# Seen: before, yes; load_state_dict (torch's own) turns them into the dtype of the weights,
#   bfloat16, and they stay so for the rest of the run.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 heavyball==3.2.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from heavyball import AdamW


def optimizer(weight):
    return AdamW([weight], lr=0.01, storage_dtype="float32", compile_step=False)


def dtypes(opt):
    (state,) = opt.state.values()
    return sorted({str(v.dtype) for v in state[0].values() if torch.is_tensor(v) and v.ndim})


torch.manual_seed(0)
weight = torch.nn.Parameter(torch.randn(8, 8, dtype=torch.bfloat16))
old, new = optimizer(weight), optimizer(weight)
weight.grad = torch.randn_like(weight)
old.step()
before = dtypes(old)
new.load_state_dict(old.state_dict())
loaded = dtypes(new)
new.step()
print("before", before, "loaded", loaded, "a step later", dtypes(new))
changed = (before != ["torch.float32"] or loaded != ["torch.bfloat16"]
           or dtypes(new) != ["torch.bfloat16"])
sys.exit("what is seen has changed" if changed else 0)
END
