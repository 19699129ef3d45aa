#!/bin/sh
# muon-optimizer 0.1.0, pytorch-optimizer 4.1.0; 2026-11-29
# Expected: both Muons orthogonalize a convolution's weight as one matrix (channels out, the rest).
# Seen: pytorch-optimizer's does. muon-optimizer's takes the (out, in, width) of a Conv1d as `out`
#   matrices of (in, width) and orthogonalizes each: the step is three times as long and far from
#   orthogonal. With a Conv2d its step() raises a RuntimeError about sizes.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 muon-optimizer==0.1.0 \
    pytorch-optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from muon import SingleDeviceMuon
from pytorch_optimizer import Muon
from torch import nn


def step(layer, make):
    """The step's matrix (out, the rest), in units of the learning rate."""
    torch.manual_seed(0)
    weight = layer.weight
    nn.init.zeros_(weight)
    weight.grad = torch.randn_like(weight)
    make(weight).step()
    return weight.detach().flatten(1) / 0.02


def one(weight):
    return SingleDeviceMuon([weight], lr=0.02)


def other(weight):
    return Muon([{"params": [weight], "use_muon": True, "lr": 0.02}])


# Newton and Schulz's steps leave singular values between about 0.7 and 1.2
values = [torch.linalg.svdvals(step(nn.Conv1d(8, 16, 4), make)) for make in (one, other)]
for name, s in zip(("muon-optimizer", "pytorch-optimizer"), values):
    print(f"Conv1d, {name}: norm {s.norm():.1f}, singular values {s[-1]:.2f} to {s[0]:.2f}")
square = step(nn.Conv2d(8, 16, 2), other)
try:
    step(nn.Conv2d(8, 16, 2), one)
    error = ""
except RuntimeError as e:
    error = str(e)
print(f"Conv2d, muon-optimizer: {error or 'no error'}; pytorch-optimizer: {square.norm():.1f}")
changed = (values[0].norm() < 2 * values[1].norm() or values[0][0] < 2 or values[1][0] > 1.5
           or not error)
sys.exit("what is seen has changed" if changed else 0)
END
