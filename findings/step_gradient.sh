#!/bin/sh
# muon-optimizer 0.1.0, schedulefree 1.4.1, pytorch-optimizer 4.1.0, torch 2.13.0; 2026-11-29
# Expected: step() reads p.grad and leaves it as it is, as torch's own optimizers do.
# Seen: muon-optimizer's Muon, schedulefree's AdamW, and of pytorch-optimizer Muon, NovoGrad and
#   ScheduleFreeAdamW compute in it. After step() its norm says nothing of the gradient, and
#   without zero_grad() the next backward() adds to it.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 muon-optimizer==0.1.0 \
    schedulefree==1.4.1 pytorch-optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import pytorch_optimizer
import schedulefree
import torch
from muon import SingleDeviceMuon
from torch import nn

OPTIMIZERS = {
    "torch AdamW": torch.optim.AdamW,
    "torch Muon": torch.optim.Muon,
    "pytorch-optimizer Lion": pytorch_optimizer.Lion,
    "muon-optimizer": SingleDeviceMuon,
    "schedulefree AdamW": schedulefree.AdamWScheduleFree,
    "pytorch-optimizer Muon":
        lambda params: pytorch_optimizer.Muon([{"params": params, "use_muon": True}]),
    "pytorch-optimizer NovoGrad": pytorch_optimizer.NovoGrad,
    "pytorch-optimizer ScheduleFreeAdamW": pytorch_optimizer.ScheduleFreeAdamW,
}
KEPT = ("torch AdamW", "torch Muon", "pytorch-optimizer Lion")

changed = False
for name, make in OPTIMIZERS.items():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(8, 8))
    optimizer = make([weight])
    if hasattr(optimizer, "train"):                     # schedulefree asks for it
        optimizer.train()
    gradient = torch.randn(8, 8)
    for _ in range(2):
        weight.grad = gradient.clone()
        optimizer.step()
    kept = torch.equal(weight.grad, gradient)
    print(f"{name}: norm of the gradient {gradient.norm():.2f} before, "
          f"{weight.grad.norm():.2f} after step()")
    changed |= kept != (name in KEPT)
sys.exit("what is seen has changed" if changed else 0)
END
