#!/bin/sh
# torch 2.13.0; 2026-11-28
# Expected: nn.MultiheadAttention's output does not depend on whether its weights are asked for.
# Seen: a row whose keys are all masked is nan with need_weights=True (the default) and 0 with
#   False. scaled_dot_product_attention gives 0, too: a mask that hides all by mistake is not
#   noticed.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from torch.nn.functional import scaled_dot_product_attention

torch.manual_seed(0)
attention = torch.nn.MultiheadAttention(8, 2, batch_first=True, bias=False)
x = torch.randn(2, 4, 8)                                # (batch, length, width)
hidden = torch.tensor([[False] * 4, [True] * 4])        # all of the second row
with_weights, without = (attention(x, x, x, key_padding_mask=hidden, need_weights=need)[0]
                         for need in (True, False))
plain = scaled_dot_product_attention(x, x, x, attn_mask=~hidden[:, None])
print("second row:", *(row[1, 0, :2].tolist() for row in (with_weights, without, plain)))
changed = (not torch.allclose(with_weights[0], without[0], atol=1e-5)
           or not with_weights[1].isnan().all() or without[1].any() or plain[1].any())
sys.exit("what is seen has changed" if changed else 0)
END
