#!/bin/sh
# timm 1.0.31 with torch 2.13.0; 2026-11-29
# Expected: ModelEmaV3 averages a head's weight that is tied to the embedding at the decay asked
#   for, and the average of weights that stand still is these weights.
# Seen: a tied weight is averaged twice an update: 0.19 instead of 0.1 of the way at decay 0.9.
#   For a bfloat16 model with a float32 average, a 1 that stands still has the average 1.05.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install -q --no-deps timm==1.0.31
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import distribution
from runpy import run_path

import torch
from torch import nn

# the file alone: timm itself imports torchvision, which has to be built for the same torch
ModelEmaV3 = run_path(str(distribution("timm").locate_file("timm/utils/model_ema.py")))["ModelEmaV3"]


def averages(start, then, updates, dtype=None):
    """Averages of a tied weight and of another one, of value start and then `then`."""
    model = nn.ModuleDict({"embed": nn.Embedding(3, 2), "head": nn.Linear(2, 3, bias=False),
                           "other": nn.Linear(2, 3, bias=False)})
    model["head"].weight = model["embed"].weight
    if dtype:
        model.bfloat16()
    for p in model.parameters():
        nn.init.constant_(p, start)
    average = ModelEmaV3(model, decay=0.9, dtype=dtype)
    for p in model.parameters():
        nn.init.constant_(p, then)
    for _ in range(updates):
        average.update(model)
    return [average.module[name].weight[0, 0].item() for name in ("embed", "other")]


once, still = averages(0.0, 1.0, 1), averages(1.0, 1.0, 100, torch.float32)
print("from 0 to 1, one update: tied {:.2f}, other {:.2f}".format(*once))
print("1 all the time, 100 updates in float32: tied {:.4f}, other {:.4f}".format(*still))
changed = ([round(a, 4) for a in once] != [0.19, 0.1]
           or [round(a, 4) for a in still] != [1.0526, 1.0])
sys.exit("what is seen has changed" if changed else 0)
END
