#!/bin/sh
# routing-transformer 1.6.1, reformer-pytorch 1.4.4, torch 2.13.0; 2026-11-29
# Expected: with causal=True the logits of a position depend on no later token.
# Seen: which earlier tokens a token sees is decided with the later ones: in routing-transformer by
#   which of them are nearest to a cluster, in reformer-pytorch by where the sorted tokens are cut
#   into pieces. Another last token changes more than half of the logits before it (with the same
#   random rotations), so a loss by forward() is not that of writing token by token.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 routing-transformer==1.6.1 \
    reformer-pytorch==1.4.4 local-attention==1.11.2 product-key-memory==0.3.0 \
    hyper-connections==0.4.11
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from reformer_pytorch import ReformerLM
from routing_transformer import RoutingTransformerLM

size = {"num_tokens": 32, "dim": 32, "depth": 2, "heads": 2, "max_seq_len": 64, "causal": True}


@torch.no_grad()
def changed_before(model):
    """Of 63 positions, at how many another last token changes a logit; and the largest change."""
    torch.manual_seed(1)
    tokens = torch.randint(0, 32, (1, 64))
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % 32
    logits = []
    for text in (tokens, other):
        torch.manual_seed(2)                            # the same rotations
        found = model.eval()(text)
        logits.append(found[0] if isinstance(found, tuple) else found)
    off = (logits[0] - logits[1])[0, :-1].abs().amax(1)  # (63)
    return (off > 1e-4).sum().item(), off.max().item()


torch.manual_seed(0)
seen = [changed_before(RoutingTransformerLM(window_size=16, n_local_attn_heads=0, **size)),
        changed_before(ReformerLM(bucket_size=8, n_hashes=2, **size))]
for name, (positions, most) in zip(("routing-transformer", "reformer-pytorch"), seen):
    print(f"{name}: {positions} of 63 positions change, a logit by up to {most:.2f}")
changed = any(positions < 30 or most < 0.01 for positions, most in seen)
sys.exit("what is seen has changed" if changed else 0)
END
