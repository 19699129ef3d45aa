#!/bin/sh
# RLT-pytorch 0.1.9, torch 2.13.0; 2026-11-30
# Expected: a Recurrent Looped Transformer with shared_weights shares the weights of encoder and
#   decoder. The encoder sees all tokens before, as without sharing, and generate() reads with the
#   same model as the loss.
# Seen: the decoder's window is shared, too. In training and in a prompt, the encoder sees the last
#   16 tokens (dec_sliding_window_size); token by token, as generate() writes, it sees all of them.
#   Up to the window both are equal to 1e-6, beyond it they are 0.6 apart, and some of the tokens
#   that are generated are not the model's own greedy ones (7% here).
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 RLT-pytorch==0.1.9
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from RLT import RLT

torch.set_grad_enabled(False)
torch.set_num_threads(1)


def compare(**options):
    """How far the logits token by token are from those of all at once, within and beyond 16."""
    torch.manual_seed(0)
    model = RLT(num_tokens=30, dim=32, enc_depth=2, dec_depth=2, dim_head=16, heads=2,
                **options).eval()
    tokens = torch.randint(30, (4, 96))
    at_once, memories, steps = model(tokens)[0], None, []
    for token in tokens.split(1, dim=1):
        logits, memories = model(token, memories=memories)
        steps.append(logits)
    away = (torch.cat(steps, dim=1) - at_once).abs().amax((0, 2))       # (96)

    prompt = tokens[:, :8]
    written = model.generate(prompt, max_len=96, temperature=0)         # (4, 88)
    own = model(torch.cat((prompt, written), dim=1))[0].argmax(-1)[:, 7:-1]
    return away[:16].max().item(), away[16:].max().item(), (written != own).float().mean().item()


seen = {name: compare(shared_weights=shared, dec_sliding_window_size=window)
        for name, shared, window in (("not shared", False, 16), ("shared", True, 16),
                                     ("shared, no window", True, None))}
for name, (within, beyond, others) in seen.items():
    print(f"{name}: token by token the logits are {within:.1e} away up to token 16, {beyond:.1e} "
          f"beyond; {others:.0%} of the tokens generated are not the greedy ones")
changed = (max(seen["not shared"][:2]) > 1e-3 or max(seen["shared, no window"][:2]) > 1e-3
           or seen["shared"][0] > 1e-3 or seen["shared"][1] < 1e-2)
sys.exit("what is seen has changed" if changed else 0)
END
