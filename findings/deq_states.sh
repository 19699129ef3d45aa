#!/bin/sh
# torchdeq 0.1.0, torch 2.13.0; 2026-11-30
# Expected: get_deq(core="indexing", ift=True, n_states=4) gives four states in training, the last
#   of them the fixed point with its exact gradient (by the implicit function theorem), as one
#   state has, and as core="sliced" gives four.
# Seen: four come out only if the solver does not converge. If it converges in 14 of 40 steps one
#   comes out, that of step 10. Its gradient is not the exact one but that of a single step, 30%
#   away: the exact one belongs to the fourth state, which does not come. A loss that weights the
#   states, or is divided by their number, changes with the solver's steps.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 torchdeq==0.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from torchdeq import get_deq

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
weight = torch.randn(8, 8)
weight = (0.5 * weight / torch.linalg.matrix_norm(weight, 2)).requires_grad_()
x, start = torch.randn(3, 8), torch.zeros(3, 8)                # (batch, width)


def step(z):
    return torch.tanh(z @ weight.T + x)


z = start
for _ in range(500):                                           # by far enough
    z = step(z)
exact, = torch.autograd.grad(z.square().sum(), weight)


def train(**options):
    """How many states come out, steps of the last solver, how far the gradient is away."""
    deq = get_deq(ift=True, f_tol=1e-8, b_tol=1e-10, **options).train()
    states, info = deq(step, start)
    gradient, = torch.autograd.grad(states[-1].square().sum(), weight)
    return (len(states), int(info["nstep"].max()),
            ((gradient - exact).norm() / exact.norm()).item())


ways = [dict(core="indexing"), dict(core="sliced", n_states=4),
        dict(core="indexing", n_states=4), dict(core="indexing", n_states=4, f_max_iter=12)]
seen = [train(**options) for options in ways]
for options, (states, steps, away) in zip(ways, seen):
    print(f"{options}: {states} state(s), steps of the last solver {steps}, "
          f"gradient {away:.1e} away")
one, sliced, early, late = seen
changed = ([states for states, _, _ in seen] != [1, 4, 1, 4] or early[2] < 0.1
           or max(one[2], sliced[2], late[2]) > 1e-5)
sys.exit("what is seen has changed" if changed else 0)
END
