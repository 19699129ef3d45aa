#!/bin/sh
# ponder-transformer 0.0.8, torch 2.13.0; 2026-11-29
# Expected: in eval() the model halts with the probabilities that training weighs its steps by: at
#   1/2 a step, half of the sequences halt at the first, a quarter at the second, one in 4096 at
#   the last of 13.
# Seen: the probability of halting at a step and not before is drawn as if it were that of halting
#   there at all, so later steps hardly halt: half, an eighth, and 29% run to the last. At 1/5,
#   the prior of its loss, it is 36% instead of 7%.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 ponder-transformer==0.0.8
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys

import torch
from ponder_transformer import PonderTransformer

torch.manual_seed(0)
model = PonderTransformer(num_tokens=16, dim=16, max_seq_len=4, causal=False).eval()
halt = model.block.to_halt_logits[0]                    # a linear layer, here the same at each step
tokens = torch.randint(16, (10000, 4))

changed = False
for chance in (0.5, 0.2):
    with torch.no_grad():
        halt.weight.zero_()
        halt.bias.fill_(math.log(chance / (1 - chance)))
        steps = model(tokens)[1]                        # (10000,), the step of each, from 0
    last = model.train_max_steps - 1
    seen = torch.bincount(steps, minlength=last + 1) / len(tokens)
    weighed = [chance * (1 - chance) ** step for step in range(last)] + [(1 - chance) ** last]
    print(f"chance {chance} a step: {seen[0]:.3f}, {seen[1]:.3f} halt at the first two of "
          f"{last + 1} steps, {seen[last]:.3f} at the last; "
          f"expected {weighed[0]:.3f}, {weighed[1]:.3f}, {weighed[last]:.4f}")
    changed |= bool(abs(seen[0] - weighed[0]) > 0.03 or seen[last] < weighed[last] + 0.2)
sys.exit("what is seen has changed" if changed else 0)
END
