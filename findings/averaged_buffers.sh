#!/bin/sh
# ema-pytorch 0.8.3, torch 2.13.0; 2026-11-29
# Expected: in an averaged model, counters and flags (integer and bool buffers) are those of the
#   model.
# Seen: ema-pytorch leaves them as they were when the average was made. With use_buffers=True and
#   get_ema_multi_avg_fn, torch's AveragedModel rounds the average of a counter down at each update
#   (0 where a float's is 1.15), and a flag that was once True stays True.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 ema-pytorch==0.8.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from ema_pytorch import EMA
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("real", torch.tensor(0.0))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("flag", torch.tensor(True))


def values(model):
    return [round(b.item(), 2) for b in (model.real, model.count, model.flag)]


model = Model()
ema = EMA(model, beta=0.99, update_every=1, update_after_step=0)
plain = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
buffers = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
for step in range(16):
    model.real.fill_(step)
    model.count.fill_(step)
    model.flag.fill_(step == 0)
    ema.update()
    plain.update_parameters(model)
    buffers.update_parameters(model)
seen = [values(m) for m in (model, ema.ema_model, plain.module, buffers.module)]
for name, row in zip(("the model", "ema-pytorch", "torch", "torch, use_buffers"), seen):
    print(f"{name}: float {row[0]}, counter {row[1]}, flag {bool(row[2])}")
changed = (seen[1][1:] != [0, True] or seen[2] != seen[0] or seen[3][1:] != [0, True]
           or seen[3][0] != 1.15)
sys.exit("what is seen has changed" if changed else 0)
END
