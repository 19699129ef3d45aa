#!/bin/sh
# bdh-cq 0.0.23, torch 2.13.0; 2026-11-30
# Expected: BDHReasoningWrapper trains all tokens of an answer, whether latent steps come before it
#   or none, so that a model without them is a control.
# Seen: with no latent steps (or 0) between prompt and answer the loss leaves out the answer's first
#   token, since only a latent predicts it. generate() begins with just that token: after training
#   it is no better than a guess without latent steps, and nearly always right with one. The loss
#   of an answer of one token is nan. Put the prompt's last token before the answer, and all is
#   trained.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 bdh-cq==0.0.23
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import math
import sys

import torch
from bdh_cq import BDH, BDHReasoningWrapper

torch.set_num_threads(1)


def problems(number):
    """Four words; the answer repeats the first two and ends with 0."""
    prompt = torch.randint(1, 20, (number, 4))
    return prompt, torch.cat((prompt[:, :2], torch.zeros(number, 1, dtype=torch.long)), dim=1)


def trained(stages):
    """Of 100 new answers, the first and the second words that generate() has right."""
    torch.manual_seed(0)
    model = BDHReasoningWrapper(BDH(dim=32, num_tokens=20, depth=2, heads=2, dim_qk_heads=128,
                                    rotary_dim=16))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(400):
        loss = model(*stages(*problems(32)), return_loss=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = [0, 0]
    for prompt, answer in zip(*problems(100)):
        with torch.no_grad():
            *before, last = stages(prompt[None], answer[None])
            before += [last[:, :-3]] * (last.shape[1] > 3)       # what is not of the answer
            words = model.generate(*before, num_tokens=2, temperature=0)
        right = [n + (word == truth) for n, word, truth in zip(right, words, answer.tolist())]
    return right


ways = {"no latent steps": lambda prompt, answer: (prompt, 0, answer),
        "one latent step": lambda prompt, answer: (prompt, 1, answer),
        "no latent steps, the last word of the prompt before the answer":
            lambda prompt, answer: (prompt[:, :-1], torch.cat((prompt[:, -1:], answer), dim=1))}
right = {name: trained(stages) for name, stages in ways.items()}
for name, (first, second) in right.items():
    print(f"{name}: the first word is right in {first} of 100, the second in {second}")
model = BDHReasoningWrapper(BDH(dim=32, num_tokens=20, depth=2, heads=2, dim_qk_heads=128,
                                rotary_dim=16))
prompt, answer = problems(4)
one = [model(prompt, steps, answer[:, :1], return_loss=True).item() for steps in (0, 1)]
print(f"loss of an answer of one word: {one[0]:.2f} without latent steps, {one[1]:.2f} with one")
none, latent, joined = (first for first, _ in right.values())
changed = none > 30 or latent < 70 or joined < 70 or not math.isnan(one[0]) or math.isnan(one[1])
sys.exit("what is seen has changed" if changed else 0)
END
