#!/bin/sh
# hyper-connections 0.4.11, torch 2.13.0; 2026-11-29
# Expected: after the same torch.manual_seed the same code makes the same network.
# Seen: with hyper-connections of more than one stream it makes others. The stream that a layer
#   begins with is drawn by Python's random, unless layer_index is given; after random.seed, too,
#   the networks are the same.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 hyper-connections==0.4.11
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import random
import sys

import torch
from hyper_connections import HyperConnections
from torch import nn

NETWORKS = 20


def parameters(indexed=False):
    """All parameters of a network of four layers, built after the same seed."""
    torch.manual_seed(0)
    init = HyperConnections.get_init_and_expand_reduce_stream_functions(4)[0]
    layers = [init(dim=8, branch=nn.Linear(8, 8), **({"layer_index": i} if indexed else {}))
              for i in range(4)]
    return nn.utils.parameters_to_vector(nn.Sequential(*layers).parameters()).detach()


def kinds(make):
    """How many of the networks differ from all before them."""
    found = []
    for _ in range(NETWORKS):
        network = make()
        if not any(torch.equal(network, other) for other in found):
            found.append(network)
    return len(found)


def seeded():
    random.seed(0)
    return parameters()


random.seed(1)
seen = kinds(parameters), kinds(seeded), kinds(lambda: parameters(indexed=True))
print(f"{NETWORKS} networks after torch.manual_seed(0) are of {seen[0]} kinds, "
      f"of {seen[1]} if random is seeded, too, of {seen[2]} with layer_index")
sys.exit("what is seen has changed" if seen[0] < 5 or seen[1:] != (1, 1) else 0)
END
