#!/bin/sh
# tiny-recursive-model 0.0.15, torch 2.13.0; 2026-11-29
# Expected: Trainer's optimizer has the learning rate that Trainer is given.
# Seen: it has that rate divided by the batch size and by the largest number of recurrent steps,
#   though it is AdamW, whose steps do not grow with the loss. At the defaults of 16 and 12, 1e-3
#   is 5.2e-6, and after 96 updates no weight has moved by 1e-3. An optimizer that is handed over
#   keeps its rate.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 tiny-recursive-model==0.0.15 \
    x-transformers==2.31.10 adam-atan2-pytorch==0.4.1 ema-pytorch==0.8.3 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import contextlib
import os
import sys

import torch
from tiny_recursive_model import MLPMixer1D, TinyRecursiveModel, Trainer
from torch.nn.utils import parameters_to_vector
from torch.utils.data import TensorDataset

torch.manual_seed(0)
digits = torch.randint(10, (64, 9))
data = TensorDataset(digits, (digits + 1) % 10)


def trained(own_optimizer):
    """The learning rate, and the farthest that a weight moves in 96 updates."""
    torch.manual_seed(0)
    model = TinyRecursiveModel(dim=16, num_tokens=10,
                               network=MLPMixer1D(dim=16, depth=1, seq_len=9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    trainer = Trainer(model, data, optim=optimizer if own_optimizer else None, weight_decay=0.0,
                      learning_rate=1e-3, warmup_steps=1, epochs=2, halt_prob_thres=1.0, cpu=True)
    rate = trainer.optim.param_groups[0]["lr"]
    before = parameters_to_vector(model.parameters()).detach()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        trainer()
    after = parameters_to_vector(model.parameters()).detach()
    return rate, (after - before).abs().max().item()


seen = {own: trained(own) for own in (False, True)}
for own, (rate, moved) in seen.items():
    print(f"{'the optimizer handed over' if own else 'learning_rate=1e-3'}: a rate of {rate:.1e}, "
          f"no weight has moved by more than {moved:.1e}")
changed = seen[False][0] > 1e-5 or seen[False][1] > 1e-3 or seen[True][1] < 0.01
sys.exit("what is seen has changed" if changed else 0)
END
