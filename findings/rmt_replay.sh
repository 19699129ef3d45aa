#!/bin/sh
# recurrent-memory-transformer-pytorch 0.7.0, torch 2.13.0; 2026-11-29
# Expected: memory_replay_backprop=True computes the loss and the gradients of loss.backward() with
#   less memory, as the memory replay that it is named after does.
# Seen: the replay hands each segment the keys and values of the segment before (use_xl_memories,
#   the default), the ordinary forward hands it none: another loss, gradients a third away. Without
#   them the two agree.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 hyper-connections==0.4.11 \
    packaging==25.0 recurrent-memory-transformer-pytorch==0.7.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from recurrent_memory_transformer_pytorch import (RecurrentMemoryTransformer,
                                                  RecurrentMemoryTransformerWrapper)

tokens = torch.randint(32, (8, 25), generator=torch.Generator().manual_seed(0))


def step(model, replay):
    """The loss of three segments of eight tokens, and its gradient as one vector."""
    model.zero_grad()
    if replay:
        loss = model(tokens, memory_replay_backprop=True)
    else:
        loss = model(tokens, return_loss=True)[0]
        loss.backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


far = {}
for xl in (True, False):
    torch.manual_seed(0)
    model = RecurrentMemoryTransformerWrapper(RecurrentMemoryTransformer(
        num_tokens=32, dim=32, depth=2, heads=2, dim_head=16, num_memory_tokens=4, seq_len=8,
        num_residual_streams=1, use_xl_memories=xl))
    (loss, gradient), (replayed, other) = step(model, False), step(model, True)
    far[xl] = ((other - gradient).norm() / gradient.norm()).item()
    print(f"use_xl_memories={xl}: loss {loss:.5f}, replayed {replayed:.5f}; "
          f"the gradients are {far[xl]:.1%} apart")
changed = far[True] < 0.1 or far[False] > 1e-4
sys.exit("what is seen has changed" if changed else 0)
END
