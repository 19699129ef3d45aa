#!/bin/sh
# pytorch-adaptive-computation-time 0.1.3, torch 2.13.0; 2026-11-30
# Expected: as in Graves' adaptive computation time, and as the class says, a cell stops at the
#   first step n at which its halting probabilities h_1 + ... + h_n sum to 1 - ponder_epsilon
#   (0.99).
# Seen: the probability of the current step is counted twice (h_1 + ... + h_n + h_n). With 0.5 or
#   0.6 a step it stops after one step in place of two, with 0.3 after three in place of four. At
#   the limit of 100 steps it says 100 and has done 99. (It asks for a torch below 2, and needs
#   nothing that torch 2 has not.)
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install -q --no-deps pytorch-adaptive-computation-time==0.1.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys

import torch
from pytorch_adaptive_computation_time.models import AdaptiveGRUCell


def ponder(p):
    """Steps that are said and calls of the GRU, where each step halts with probability p."""
    torch.manual_seed(0)
    cell = AdaptiveGRUCell(4, 8, time_penalty=1.)
    linear, calls = cell._halting_unit[0], []
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.constant_(linear.bias, math.log(p / (1 - p)))
    cell._cell.register_forward_hook(lambda *_: calls.append(1))
    _, _, steps = cell(torch.randn(1, 4))                       # (1, width)
    return int(steps.item()), len(calls)


seen, graves = {}, {0.2: 5, 0.3: 4, 0.5: 2, 0.6: 2, 0.995: 1, 0.001: 100}
for p, steps in graves.items():
    seen[p] = ponder(p)
    print(f"h = {p}: {seen[p][0]} steps are said, {seen[p][1]} done; the sum asks for {steps}")
changed = list(seen.values()) != [(4, 4), (3, 3), (1, 1), (1, 1), (1, 1), (100, 99)]
sys.exit("what is seen has changed" if changed else 0)
END
