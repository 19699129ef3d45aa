#!/bin/sh
# safetensors 0.8.0; 2026-11-28
# Expected: load() gives the keys in the order in which save() got them, or at least always in the
#   same one.
# Seen: load() has another order in every process, by chance; load_file() has always the same, but
#   not that of the dictionary: layer.10 comes before layer.2.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

save_file({f"layer.{i}": torch.ones(2) for i in range(12)}, "weights.safetensors")
keys = list(load_file("weights.safetensors"))
code = ("from safetensors.torch import load; "
        "print(list(load(open('weights.safetensors', 'rb').read())))")
orders = {subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(4)}
print("load_file:", keys, "\nload:", *sorted(orders), sep="\n")
changed = keys.index("layer.10") > keys.index("layer.2") or len(orders) == 1
sys.exit("what is seen has changed" if changed else 0)
END
