#!/bin/sh
# minGRU-pytorch 0.2.1, torch 2.13.0; 2026-11-29
# Expected: a sequence read in two halves, the hidden state handed over, gives what it gives when
#   read at once.
# Seen: minGRU's does, and minLSTM's does a token at a time. Handed several tokens, minLSTM puts the
#   state through its activation once more (1/2 becomes 1). A minLM handed states keeps only
#   the last of the tokens that come with them.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 minGRU-pytorch==0.2.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from minGRU_pytorch import minGRU
from minGRU_pytorch.minLM import minLM
from minGRU_pytorch.minLSTM import minLSTM

torch.set_grad_enabled(False)
torch.manual_seed(0)
x = torch.randn(2, 32, 8)                               # (batch, tokens, width)


def in_pieces(layer, size):
    """The outputs of x read in pieces of `size` tokens, each with the state of the one before."""
    outputs, state = [], None
    for piece in x.split(size, dim=1):
        out, state = layer(piece, state, return_next_prev_hidden=True)
        outputs.append(out)
    return torch.cat(outputs, dim=1)


far = {}
for kind in (minGRU, minLSTM):
    layer = kind(8)
    far[kind] = [(in_pieces(layer, size) - layer(x)).abs().max().item() for size in (1, 16)]
    print(f"{kind.__name__}: at most {far[kind][0]:.1e} away token by token, "
          f"{far[kind][1]:.1e} in two halves")

layer = minLSTM(8)
state = layer(x[:, :16])[:, -1:]
at_once = layer(x)[:, 16:]
before = torch.where(state >= 0.5, state - 0.5, state.logit())   # the activation undone
undone = (layer(x[:, 16:], before) - at_once).abs().max().item()
print(f"minLSTM with the activation undone in the state: {undone:.1e} away")

model = minLM(num_tokens=10, dim=8, depth=1, use_lstm=False)
tokens = torch.randint(10, (2, 32))
states = model(tokens[:, :16], return_prev_hiddens=True)[1]
rest = model(tokens[:, 16:], prev_hiddens=states)
print(f"minLM with states and 16 more tokens: logits of {rest.shape[1]}, "
      f"{(rest[:, -1] - model(tokens)[:, -1]).abs().max():.1e} away")
changed = (max(*far[minGRU], far[minLSTM][0], undone) > 1e-4 or far[minLSTM][1] < 0.1
           or rest.shape[1] != 1)
sys.exit("what is seen has changed" if changed else 0)
END
