#!/bin/sh
# torch 2.13.0, torchprofile 0.1.0, thop 0.1.1.post2209072238, ptflops 0.7.5; 2026-11-30
# Expected: counters of operations say of a layer the same in train() and in eval(), and what a CPU
#   computes counts: 504,320 multiply-adds for a TransformerEncoderLayer and ten tokens here,
#   327,680 for an LSTM.
# Seen: torch's FlopCounterMode and torchprofile find 0 in the layer in eval(), where it runs as
#   one fused operation. FlopCounterMode finds 0 in scaled_dot_product_attention on a CPU, unless
#   there is dropout, and 0 in an LSTM, but all of a GRU; torchprofile all of the LSTM, and 0 in a
#   GRU. thop and ptflops (backend "aten") leave out attention, with its projections. A block that
#   is looped is counted at each loop by all of them.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install -q --no-deps torchprofile==0.1.0 thop==0.1.1.post2209072238 \
    ptflops==0.7.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import contextlib
import io
import sys

import ptflops
import thop
import torch
import torchprofile
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

width, tokens = 64, 10
x = torch.randn(1, tokens, width)                               # (batch, tokens, width)


def counter(call):
    with FlopCounterMode(display=False) as counted:
        call()
    return counted.get_total_flops() // 2                       # multiply-adds


class Looped(nn.Module):
    def __init__(self, loops):
        super().__init__()
        self.block, self.loops = nn.Linear(width, width), loops

    def forward(self, x):
        for _ in range(self.loops):
            x = x + self.block(x)
        return x


tools = {"FlopCounterMode": lambda model: counter(lambda: model(x)),
         "torchprofile": lambda model: torchprofile.profile_macs(model, x),
         "thop": lambda model: int(thop.profile(model, (x,), verbose=False)[0]),
         "ptflops": lambda model: ptflops.get_model_complexity_info(
             model, (tokens, width), as_strings=False, print_per_layer_stat=False,
             backend="aten")[0]}
models = {"layer in train()": lambda: nn.TransformerEncoderLayer(width, 4, 256, batch_first=True),
          "layer in eval()": lambda: nn.TransformerEncoderLayer(width, 4, 256,
                                                                batch_first=True).eval(),
          "LSTM": lambda: nn.LSTM(width, width, batch_first=True),
          "GRU": lambda: nn.GRU(width, width, batch_first=True),
          "one loop": lambda: Looped(1), "four loops": lambda: Looped(4)}
projections, attention = tokens * width * (4 * width + 2 * 256), 2 * tokens * tokens * width
right = [projections + attention] * 2 + [tokens * gates * 2 * width * width for gates in (4, 3)]
right += [tokens * width * width, 4 * tokens * width * width]
seen = {}
for (model, make), expected in zip(models.items(), right):
    for tool, count in tools.items():
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            seen[model, tool] = count(make())
    print(f"{model}, {expected:,}:", ", ".join(f"{tool} {seen[model, tool]:,}" for tool in tools))

q = torch.randn(1, 4, tokens, width // 4)                       # (batch, heads, tokens, width)
sdpa = [counter(lambda: scaled_dot_product_attention(q, q, q, dropout_p=dropout))
        for dropout in (0.0, 0.1)]
print(f"attention alone, {attention:,}: FlopCounterMode {sdpa[0]:,}, with dropout {sdpa[1]:,}")
zero = [("layer in eval()", "FlopCounterMode"), ("layer in eval()", "torchprofile"),
        ("LSTM", "FlopCounterMode"), ("GRU", "torchprofile")]
changed = (any(seen[pair] for pair in zero) or sdpa != [0, attention]
           or seen["layer in train()", "FlopCounterMode"] != projections + attention
           or max(seen["layer in train()", tool] for tool in ("thop", "ptflops")) > 340_000
           or any(seen["four loops", tool] < 3.9 * seen["one loop", tool] for tool in tools))
sys.exit("what is seen has changed" if changed else 0)
END
